/**
 * Cards in the forms of other programs, which have names of their own for the fields: Agnai's characters, and what card sites of Chub's
 * kind answer. Under the names of a card afterwards; what has no place in one stays where it was. Source: files seen.
 */
import { isObject, without, type Fields } from './mend.ts'

export interface ForeignForm {
  is(root: Fields): boolean
  /** For the note. */
  message: string
  /** What is moved is gone from where it was. */
  toCard(root: Fields): Fields
}

const isGiven = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

/** Keeps the place of each field, and what has its own name already. */
export const renamed = (fields: Fields, names: Readonly<Record<string, string>>): Fields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const own = names[name]
      return own === undefined || own in fields ? [name, value] : [own, value]
    }),
  )

/** Agnai's lorebooks. */
export function fromMemoryBook({ entries, ...root }: Fields): Fields {
  const list: readonly unknown[] = Array.isArray(entries) ? entries : []
  const names = { keywords: 'keys', entry: 'content', weight: 'insertion_order' }
  return { ...root, entries: list.map((each) => (isObject(each) ? renamed(each, names) : each)) }
}

const AGNAI_FIELDS = {
  greeting: 'first_mes',
  alternateGreetings: 'alternate_greetings',
  sampleChat: 'mes_example',
  systemPrompt: 'system_prompt',
  postHistoryInstructions: 'post_history_instructions',
  characterBook: 'character_book',
  characterVersion: 'character_version',
}

/** The persona is lists under headings; its description is for readers. */
const agnai: ForeignForm = {
  is: ({ kind, persona }) => kind === 'character' && isObject(persona),
  message: "The card is in Agnai's own form; its persona was written out as the description.",
  toCard(root) {
    const { description, creator_notes: notes, ...fields } = renamed(root, AGNAI_FIELDS)
    const book = fields['character_book']
    return {
      ...fields,
      ...(isObject(book) && { character_book: fromMemoryBook(book) }),
      description: personaText(fields['persona']),
      creator_notes: joined(notes, description),
    }
  },
}

/** Both are kept where a file has two texts for one place. */
function joined(...texts: unknown[]): unknown {
  const given = texts.filter(isGiven)
  return given.length > 1 ? given.filter((text) => typeof text === 'string').join('\n\n') : given[0]
}

/** Plain text has one heading that says so. */
function personaText(persona: unknown): string {
  const attributes = isObject(persona) && isObject(persona['attributes']) ? persona['attributes'] : {}
  return Object.entries(attributes)
    .map(([heading, values]) => {
      const list: readonly unknown[] = Array.isArray(values) ? values : [values]
      const text = list.filter((value) => typeof value === 'string').join(heading === 'text' ? '\n' : ', ')
      return heading === 'text' ? text : `${heading}: ${text}`
    })
    .filter((line) => line !== '')
    .join('\n')
}

const SITE_FIELDS = {
  description: 'creator_notes',
  personality: 'description',
  tavern_personality: 'personality',
  first_message: 'first_mes',
  example_dialogs: 'mes_example',
  embedded_lorebook: 'character_book',
  topics: 'tags',
}

/** The fields of the character stand in `definition`, or beside everything else. */
const site: ForeignForm = {
  is: ({ spec, data, definition, tavern_personality: personality }) =>
    !isGiven(spec) && !isGiven(data) && (isObject(definition) || typeof personality === 'string'),
  message: 'The file is an answer of a card site; its fields were read under the names that they have there.',
  toCard({ definition, ...root }) {
    const inner = isObject(definition) ? definition : {}
    const used = Object.keys(inner).filter((key) => !isGiven(root[key]))
    const fields = { ...root, ...Object.fromEntries(used.map((key) => [key, inner[key]])) }
    const left = without(inner, new Set(used))
    // All at once: what is called the description there and here are two things.
    const names = new Map(Object.entries(SITE_FIELDS))
    const card = Object.entries(fields).map(([name, value]) => {
      const own = names.get(name)
      // What stands under its own name too stays where it is; the site's names for two things are another matter.
      const isTaken = own !== undefined && !names.has(own) && isGiven(fields[own])
      return [isTaken ? name : (own ?? name), value] as const
    })
    const moved = card.filter(([, value]) => isGiven(value))
    return { ...Object.fromEntries(moved), ...(Object.keys(left).length > 0 && { definition: left }) }
  },
}

export const FOREIGN_FORMS: readonly ForeignForm[] = [agnai, site]
