/** Which documents are read next, and by which process: what was stopped, or whose process died, is taken up where it was. */
import { availableParallelism } from 'node:os'

import { and, asc, eq, inArray, lt, or } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'

import type { DocumentState } from './knowledge.ts'
import { AT_WORK, readIn, type DocumentRow, type ReadingParts } from './reading.ts'

/** A hostile document takes a core and 600 MB until it is ended: never all cores. */
const AT_ONCE = Math.min(2, Math.max(1, availableParallelism() - 1))

/** Looks for what another process left behind. */
const LOOK_EVERY_MS = 5_000

export interface QueueParts extends ReadingParts {
  log: Log
  /** After this time without a sign of life a document is taken over from another process; 0 when there can be no other. */
  leaseMs: number
}

export interface ReadingQueue {
  /** There may be something to do. */
  wake(): void
  /** Ends the work on a document, if it is done here; resolves when it has ended. */
  abort(id: string): Promise<void>
  close(): Promise<void>
}

export function openReadingQueue(on: QueueParts): ReadingQueue {
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
