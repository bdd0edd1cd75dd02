/** Writes call records. Records of one moment share a commit, and each caller waits for its own. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

import { eq, sql } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import type { Store } from '#store/store.ts'

import type { CallRecord, Rating } from './record.ts'

const LARGEST_BATCH = 100

/** While so many finish during one commit, the next ones are gathered: a commit costs the processor as much as ten rows. */
const CROWD = 4
const GATHER_MS = 3

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

/** What comes while a commit runs shares the next one: under load many records pay for one flush of the disk, alone none waits. */
export function openRecorder({ store }: { store: Store }): Recorder {
  const waiting: Waiting[] = []
  let writing: Promise<void> | undefined

  async function write(batch: readonly Waiting[]): Promise<void> {
    try {
      // A retry may send a record twice; its id makes that one row.
      await store.append(
        store.t.callRecords,
        batch.map(({ record }) => record),
      )
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

  async function writeAll(): Promise<void> {
    // Those who finish in the same turn of the event loop go with the first one: to wake the thread that writes costs more
    // than a row.
    await nextTurn()
    while (waiting.length > 0) {
      const batch = waiting.splice(0, LARGEST_BATCH)
      await write(batch)
      if (batch.length >= CROWD) await sleep(GATHER_MS)
    }
    writing = undefined
  }

  return {
    add(record) {
      return new Promise((resolve, reject) => {
        waiting.push({ record, resolve, reject })
        writing ??= writeAll()
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
      await writing
    },
  }
}
