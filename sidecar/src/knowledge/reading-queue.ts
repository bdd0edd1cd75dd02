/**
 * Documents on their way to being found: read in a process of their own, cut, written, made findable. How far one is stands
 * in its row, so that what was stopped or killed goes on where it was.
 */
import { availableParallelism } from 'node:os'

import { and, asc, eq, inArray, isNull, lt, ne, or, sql } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import { CHUNK_OPTIONS, type ChunkOptions } from '#rag/chunk.ts'
import { mediaTypeOf } from '#rag/kinds.ts'
import type { readInChild } from '#rag/read-in-child.ts'
import type { PreparedDocument } from '#rag/prepare.ts'
import type { Scope } from '#rag/scope.ts'
import type { KnowledgeSettings } from '#store/knowledge-tables.ts'
import type { Store } from '#store/store.ts'

import type { Piece } from './embeddings.ts'
import type { DocumentState } from './knowledge.ts'
import type { Originals } from './originals.ts'
import type { Findable, Passages } from './passages.ts'
import type { ProgressBoard } from './progress.ts'

/** A hostile document takes a core and 600 MB until it is ended: never all cores. */
const AT_ONCE = Math.min(2, Math.max(1, availableParallelism() - 1))

/** Looks for what another process left behind. */
const LOOK_EVERY_MS = 5_000
const HEARTBEAT_MS = 3_000

/** An embedding server that restarts is waited for; after that words must do for now. */
const EMBEDDING_RETRIES_MS = [1_000, 5_000, 20_000]

/** In these states a document is on its way; every other one was decided by somebody, and stays. */
const AT_WORK: DocumentState[] = ['waiting', 'parsing', 'embedding']

export type DocumentRow = Store['t']['knowledgeDocuments']['$inferSelect']

export interface ReadingParts {
  store: Store
  index: Findable
  originals: Originals
  passages: Passages
  board: ProgressBoard
  read: typeof readInChild
  log: Log
  now: () => number
  /** After this time without a sign of life a document is taken over from another process; 0 when there can be no other. */
  leaseMs: number
  /** A document is gone for good: its rows, its file, and what the index knows. */
  remove(id: string): Promise<void>
}

export interface ReadingQueue {
  /** There may be something to do. */
  wake(): void
  /** Ends the work on a document, if it is done here; resolves when it has ended. */
  abort(id: string): Promise<void>
  close(): Promise<void>
}

export const chunkingOf = ({ chunkCharacters, overlapCharacters }: KnowledgeSettings): ChunkOptions => ({
  size: chunkCharacters ?? CHUNK_OPTIONS.size,
  overlap: overlapCharacters ?? CHUNK_OPTIONS.overlap,
})

export function openReadingQueue(on: ReadingParts): ReadingQueue {
  const { store, log, now, leaseMs } = on
  const { knowledgeDocuments: documents } = store.t
  const running = new Map<string, { controller: AbortController; ended: Promise<void> }>()
  let isClosed = false
  let looking: Promise<void> | undefined
  /** How often somebody said that there may be something to do. */
  let wakes = 0

  const isFree = () =>
    or(
      eq(documents.state, 'waiting'),
      and(
        inArray(documents.state, ['parsing', 'embedding', 'deleting']),
        lt(documents.updatedAtMs, now() - leaseMs),
      ),
    )

  /** Undefined when there is nothing to do, or nothing that can be done here. */
  async function claim(): Promise<DocumentRow | undefined> {
    const candidates = await store.db
      .select()
      .from(documents)
      .where(isFree())
      .orderBy(asc(documents.id))
      .limit(50)
    for (const row of candidates) {
      if (running.has(row.id)) continue
      // The file of a document lies where it was uploaded.
      if (row.state !== 'deleting' && !(await on.originals.isHere(row.originalHash))) continue
      const taken = await store.db
        .update(documents)
        .set({ updatedAtMs: now(), ...(row.state === 'waiting' && { state: 'parsing' }) })
        .where(and(eq(documents.id, row.id), isFree()))
        .returning({ id: documents.id })
      if (taken.length > 0) return row
    }
    return undefined
  }

  async function look(): Promise<void> {
    for (let seen = -1; seen !== wakes;) {
      seen = wakes
      while (!isClosed && running.size < AT_ONCE) {
        const row = await claim()
        if (row === undefined) break
        start(row)
      }
    }
  }

  function wake(): void {
    wakes += 1
    if (isClosed) return
    looking ??= look()
      .catch((thrown: unknown) => {
        log.warn(
          { errorCode: toAppError(thrown).code },
          'the queue of documents cannot be read; it is tried again',
        )
      })
      .finally(() => (looking = undefined))
  }

  function start(row: DocumentRow): void {
    const controller = new AbortController()
    const work = row.state === 'deleting' ? on.remove(row.id) : readIn(on, row, controller.signal)
    const ended = work
      .catch((thrown: unknown) => settle(row.id, thrown))
      .catch((thrown: unknown) => {
        // The row keeps its state, and the next look takes it up.
        log.error(
          { document: row.id, errorCode: toAppError(thrown).code },
          'the state of a document was not saved',
        )
      })
      .finally(() => {
        running.delete(row.id)
        on.board.end(row.id)
        wake()
      })
    running.set(row.id, { controller, ended })
  }

  /** What becomes of a document that did not get through. */
  async function settle(id: string, thrown: unknown): Promise<void> {
    const { code, message, cause } = toAppError(thrown)
    const state: DocumentState = code !== 'cancelled' ? 'failed' : isClosed ? 'waiting' : 'stopped'
    const failure = state === 'failed' ? { code, message } : null
    await store.db
      .update(documents)
      .set({ state, failure, updatedAtMs: now(), ...on.board.counts(id) })
      .where(and(eq(documents.id, id), inArray(documents.state, AT_WORK)))
    if (code === 'internal') log.error({ document: id, error: cause }, 'a document could not be read')
    else log.info({ document: id, state, errorCode: code }, 'a document was not read to its end')
  }

  const timer = setInterval(wake, LOOK_EVERY_MS).unref()
  wake()
  return {
    wake,
    async abort(id) {
      const work = running.get(id)
      work?.controller.abort()
      await work?.ended
    },
    async close() {
      isClosed = true
      clearInterval(timer)
      await looking
      for (const { controller } of running.values()) controller.abort()
      await Promise.all([...running.values()].map(({ ended }) => ended))
    },
  }
}

// -- one document ------------------------------------------------------------------------------------------------------

async function readIn(on: ReadingParts, row: DocumentRow, signal: AbortSignal): Promise<void> {
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
