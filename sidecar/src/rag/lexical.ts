/** The index of words. One file per engine, one line in `openLexicalIndex`; `tests/contract/lexical.ts` holds them all to this. */
import type { Scope } from './scope.ts'

export interface LexicalEntry {
  /** Of the piece, given once and for all. */
  id: number
  documentId: string
  header: string
  text: string
}

export interface LexicalSearch {
  /** Where it may look; nothing else is ever found. */
  scopes: readonly Scope[]
  /** As `queryWords` makes them. */
  words: readonly string[]
  limit: number
}

export interface LexicalHit {
  id: number
  /** BM25: larger is better; comparable within one search only. */
  score: number
  /** Which of the asked words it has, for the first hits only: indices into `words`. */
  has?: readonly number[]
}

export interface LexicalResult {
  /** Best first. */
  hits: readonly LexicalHit[]
  /** In how many pieces of the scopes each asked word stands. */
  counts: readonly number[]
  /** Pieces in the scopes. */
  total: number
}

/** How many of the hits say which words they have: the gate looks at the best ones only. */
export const HITS_WITH_WORDS = 5

/** All throw AppError `unavailable` when the engine does not answer. */
export interface LexicalIndex {
  readonly kind: string
  /** Adds or replaces by id, all or none. */
  put(scope: Scope, entries: readonly LexicalEntry[]): Promise<void>
  removeDocument(documentId: string): Promise<void>
  removeScope(scope: Scope): Promise<void>
  /** No scopes or no words find nothing. */
  search(search: LexicalSearch): Promise<LexicalResult>
  count(scope: Scope): Promise<number>
  ping(): Promise<void>
  close(): Promise<void>
}

export const NOTHING_FOUND: LexicalResult = { hits: [], counts: [], total: 0 }
