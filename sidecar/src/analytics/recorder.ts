/** Writes call records. Records of one moment share a commit, and each caller waits for its own. */
import { eq, sql } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import type { Store } from '#store/store.ts'

import type { CallRecord, Rating } from './record.ts'

/** A commit costs about a disk flush: waiting this long lets the records of a busy moment share one. */
const GATHER_MS = 5
const LARGEST_BATCH = 100

export interface Recorder {
  /** Resolves once the record is committed; rejects with AppError `unavailable` when it could not be. */
  add(record: CallRecord): Promise<void>
  addRating(rating: Rating): Promise<void>
  deleteRating(id: string): Promise<void>
  /** Writes what is waiting. */
  close(): Promise<void>
}

interface Waiting {
  record: CallRecord
  resolve: () => void
  reject: (error: AppError) => void
}

export function openRecorder({ store }: { store: Store }): Recorder {
  let waiting: Waiting[] = []
  let timer: NodeJS.Timeout | undefined
  let writing = Promise.resolve()

  async function write(batch: readonly Waiting[]): Promise<void> {
    try {
      // A retry may send a record twice; its id makes that one row.
      await store.db
        .insert(store.t.callRecords)
        .values(batch.map(({ record }) => record))
        .onConflictDoNothing()
      for (const { resolve } of batch) resolve()
    } catch (cause) {
      const error = new AppError(
        'unavailable',
        'The answer could not be recorded; the database of the records does not take it',
        { cause },
      )
      for (const { reject } of batch) reject(error)
    }
  }

  function flush(): void {
    clearTimeout(timer)
    timer = undefined
    const batch = waiting.splice(0, LARGEST_BATCH)
    if (batch.length === 0) return
    writing = writing.then(() => write(batch))
    if (waiting.length > 0) flush()
  }

  return {
    add(record) {
      return new Promise((resolve, reject) => {
        waiting.push({ record, resolve, reject })
        if (waiting.length >= LARGEST_BATCH) flush()
        else timer ??= setTimeout(flush, GATHER_MS)
      })
    },
    async addRating(rating) {
      const { value, atMs } = rating
      await store.db
        .insert(store.t.ratings)
        .values(rating)
        .onConflictDoUpdate({ target: store.t.ratings.id, set: { value, atMs: sql`${atMs}` } })
    },
    async deleteRating(id) {
      await store.db.delete(store.t.ratings).where(eq(store.t.ratings.id, id))
    },
    async close() {
      flush()
      await writing
      waiting = []
    },
  }
}
