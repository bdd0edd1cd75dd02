/** Vectors of pieces: made once, kept in the database, and never paid for twice. */
import { and, eq, inArray } from 'drizzle-orm'
import { LRUCache } from 'lru-cache'

import { AppError } from '#base/errors.ts'
import { createEmbedder, EMBEDDING_BATCH, type Embedder, type EmbedTexts } from '#rag/embedder.ts'
import { embeddingInput } from '#rag/embedding-input.ts'
import { modelOf } from '#rag/fingerprint.ts'
import type { Store } from '#store/store.ts'

export interface Piece {
  id: number
  documentId: string
  header: string
  text: string
  textHash: string
}

export interface Embedded {
  piece: Piece
  /** Absent for a piece that the model does not take even in small parts. */
  vector: Float32Array | undefined
}

export interface Embeddings {
  /** The one that new vectors are made with; undefined for none. */
  readonly model: string | undefined
  /** What new vectors are made with now; null without a model. Throws what the model server's call throws. */
  fingerprint(signal: AbortSignal): Promise<string | null>
  /** Batch by batch, each kept before it is handed out. Throws as above, and `cancelled`. */
  make(pieces: readonly Piece[], fingerprint: string, signal: AbortSignal): AsyncGenerator<Embedded[], void>
  /** What is kept already, in the pieces' order. */
  kept(pieces: readonly Piece[], fingerprint: string): Promise<Embedded[]>
  /** In the terms of the model that made the vectors of the fingerprint. Throws as `make`, and `unavailable` when there is none. */
  question(text: string, fingerprint: string, signal: AbortSignal): Promise<Float32Array>
}

/** Questions whose vectors are remembered. */
const QUESTIONS_KEPT = 1_000

export function createEmbeddings(on: { store: Store; embed?: EmbedTexts; model?: string }): Embeddings {
  const { store, embed, model } = on
  const { embeddings } = store.t
  const embedders = new Map<string, Embedder>()
  const questions = new LRUCache<string, Float32Array>({ max: QUESTIONS_KEPT })

  function embedderOf(name: string): Embedder {
    if (embed === undefined)
      throw new AppError('unavailable', 'No model server makes vectors; set EMBEDDING_MODEL')
    const embedder = embedders.get(name) ?? createEmbedder(embed, name)
    embedders.set(name, embedder)
    return embedder
  }

  function embedderFor(fingerprint: string): Embedder {
    const name = modelOf(fingerprint)
    if (name === undefined)
      throw new AppError('unavailable', 'These vectors were made by an older release; index the base again')
    return embedderOf(name)
  }

  async function kept(pieces: readonly Piece[], fingerprint: string): Promise<Embedded[]> {
    if (pieces.length === 0) return []
    const hashes = [...new Set(pieces.map(({ textHash }) => textHash))]
    const rows = await store.db
      .select({ textHash: embeddings.textHash, vector: embeddings.vector })
      .from(embeddings)
      .where(and(eq(embeddings.fingerprint, fingerprint), inArray(embeddings.textHash, hashes)))
    const vectors = new Map(rows.map(({ textHash, vector }) => [textHash, fromBytes(vector)]))
    return pieces.map((piece) => ({ piece, vector: vectors.get(piece.textHash) }))
  }

  return {
    model,
    async fingerprint(signal) {
      return model === undefined || embed === undefined ? null : embedderOf(model).fingerprint(signal)
    },
    async *make(pieces, fingerprint, signal) {
      const embedder = embedderFor(fingerprint)
      for (let start = 0; start < pieces.length; start += EMBEDDING_BATCH) {
        if (signal.aborted) throw new AppError('cancelled', 'Embedding was stopped')
        const batch = await kept(pieces.slice(start, start + EMBEDDING_BATCH), fingerprint)
        const missing = new Map(
          batch.filter(({ vector }) => vector === undefined).map(({ piece }) => [piece.textHash, piece]),
        )
        const made = await embedder.passages([...missing.values()].map(embeddingInput), signal)
        const fresh = new Map([...missing.keys()].map((hash, index) => [hash, made[index]]))
        const rows = [...fresh].flatMap(([textHash, vector]) =>
          vector === undefined ? [] : [{ fingerprint, textHash, vector: toBytes(vector) }],
        )
        if (rows.length > 0) await store.db.insert(embeddings).values(rows).onConflictDoNothing()
        yield batch.map(({ piece, vector }) => ({ piece, vector: vector ?? fresh.get(piece.textHash) }))
      }
    },
    kept,
    async question(text, fingerprint, signal) {
      const key = `${fingerprint} ${text}`
      const known = questions.get(key)
      if (known !== undefined) return known
      const vector = await embedderFor(fingerprint).question(text, signal)
      questions.set(key, vector)
      return vector
    },
  }
}

const toBytes = (vector: Float32Array) => Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength)

/** Copied, because the bytes of a row need not lie where four-byte numbers may. */
function fromBytes(bytes: Uint8Array): Float32Array {
  return new Float32Array(Uint8Array.from(bytes).buffer)
}
