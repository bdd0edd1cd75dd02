/** One model for the entries of all programs. */
import type { CharacterFilter, Source } from './conditions.ts'
import type { Decorators } from './decorators.ts'
import type { CompiledKey, LoreText } from './match.ts'
import type { Place } from './place.ts'

export type Logic = 'and_any' | 'and_all' | 'not_any' | 'not_all'

export interface LoreEntry {
  /** Unique in its book, and among all books that were compiled under names of their own; the same while the book is not edited. */
  id: string
  label: string
  content: string
  /** The content, for the search in it. */
  wording: LoreText
  keys: CompiledKey[]
  secondary: CompiledKey[]
  logic: Logic
  additional: CompiledKey[][]
  excluded: CompiledKey[]
  decorators: Decorators
  isEnabled: boolean
  isConstant: boolean
  /** Higher is printed later. */
  order: number
  /** Higher gets its place first when there is not enough. */
  priority: number
  place: Place
  /** In messages; undefined takes the book's. */
  scanDepth: number | undefined
  /** 0 to 100. */
  probability: number
  groups: string[]
  isPrioritised: boolean
  weight: number
  usesScoring: boolean
  /** In messages; 0 for none. */
  sticky: number
  cooldown: number
  delay: number
  excludesRecursion: boolean
  preventsRecursion: boolean
  /** 0 for an entry that need not wait. */
  recursionLevel: number
  ignoresBudget: boolean
  /** Kinds of requests it is meant for, in SillyTavern's words; empty for all. */
  triggers: readonly string[]
  characterFilter: CharacterFilter | undefined
  sources: readonly Source[]
}
