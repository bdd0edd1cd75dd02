/** The index of vectors. One file per engine, one line in `openVectorStore`; `tests/contract/vectors.ts` holds them all to this. */
import type { Scope } from './scope.ts'

export interface VectorItem {
  /** Of the piece, given once and for all. */
  id: number
  documentId: string
  /** Of length 1. */
  vector: Float32Array
}

export interface VectorSearch {
  /** Of the model that made the vectors; vectors of other models are never compared. */
  fingerprint: string
  /** Where it may look; nothing else is ever found. */
  scopes: readonly Scope[]
  /** Of length 1. */
  vector: Float32Array
  limit: number
}

export interface VectorHit {
  id: number
  /** Cosine, -1 to 1. */
  similarity: number
}

/**
 * All throw AppError `unavailable` when the engine does not answer, and `invalid` for vectors of another length than those
 * that lie there under the fingerprint.
 */
export interface VectorStore {
  readonly kind: string
  /** Adds or replaces by id. */
  put(fingerprint: string, scope: Scope, items: readonly VectorItem[], signal?: AbortSignal): Promise<void>
  /** Under every fingerprint. */
  removeDocument(documentId: string): Promise<void>
  /** Under every fingerprint but the one to `keep`. */
  removeScope(scope: Scope, keep?: string): Promise<void>
  /** Best first. No scopes find nothing, as do a scope and a fingerprint that nobody put anything under. */
  search(search: VectorSearch, signal?: AbortSignal): Promise<readonly VectorHit[]>
  count(fingerprint: string, scope: Scope): Promise<number>
  ping(): Promise<void>
  close(): Promise<void>
}
