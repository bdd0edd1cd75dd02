/** What is being looked at, as the query of an address. */
import { readChoice, writeChoice, type Choice } from './figures/choice.ts'
import type { Filter } from './finding.ts'

const PAGES = ['characters', 'lorebooks', 'figures', 'keys'] as const

export type Page = (typeof PAGES)[number]

export interface View {
  page: Page
  search: string
  filter: Filter
  /** The character that is open. */
  characterId: string | null
  /** The lorebook that is open. */
  lorebookId: string | null
  /** The key that is open, or `NEW_KEY`. */
  keyId: string | null
  figures: Choice
}

/** Stands for one that is being made: ids are longer. */
export const NEW_KEY = 'new'

export const NOTHING_OPEN = { characterId: null, lorebookId: null, keyId: null } as const

export function readView(query: string): View {
  const fields = new URLSearchParams(query)
  return {
    page: readPage(fields),
    search: fields.get('q') ?? '',
    filter: readFilter(fields),
    characterId: fields.get('character'),
    lorebookId: fields.get('lorebook'),
    keyId: fields.get('key'),
    figures: readChoice(fields),
  }
}

/** An address relative to the page; without anything to say it is the page itself. */
export function writeView(view: View): string {
  const { page, search, filter, characterId, lorebookId, keyId, figures } = view
  const fields = new URLSearchParams()
  if (page !== 'characters') fields.set('page', page)
  if (search !== '') fields.set('q', search)
  if (filter.kind === 'tag') fields.set('tag', filter.tag)
  if (filter.kind === 'attention') fields.set('show', 'attention')
  if (characterId !== null) fields.set('character', characterId)
  if (lorebookId !== null) fields.set('lorebook', lorebookId)
  if (keyId !== null) fields.set('key', keyId)
  if (page === 'figures') for (const [name, value] of writeChoice(figures)) fields.set(name, value)
  return fields.size === 0 ? import.meta.env.BASE_URL : `?${fields.toString()}`
}

function readPage(fields: URLSearchParams): Page {
  if (fields.has('lorebook')) return 'lorebooks'
  if (fields.has('key')) return 'keys'
  return PAGES.find((page) => page === fields.get('page')) ?? 'characters'
}

function readFilter(fields: URLSearchParams): Filter {
  const tag = fields.get('tag')
  if (tag !== null) return { kind: 'tag', tag }
  return fields.get('show') === 'attention' ? { kind: 'attention' } : { kind: 'all' }
}
