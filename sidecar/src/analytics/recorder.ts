/** Writes call records. Records of one moment share a commit, and each caller waits for its own. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'

import { eq } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { Outbox } from '#store/outbox.ts'
import type { Store } from '#store/store.ts'

import { createKeeper } from './keeper.ts'
import type { CallDetails, CallRecord, Rating, Recorded } from './record.ts'

const LARGEST_BATCH = 100
const RETRY_MS = 1_000

/** What is left of the outbox is told before it is gone. */
const NEARLY_FULL = 0.8

export interface RecorderState {
  /** Records take the way over the outbox, since the database is slow or away. */
  isSpilling: boolean
  /** In the outbox. */
  pending: number
  isNearlyFull: boolean
  /** Neither the database nor the outbox takes records. */
  isFailing: boolean
  /** Records of answers that were finished without, when that is allowed. */
  dropped: number
  /** Damaged files that were put aside. */
  quarantined: number
}

/** While so many finish during one commit, the next ones are gathered: a commit costs the processor as much as ten rows. */
const CROWD = 4
const GATHER_MS = 3

export interface Recorder {
  /**
   * Resolves once the record is committed; rejects with AppError `unavailable` when it could not be. Where answers may go
   * unrecorded it resolves all the same, and counts it.
   */
  add(record: CallRecord, details?: CallDetails): Promise<void>
  /** Throws AppError `unavailable` when an answer would be lost at its end: before a model works for it. */
  admit(): void
  addRating(rating: Rating): Promise<void>
  deleteRating(id: string): Promise<void>
  state(): RecorderState
  /** Writes what is waiting. */
  close(): Promise<void>
}

export interface RecorderParts {
  store: Store
  log: Log
  /** By the clock of the database, where several processes write into it. */
  now: () => number
  outbox?: Outbox | undefined
  /** An answer without a record is a failure; else it is counted. */
  isStrict?: boolean
  /** What is collected at all. */
  keeps?: 'all' | 'no people' | 'nothing'
  isErased?: (person: string) => boolean
  onDropped?: (count: number) => void
}

interface Waiting {
  call: Recorded
  resolve: () => void
  reject: (error: AppError) => void
}

/** What comes while a commit runs shares the next one: under load many records pay for one flush of the disk, alone none waits. */
export function openRecorder({ isStrict = true, keeps = 'all', ...on }: RecorderParts): Recorder {
  const { store, outbox, log, now } = on
  const keeper = createKeeper({ ...on, outbox })
  const waiting: Waiting[] = []
  let writing: Promise<void> | undefined
  /** What failed first is tried again until it works: then everything does. */
  let retrying: { calls: Recorded[]; timer: NodeJS.Timeout } | undefined
  let dropped = 0

  async function write(batch: readonly Waiting[]): Promise<void> {
    const calls = batch.map(({ call }) => call)
    try {
      // A retry may send a record twice; its id makes that one row.
      await keeper.keep(calls)
      for (const { resolve } of batch) resolve()
    } catch (cause) {
      // One that the database refuses for what it says must not take the others with it.
      if (toAppError(cause).code === 'invalid' && batch.length > 1)
        for (const alone of batch) await write([alone])
      else refuse(batch, cause)
    }
  }

  function refuse(batch: readonly Waiting[], cause: unknown): void {
    const isLasting = toAppError(cause).code !== 'invalid'
    if (isLasting && retrying === undefined) {
      log.error({ error: cause }, 'records can be written neither to the database nor to the outbox')
      retryLater(batch.map(({ call }) => call))
    } else if (!isStrict) {
      dropped += batch.length
      on.onDropped?.(batch.length)
    }
    const error = unrecorded(cause)
    for (const { resolve, reject } of batch)
      if (isStrict) reject(error)
      else resolve()
  }

  function retryLater(calls: Recorded[]): void {
    const timer = setTimeout(() => {
      keeper.keep(calls).then(
        () => {
          retrying = undefined
          log.info('records are written again')
        },
        (thrown: unknown) => {
          if (retrying === undefined) return
          retrying = undefined
          if (toAppError(thrown).code !== 'invalid') retryLater(calls)
        },
      )
    }, RETRY_MS)
    timer.unref()
    retrying = { calls, timer }
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
    add(given, details = {}) {
      if (keeps === 'nothing') return Promise.resolve()
      const record = keeps === 'all' ? given : { ...given, person: null, groups: null, chat: null }
      return new Promise((resolve, reject) => {
        waiting.push({ call: { record, ...details }, resolve, reject })
        writing ??= writeAll()
      })
    },
    admit() {
      if (isStrict && retrying !== undefined) throw unrecorded(undefined)
    },
    async addRating({ source, ...rating }) {
      const row = { ...rating, source: source ?? null, recordedAtMs: now() }
      const { id: _, message: __, ...set } = row
      await store.db
        .insert(store.t.ratings)
        .values(row)
        .onConflictDoUpdate({ target: store.t.ratings.id, set })
    },
    async deleteRating(id) {
      await store.db
        .update(store.t.ratings)
        .set({ value: 0, recordedAtMs: now() })
        .where(eq(store.t.ratings.id, id))
    },
    state() {
      const { pending = 0, usedShare = 0, quarantined = 0 } = outbox?.state() ?? {}
      return {
        isSpilling: keeper.isSpilling,
        pending,
        isNearlyFull: usedShare >= NEARLY_FULL,
        isFailing: retrying !== undefined,
        dropped,
        quarantined,
      }
    },
    async close() {
      await writing
      clearTimeout(retrying?.timer)
      retrying = undefined
      await keeper.close()
    },
  }
}

const unrecorded = (cause: unknown) =>
  new AppError(
    'unavailable',
    'The answer could not be recorded, neither in the database nor beside the sidecar; its administrator finds the reason at /readyz',
    { cause, facts: { retryAfterSeconds: 5 } },
  )
