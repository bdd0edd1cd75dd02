/** One document on its way: read in a process of its own, cut, written, made findable. How far it is stands in its row. */
import { and, eq, inArray, isNull, lt, ne, sql } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import { CHUNK_OPTIONS, type ChunkOptions } from '#rag/chunk.ts'
import { mediaTypeOf } from '#rag/kinds.ts'
import type { PreparedDocument } from '#rag/prepare.ts'
import type { readInChild } from '#rag/read-in-child.ts'
import type { Scope } from '#rag/scope.ts'
import type { KnowledgeSettings } from '#store/knowledge-tables.ts'
import type { Store } from '#store/store.ts'

import type { Piece } from './embeddings.ts'
import type { DocumentState } from './knowledge.ts'
import type { Originals } from './originals.ts'
import type { Findable, Passages } from './passages.ts'
import type { ProgressBoard } from './progress.ts'

/** A sign of life, for others who would take the document over. */
const HEARTBEAT_MS = 3_000

/** An embedding server that restarts is waited for; after that words must do for now. */
const EMBEDDING_RETRIES_MS = [1_000, 5_000, 20_000]

/** In these states a document is on its way; every other one was decided by somebody, and stays. */
export const AT_WORK: DocumentState[] = ['waiting', 'parsing', 'embedding']

export type DocumentRow = Store['t']['knowledgeDocuments']['$inferSelect']

export interface ReadingParts {
  store: Store
  index: Findable
  originals: Originals
  passages: Passages
  board: ProgressBoard
  read: typeof readInChild
  now: () => number
  /** A document is gone for good: its rows, its file, and what the index knows. */
  remove(id: string): Promise<void>
}

export const chunkingOf = ({ chunkCharacters, overlapCharacters }: KnowledgeSettings): ChunkOptions => ({
  size: chunkCharacters ?? CHUNK_OPTIONS.size,
  overlap: overlapCharacters ?? CHUNK_OPTIONS.overlap,
})

/** Until it can be found, or somebody decided otherwise. Throws AppError for a document that cannot be read. */
export async function readIn(on: ReadingParts, row: DocumentRow, signal: AbortSignal): Promise<void> {
  const { store, now } = on
  const { knowledgeDocuments: documents, knowledgeBases: bases } = store.t
  const save = (values: Partial<DocumentRow>) =>
    store.db
      .update(documents)
      .set({ ...values, updatedAtMs: now() })
      .where(and(eq(documents.id, row.id), inArray(documents.state, AT_WORK)))
  const beat = setInterval(() => {
    save(on.board.counts(row.id) ?? {}).then(undefined, () => undefined) // The next one may come through.
  }, HEARTBEAT_MS)
  try {
    for (;;) {
      const [base] = await store.db.select().from(bases).where(eq(bases.id, row.baseId))
      if (base === undefined) return
      const scope = { baseId: base.id, generation: base.generation }
      if (await readOnce(on, { row, scope, settings: base.settings, signal, save })) return
      // The base was cut anew meanwhile: its new generation needs this document too.
    }
  } finally {
    clearInterval(beat)
  }
}

interface Work {
  row: DocumentRow
  scope: Scope
  settings: KnowledgeSettings
  signal: AbortSignal
  save: (values: Partial<DocumentRow>) => PromiseLike<unknown>
}

/** False when the generation that it was read into no longer answers. */
async function readOnce(on: ReadingParts, { row, scope, settings, signal, save }: Work): Promise<boolean> {
  const place = { ...scope, documentId: row.id }
  let { notes, chunksTotal } = row
  if (chunksTotal === null || !(await on.passages.areWhole(place))) {
    on.board.begin(row.id, { pagesRead: 0, pagesTotal: null, chunksEmbedded: 0, chunksTotal: null })
    await save({
      state: 'parsing',
      failure: null,
      pagesRead: 0,
      pagesTotal: null,
      chunksEmbedded: 0,
      chunksTotal: null,
    })
    const prepared = await readFile(on, row, settings, signal)
    await on.passages.write(place, prepared.chunks)
    ;({ notes } = prepared)
    chunksTotal = prepared.chunks.length
    await save({ notes, title: prepared.title ?? row.name, mediaType: mediaTypeOf(prepared.kind) })
  }
  const { pagesRead, pagesTotal } = on.board.counts(row.id) ?? row
  const counts = { pagesRead, pagesTotal, chunksEmbedded: 0, chunksTotal }
  on.board.begin(row.id, counts)
  await save({ ...counts, state: 'embedding' })
  const found = await makeFindable(on, place, signal)
  return publish(on, { row, scope, found, chunksTotal, notes: [...notes, ...found.notes] })
}

export function readFile(
  on: Pick<ReadingParts, 'originals' | 'board' | 'read'>,
  row: Pick<DocumentRow, 'id' | 'name' | 'originalHash'>,
  settings: KnowledgeSettings,
  signal: AbortSignal,
): Promise<PreparedDocument> {
  return on.read(
    { file: on.originals.fileOf(row.originalHash), name: row.name, chunking: chunkingOf(settings) },
    { signal, onProgress: (pagesRead, pagesTotal) => on.board.set(row.id, { pagesRead, pagesTotal }) },
  )
}

interface Found {
  /** Null while words alone do. */
  fingerprint: string | null
  notes: DocumentRow['notes']
}

/** Words are in at once; for meaning a server that is away is waited for a while. */
async function makeFindable(
  on: ReadingParts,
  place: Scope & { documentId: string },
  signal: AbortSignal,
): Promise<Found> {
  const lexicalOnly: number[] = []
  let fingerprint: string | null = null
  let done = 0
  let isAway = false
  for await (const pieces of on.passages.pages(place)) {
    const added = await addPatiently(on, place, pieces, {
      signal,
      patienceMs: isAway ? [] : EMBEDDING_RETRIES_MS,
      onEmbedded: (embedded) => on.board.set(place.documentId, { chunksEmbedded: done + embedded }),
    })
    isAway ||= added === undefined
    done += pieces.length
    fingerprint = added?.fingerprint ?? null
    lexicalOnly.push(...(added?.lexicalOnly ?? []))
  }
  return {
    fingerprint: isAway ? null : fingerprint,
    notes: lexicalOnly.length === 0 ? [] : [tooLongNote(lexicalOnly.length)],
  }
}

interface Patience {
  signal: AbortSignal
  patienceMs: readonly number[]
  onEmbedded: (done: number) => void
}

/** Undefined when the embedding server stays away: the words are in, and the background reads the rest later. */
async function addPatiently(
  on: ReadingParts,
  { baseId, generation }: Scope,
  pieces: readonly Piece[],
  { signal, patienceMs, onEmbedded }: Patience,
) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await on.index.add({ baseId, generation }, pieces, { signal, onEmbedded })
    } catch (thrown) {
      if (!isServerAway(thrown)) throw thrown
      const waitMs = patienceMs[attempt]
      if (waitMs === undefined) return undefined
      await wait(waitMs, signal)
    }
  }
}

/** What an embedding server that is down, overloaded or restarting comes as. */
export const isServerAway = (thrown: unknown): boolean =>
  ['unavailable', 'upstream', 'upstream_timeout', 'model_not_found'].includes(toAppError(thrown).code)

function wait(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer)
      reject(new AppError('cancelled', 'The reading was stopped'))
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal.addEventListener('abort', abort, { once: true })
    if (signal.aborted) abort()
  })
}

const tooLongNote = (count: number) => ({
  code: 'found_by_words_only',
  path: '',
  message: `${count} passages are too long for the embedding model and are found by their words alone; make the passages of the base shorter.`,
})

/** In one transaction: from now on this document answers, and no longer the ones of its name before it. */
async function publish(
  { store, now, remove }: ReadingParts,
  at: {
    row: DocumentRow
    scope: Scope
    found: Found
    chunksTotal: number
    notes: DocumentRow['notes']
  },
): Promise<boolean> {
  const { knowledgeDocuments: documents, knowledgeBases: bases } = store.t
  const { row, scope, found } = at
  const chunksEmbedded = found.fingerprint === null ? 0 : at.chunksTotal
  const answering = () =>
    store.db
      .select({ id: bases.id })
      .from(bases)
      .where(and(eq(bases.id, scope.baseId), eq(bases.generation, scope.generation)))
  const older = and(
    eq(documents.baseId, row.baseId),
    eq(documents.name, row.name),
    lt(documents.id, row.id),
    ne(documents.state, 'deleting'),
  )
  await store.atomically((db) => [
    db
      .update(documents)
      .set({ state: 'ready', failure: null, notes: at.notes, chunksEmbedded, updatedAtMs: now() })
      .where(
        and(
          eq(documents.id, row.id),
          eq(documents.state, 'embedding'),
          inArray(documents.baseId, answering()),
        ),
      ),
    db
      .update(documents)
      .set({ state: 'deleting', updatedAtMs: now() })
      .where(and(older, inArray(documents.baseId, answering()))),
    db
      .update(bases)
      .set({ revision: sql`${bases.revision} + 1` })
      .where(and(eq(bases.id, scope.baseId), eq(bases.generation, scope.generation))),
    // The first vectors of a base say by which model it is searched.
    ...(found.fingerprint === null
      ? []
      : [
          db
            .update(bases)
            .set({ fingerprint: found.fingerprint })
            .where(and(eq(bases.id, scope.baseId), isNull(bases.fingerprint))),
        ]),
  ])
  const [after] = await store.db.select().from(documents).where(eq(documents.id, row.id))
  if (after?.state !== 'ready') return after?.state !== 'embedding'
  const replaced = await store.db
    .select({ id: documents.id })
    .from(documents)
    .where(
      and(eq(documents.baseId, row.baseId), eq(documents.name, row.name), eq(documents.state, 'deleting')),
    )
  for (const { id } of replaced) await remove(id)
  return true
}
