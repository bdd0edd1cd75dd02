/**
 * Makes pieces findable, by their words and by their meaning, and keeps both indexes at what the database says: they are
 * derived from it, hold no text of their own, and are built again when they were lost or missed something.
 */
import { and, asc, eq, gt, sql } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import type { Scope } from '#rag/scope.ts'
import type { VectorStore } from '#rag/vectors.ts'
import type { Store } from '#store/store.ts'

import type { Embedded, Embeddings, Piece } from './embeddings.ts'

export interface Added {
  /** Of the vectors that were made; null where there is no embedding model. */
  fingerprint: string | null
  /** Ids of pieces that the model does not take: they are found by their words alone. */
  lexicalOnly: readonly number[]
}

interface Running {
  signal: AbortSignal
  /** Pieces that have a vector, and of how many. */
  onEmbedded?: (done: number, total: number) => void
}

export interface IndexHealth {
  words: { ok: boolean; message?: string }
  /** Null where there is neither a store of them nor a model that makes any. */
  vectors: { ok: boolean; kind: string; message?: string } | null
  /** Null without a model. */
  embedding: { ok: boolean; model: string; message?: string } | null
}

export interface SearchIndex {
  readonly lexical: LexicalIndex
  readonly vectors: VectorStore | undefined
  readonly embeddings: Embeddings
  /** There are a model and a store for its vectors. Without, words alone answer, also in bases that were read by a model before. */
  readonly hasMeaning: boolean
  /**
   * Adds pieces, or replaces them by id; resolves when all can be found. Throws what the embedding server's call throws, after
   * the words are in; called again it goes on with what is missing. A store of vectors that is away is caught up with later.
   */
  add(scope: Scope, pieces: readonly Piece[], running: Running): Promise<Added>
  removeDocument(documentId: string): Promise<void>
  removeScope(scope: Scope): Promise<void>
  /** Vectors of the generation that answers, by the model that is set now, beside those it has. Throws as `add`. */
  embedBase(baseId: string, running: Running): Promise<Added>
  /** Takes vectors of other models than the base's own out of the index (the database keeps them). */
  forgetOtherVectors(baseId: string): Promise<void>
  /** Both indexes again from the database, of one base or all; nothing is embedded. Throws `not_found`, `unavailable`. */
  rebuild(options: {
    baseId?: string
    signal: AbortSignal
    onProgress?: (done: number, total: number) => void
  }): Promise<{ pieces: number; vectors: number }>
  /** As `rebuild`, but only of scopes whose counts differ from the database's. */
  catchUp(signal: AbortSignal): Promise<{ rebuilt: readonly string[] }>
  health(): Promise<IndexHealth>
  close(): Promise<void>
}

export interface SearchIndexParts {
  store: Store
  lexical: LexicalIndex
  vectors: VectorStore | undefined
  /** Why there are none, and what to do: see `Engines` in `rag/index.ts`. */
  whyNoVectors?: string
  embeddings: Embeddings
  log: Log
  /** How often a store of vectors that missed something is tried again, in milliseconds. */
  retryMs?: number
}

/** Pieces in one call of an index: some milliseconds of its thread, between which searches get their turn. */
const BATCH = 64
const RETRY_MS = 30_000
const PING_MS = 2_000

export function createSearchIndex(on: SearchIndexParts): SearchIndex {
  const { store, lexical, vectors, whyNoVectors, embeddings, log, retryMs = RETRY_MS } = on
  const { knowledgeBases, knowledgeChunks } = store.t
  const closing = new AbortController()
  let isBehind = false
  let retry: NodeJS.Timeout | undefined
  let catching: Promise<unknown> | undefined

  /** What the store of vectors misses while it is away is told to it later. */
  async function tellVectors(action: (to: VectorStore) => Promise<void>): Promise<void> {
    if (vectors === undefined) return
    try {
      await action(vectors)
    } catch (thrown) {
      const { code, message } = toAppError(thrown)
      if (code !== 'unavailable') throw thrown
      if (!isBehind) log.warn({ store: vectors.kind, code }, message)
      isBehind = true
      retryLater()
    }
  }

  function retryLater(): void {
    if (retry !== undefined || closing.signal.aborted) return
    retry = setTimeout(() => {
      retry = undefined
      catching = catchUp(closing.signal).catch(() => retryLater())
    }, retryMs)
    retry.unref()
  }

  async function putVectors(scope: Scope, fingerprint: string, batch: readonly Embedded[]): Promise<void> {
    const items = batch.flatMap(({ piece, vector }) =>
      vector === undefined ? [] : [{ id: piece.id, documentId: piece.documentId, vector }],
    )
    if (items.length > 0) await tellVectors((to) => to.put(fingerprint, scope, items))
  }

  async function putWords(scope: Scope, pieces: readonly Piece[], signal: AbortSignal): Promise<void> {
    for (const batch of batches(pieces)) {
      stopIf(signal)
      await lexical.put(scope, batch)
    }
  }

  async function embed(
    scope: Scope,
    pieces: readonly Piece[],
    { signal, onEmbedded }: Running,
  ): Promise<Added> {
    const fingerprint = vectors === undefined ? null : await embeddings.fingerprint(signal)
    if (fingerprint === null) return { fingerprint, lexicalOnly: [] }
    const lexicalOnly: number[] = []
    let done = 0
    for await (const batch of embeddings.make(pieces, fingerprint, signal)) {
      await putVectors(scope, fingerprint, batch)
      lexicalOnly.push(...batch.filter(({ vector }) => vector === undefined).map(({ piece }) => piece.id))
      done += batch.length
      onEmbedded?.(done, pieces.length)
    }
    return { fingerprint, lexicalOnly }
  }

  async function bases(baseId?: string) {
    const columns = {
      id: knowledgeBases.id,
      generation: knowledgeBases.generation,
      fingerprint: knowledgeBases.fingerprint,
    }
    const found = await store.db
      .select(columns)
      .from(knowledgeBases)
      .where(baseId === undefined ? undefined : eq(knowledgeBases.id, baseId))
    if (baseId !== undefined && found.length === 0)
      throw new AppError('not_found', `There is no knowledge base "${baseId}"`)
    return found
  }

  const inScope = ({ baseId, generation }: Scope) =>
    and(eq(knowledgeChunks.baseId, baseId), eq(knowledgeChunks.generation, generation))

  async function countPieces(scope: Scope): Promise<number> {
    const rows = await store.db
      .select({ count: sql<number>`count(*)`.mapWith(Number) })
      .from(knowledgeChunks)
      .where(inScope(scope))
    return rows[0]?.count ?? 0
  }

  async function countVectors(scope: Scope, fingerprint: string): Promise<number> {
    const { embeddings: rows } = store.t
    const found = await store.db
      .select({ count: sql<number>`count(*)`.mapWith(Number) })
      .from(knowledgeChunks)
      .innerJoin(rows, and(eq(rows.textHash, knowledgeChunks.textHash), eq(rows.fingerprint, fingerprint)))
      .where(inScope(scope))
    return found[0]?.count ?? 0
  }

  /** In the order of their ids, so many at a time. */
  async function* piecesOf(scope: Scope): AsyncGenerator<Piece[], void> {
    const { id, documentId, header, text, textHash } = knowledgeChunks
    for (let after = 0; ;) {
      const batch = await store.db
        .select({ id, documentId, header, text, textHash })
        .from(knowledgeChunks)
        .where(and(inScope(scope), gt(id, after)))
        .orderBy(asc(id))
        .limit(BATCH)
      if (batch.length > 0) yield batch
      if (batch.length < BATCH) return
      after = batch.at(-1)?.id ?? after
    }
  }

  /**
   * Puts everything again over what is there, so that searches go on; only what is there and should not be takes emptying.
   * The store of vectors must answer here: this is what catches it up.
   */
  async function rebuildScope(
    scope: Scope,
    fingerprint: string | null,
    running: { signal: AbortSignal; onPieces?: (count: number) => void },
  ): Promise<number> {
    const restored = await fillScope(scope, fingerprint, running)
    if (!(await differs(scope, fingerprint))) return restored
    await lexical.removeScope(scope)
    await vectors?.removeScope(scope)
    return fillScope(scope, fingerprint, { signal: running.signal })
  }

  async function fillScope(
    scope: Scope,
    fingerprint: string | null,
    { signal, onPieces }: { signal: AbortSignal; onPieces?: (count: number) => void },
  ): Promise<number> {
    let restored = 0
    for await (const pieces of piecesOf(scope)) {
      stopIf(signal)
      await lexical.put(scope, pieces)
      if (vectors !== undefined && fingerprint !== null) {
        const items = (await embeddings.kept(pieces, fingerprint)).flatMap(({ piece, vector }) =>
          vector === undefined ? [] : [{ id: piece.id, documentId: piece.documentId, vector }],
        )
        await vectors.put(fingerprint, scope, items, signal)
        restored += items.length
      }
      onPieces?.(pieces.length)
    }
    return restored
  }

  async function differs(scope: Scope, fingerprint: string | null): Promise<boolean> {
    if ((await lexical.count(scope)) !== (await countPieces(scope))) return true
    if (vectors === undefined || fingerprint === null) return false
    return (await vectors.count(fingerprint, scope)) !== (await countVectors(scope, fingerprint))
  }

  async function catchUp(signal: AbortSignal): Promise<{ rebuilt: readonly string[] }> {
    const rebuilt: string[] = []
    for (const { id, generation, fingerprint } of await bases()) {
      stopIf(signal)
      const scope = { baseId: id, generation }
      if (!(await differs(scope, fingerprint))) continue
      await rebuildScope(scope, fingerprint, { signal })
      rebuilt.push(id)
    }
    isBehind = false
    return { rebuilt }
  }

  async function healthOfVectors(): Promise<IndexHealth['vectors']> {
    if (vectors !== undefined) return { kind: vectors.kind, ...(await told(vectors.ping())) }
    if (embeddings.model === undefined) return null
    return { kind: 'pgvector', ok: false, ...(whyNoVectors !== undefined && { message: whyNoVectors }) }
  }

  return {
    lexical,
    vectors,
    embeddings,
    hasMeaning: vectors !== undefined && embeddings.model !== undefined,
    async add(scope, pieces, running) {
      await putWords(scope, pieces, running.signal)
      return embed(scope, pieces, running)
    },
    async removeDocument(documentId) {
      await lexical.removeDocument(documentId)
      await tellVectors((to) => to.removeDocument(documentId))
    },
    async removeScope(scope) {
      await lexical.removeScope(scope)
      await tellVectors((to) => to.removeScope(scope))
    },
    async embedBase(baseId, running) {
      const [base] = await bases(baseId)
      const scope = { baseId, generation: base?.generation ?? 0 }
      const pieces: Piece[] = []
      for await (const batch of piecesOf(scope)) pieces.push(...batch)
      return embed(scope, pieces, running)
    },
    async forgetOtherVectors(baseId) {
      const [base] = await bases(baseId)
      const scope = { baseId, generation: base?.generation ?? 0 }
      await tellVectors((to) => to.removeScope(scope, base?.fingerprint ?? undefined))
    },
    async rebuild({ baseId, signal, onProgress }) {
      const all = await bases(baseId)
      const scopes = all.map(({ id, generation, fingerprint }) => ({
        scope: { baseId: id, generation },
        fingerprint,
      }))
      let total = 0
      for (const { scope } of scopes) total += await countPieces(scope)
      let done = 0
      let restored = 0
      for (const { scope, fingerprint } of scopes)
        restored += await rebuildScope(scope, fingerprint, {
          signal,
          onPieces(count) {
            done += count
            onProgress?.(done, total)
          },
        })
      return { pieces: done, vectors: restored }
    },
    catchUp,
    async health() {
      const signal = AbortSignal.timeout(PING_MS)
      const { model } = embeddings
      const [words, meaning, embedding] = await Promise.all([
        told(lexical.ping()),
        healthOfVectors(),
        model === undefined ? null : told(embeddings.fingerprint(signal).catch(withoutForeignWords)),
      ])
      return {
        words,
        vectors: meaning,
        embedding: model === undefined || embedding === null ? null : { model, ...embedding },
      }
    },
    async close() {
      closing.abort()
      clearTimeout(retry)
      await catching
      await Promise.all([lexical.close(), vectors?.close()])
    },
  }
}

/** Anybody may ask how we are, and a server that refuses may quote what it was asked. */
function withoutForeignWords(thrown: unknown): never {
  const { code, facts } = toAppError(thrown)
  if (facts['status'] === undefined || code === 'model_not_found') throw thrown
  throw new AppError(
    code,
    `It refuses to embed (${String(facts['status'])}); what it says, POST /v1/embeddings tells`,
  )
}

const told = (promise: Promise<unknown>): Promise<{ ok: boolean; message?: string }> =>
  promise.then(
    () => ({ ok: true }),
    (thrown: unknown) => ({ ok: false, message: toAppError(thrown).message }),
  )

function* batches<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let start = 0; start < items.length; start += BATCH) yield items.slice(start, start + BATCH)
}

function stopIf(signal: AbortSignal): void {
  if (signal.aborted) throw new AppError('cancelled', 'The index was not finished: it was stopped')
}
