/**
 * A card is the content of a character file: the `data` object of the V3 specification, under the specification's own
 * field names, with every unknown key kept where it was. Export is therefore a projection, not a conversion.
 */
import { z } from 'zod'

const text = z.string()
const extensions = z.record(z.string(), z.unknown())

export const LorebookEntry = z.looseObject({
  keys: z.array(text),
  content: text,
  extensions,
  enabled: z.boolean(),
  insertion_order: z.number(),
  use_regex: z.boolean(),
  case_sensitive: z.boolean().optional(),
  constant: z.boolean().optional(),
  selective: z.boolean().optional(),
  secondary_keys: z.array(text).optional(),
  priority: z.number().optional(),
  position: z.enum(['before_char', 'after_char']).optional(),
  name: text.optional(),
  comment: text.optional(),
  id: z.union([text, z.number()]).optional(),
})

export const Lorebook = z.looseObject({
  name: text.optional(),
  description: text.optional(),
  scan_depth: z.number().optional(),
  token_budget: z.number().optional(),
  recursive_scanning: z.boolean().optional(),
  extensions,
  entries: z.array(LorebookEntry),
})

const Asset = z.looseObject({ type: text, uri: text, name: text, ext: text })

/** The strict form: what we store and what we write. Reading files in the wild is `salvage.ts`. */
export const Card = z.looseObject({
  name: text.min(1),
  description: text,
  personality: text,
  scenario: text,
  first_mes: text,
  mes_example: text,
  creator_notes: text,
  system_prompt: text,
  post_history_instructions: text,
  alternate_greetings: z.array(text),
  group_only_greetings: z.array(text),
  tags: z.array(text),
  creator: text,
  character_version: text,
  extensions,
  nickname: text.optional(),
  character_book: Lorebook.optional(),
  creator_notes_multilingual: z.record(z.string(), text).optional(),
  source: z.array(text).optional(),
  creation_date: z.number().optional(),
  modification_date: z.number().optional(),
  assets: z.array(Asset).optional(),
})

export type Card = z.infer<typeof Card>
export type Lorebook = z.infer<typeof Lorebook>
export type LorebookEntry = z.infer<typeof LorebookEntry>

/** One repair or warning about a file: `code` for programs, `path` of the field, `message` a sentence for people. */
export interface Note {
  code: string
  path: string
  message: string
}

/** The name that replaces `{{char}}`: V3 lets a nickname stand in for the display name inside prompts. */
export const spokenName = (card: Pick<Card, 'name' | 'nickname'>): string =>
  card.nickname?.trim() || card.name
