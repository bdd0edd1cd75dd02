/** What the lint of a lorebook says. */
import type { LoreEntry } from './entry.ts'

export type FindingCode =
  | 'switched_off'
  | 'no_text'
  | 'no_key'
  | 'unsupported_keys'
  | 'no_chance'
  | 'impossible_conditions'
  | 'never_called'
  | 'same_key'
  | 'contained_key'
  | 'broad_key'
  | 'same_content'
  | 'ring'
  | 'too_long'
  | 'always_there'
  | 'too_much_always_there'

export interface Finding {
  code: FindingCode
  /** At least one, in the book's order where they form no ring. */
  entries: readonly Pick<LoreEntry, 'id' | 'label'>[]
  /** Says what is the matter, and what to do. */
  message: string
}

export const finding = (code: FindingCode, entries: readonly LoreEntry[], message: string): Finding => ({
  code,
  entries: entries.map(({ id, label }) => ({ id, label })),
  message,
})

const NAMES_SHOWN = 3

/** "A", "B", "C" and 4 more. */
export function namesOf(entries: readonly LoreEntry[]): string {
  const shown = entries.slice(0, NAMES_SHOWN).map(({ label }) => `"${label}"`)
  const more = entries.length - shown.length
  return more > 0 ? `${shown.join(', ')} and ${String(more)} more` : shown.join(', ')
}
