/** Where an author wants an entry to stand. Sources: the V3 specification, "Decorators"; SillyTavern's eight positions. */
import type { LorebookEntry } from '../card.ts'
import { ROLES, type Decorators, type LoreRole } from './decorators.ts'
import type { Extensions } from './extensions.ts'

/** Beside another part of the prompt. */
type Slot =
  | 'before_character'
  | 'after_character'
  | 'with_personality'
  | 'with_scenario'
  | 'before_note'
  | 'after_note'
  | 'before_examples'
  | 'after_examples'

export type Place = { role: LoreRole } & (
  | { kind: Slot }
  /** So many messages stand between it and that end of the chat: 0 is the very end, or the very beginning. */
  | { kind: 'at_depth'; depth: number; countedFrom: 'newest' | 'oldest' }
  /** Where a macro of the card asks for it by name. */
  | { kind: 'outlet'; name: string }
)

const DEFAULT_DEPTH = 4

const BY_DECORATOR: Readonly<Record<string, Slot>> = {
  before_desc: 'before_character',
  after_desc: 'after_character',
  personality: 'with_personality',
  scenario: 'with_scenario',
}

/** In SillyTavern's numbering. */
const BY_NUMBER: readonly (Slot | 'at_depth' | 'outlet')[] = [
  'before_character',
  'after_character',
  'before_note',
  'after_note',
  'at_depth',
  'before_examples',
  'after_examples',
  'outlet',
]

/** A decorator wins over the number, since it was written into the text itself, and the number over the specification's two words. */
export function placeOf(entry: LorebookEntry, st: Extensions, decorators: Decorators): Place {
  const role = decorators.role ?? ROLES[st.role ?? 0] ?? 'system'
  const wanted = BY_DECORATOR[decorators.position ?? '']
  if (wanted !== undefined) return { kind: wanted, role }
  if (decorators.depth !== undefined) return atDepth(decorators.depth, 'newest', role)
  if (decorators.reverseDepth !== undefined) return atDepth(decorators.reverseDepth, 'oldest', role)
  const kind = BY_NUMBER[st.position ?? -1]
  if (kind === 'at_depth') return atDepth(st.depth ?? DEFAULT_DEPTH, 'newest', role)
  if (kind === 'outlet') return { kind, name: st.outlet_name?.trim() ?? '', role }
  return { kind: kind ?? (entry.position === 'after_char' ? 'after_character' : 'before_character'), role }
}

const atDepth = (depth: number, countedFrom: 'newest' | 'oldest', role: LoreRole): Place => ({
  kind: 'at_depth',
  depth: Math.max(0, Math.trunc(depth)),
  countedFrom,
  role,
})
