/** What SillyTavern adds to an entry: in `extensions` of a card, some of it beside the fields of its own lorebook files. */
import { z } from 'zod'

import type { LorebookEntry } from '../card.ts'

/** Numbers come as texts too; null stands for "as the program is set", which is not 0. */
const number = z.preprocess(
  (value) => (typeof value === 'string' && value.trim() !== '' ? Number(value) : value),
  z.number().nullish().catch(undefined),
)
const flag = z.boolean().nullish().catch(undefined)
const texts = z.array(z.string()).nullish().catch(undefined)

const Filter = z.object({ isExclude: flag, names: texts, tags: texts }).nullish().catch(undefined)

const Extensions = z.looseObject({
  position: number,
  depth: number,
  role: number,
  outlet_name: z.string().nullish().catch(undefined),
  selectiveLogic: number,
  scan_depth: number,
  case_sensitive: flag,
  match_whole_words: flag,
  probability: number,
  useProbability: flag,
  group: z.string().optional().catch(undefined),
  group_override: flag,
  group_weight: number,
  use_group_scoring: flag,
  sticky: number,
  cooldown: number,
  delay: number,
  exclude_recursion: flag,
  prevent_recursion: flag,
  delay_until_recursion: z.union([z.boolean(), z.number()]).optional().catch(undefined),
  ignore_budget: flag,
  triggers: texts,
  character_filter: Filter,
  match_persona_description: flag,
  match_character_description: flag,
  match_character_personality: flag,
  match_character_depth_prompt: flag,
  match_scenario: flag,
  match_creator_notes: flag,
})
export type Extensions = z.infer<typeof Extensions>

/** Older cards and lorebook files have the filters beside the other fields, in camel case. */
export const readExtensions = ({ extensions, ...entry }: LorebookEntry): Extensions =>
  Extensions.parse({
    triggers: entry['triggers'],
    ...extensions,
    character_filter:
      extensions['character_filter'] ?? extensions['characterFilter'] ?? entry['characterFilter'],
  })
