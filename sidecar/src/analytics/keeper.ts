/**
 * Where records go: into the database, or, while that does not take them at once, into the outbox beside the process, from
 * where they follow oldest first.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { KeptEvent, Outbox } from '#store/outbox.ts'
import { rowsOf, type Rows, type Store } from '#store/store.ts'

import type { Recorded } from './record.ts'

/** Whoever waits for the end of an answer waits so long for PostgreSQL. */
const BUDGET_MS = 250
/** Of the records that nobody waits for any more. */
const DRAIN_BUDGET_MS = 10_000
const DRAIN_AT_ONCE = 500
const DRAIN_PAUSE_MS = 500
const CLOSE_MS = 1_000

const KIND = 'call'

export interface KeeperParts {
  store: Store
  /** Absent for a database that is a file beside us anyway. */
  outbox: Outbox | undefined
  log: Log
  now: () => number
  /** True for a person whose records must not come back. */
  isErased?: (person: string) => boolean
}

export interface Keeper {
  /** Resolves once all of them are committed, here or there. Throws AppError `unavailable`. */
  keep(calls: readonly Recorded[]): Promise<void>
  /** Records take the way over the outbox. */
  readonly isSpilling: boolean
  close(): Promise<void>
}

export function createKeeper(on: KeeperParts): Keeper {
  const { store, outbox, log } = on
  const closing = new AbortController()
  let isSpilling = false
  let draining: Promise<void> | undefined

  async function keep(calls: readonly Recorded[]): Promise<void> {
    if (outbox === undefined) return insert(calls)
    if (!isSpilling && (await insertAtOnce(calls))) return
    try {
      await outbox.append(
        calls.map((call) => ({ id: call.record.id, kind: KIND, body: JSON.stringify(call) })),
      )
    } finally {
      // The draining may have ended meanwhile: who comes next must not get in before these.
      isSpilling = true
      startDraining(outbox)
    }
  }

  /** False when the database does not take them in time. */
  async function insertAtOnce(calls: readonly Recorded[]): Promise<boolean> {
    try {
      await within(BUDGET_MS, insert(calls, BUDGET_MS))
      return true
    } catch (thrown) {
      const error = toAppError(thrown)
      if (error.code === 'invalid') throw error
      log.warn({ error }, 'the database of the records is slow or away; they go to the outbox')
      isSpilling = true
      return false
    }
  }

  function insert(calls: readonly Recorded[], withinMs?: number): Promise<void> {
    const wanted = calls.filter(({ record: { person } }) => person === null || on.isErased?.(person) !== true)
    return store.append(toRows(store, wanted, on.now()), withinMs)
  }

  function startDraining(from: Outbox): void {
    draining ??= drain(from).finally(() => {
      draining = undefined
    })
  }

  async function drain(from: Outbox): Promise<void> {
    let count = 0
    while (!closing.signal.aborted) {
      try {
        const events = await from.oldest(DRAIN_AT_ONCE)
        const last = events.at(-1)
        if (last === undefined) {
          isSpilling = false
          if (count > 0) log.info({ count }, 'the outbox is empty again')
          return
        }
        await insertEvents(from, events)
        await from.remove(last.seq)
        count += events.length
      } catch {
        // Told when it began; the database, or the disk, is still away.
        await sleep(DRAIN_PAUSE_MS, undefined, { signal: closing.signal, ref: false }).catch(() => undefined)
      }
    }
  }

  /** One event that the database will never take must not keep the others. */
  async function insertEvents(from: Outbox, events: readonly KeptEvent[]): Promise<void> {
    try {
      await insert(
        events.map(({ body }) => JSON.parse(body) as Recorded),
        DRAIN_BUDGET_MS,
      )
    } catch (thrown) {
      const [only] = events
      if (toAppError(thrown).code !== 'invalid' || only === undefined) throw thrown
      if (events.length > 1) {
        for (const event of events) await insertEvents(from, [event])
        return
      }
      log.error({ id: only.id, error: thrown }, 'a record is refused by the database and was set aside')
      await from.setAside(only.seq)
    }
  }

  if (outbox !== undefined && outbox.state().pending > 0) {
    isSpilling = true
    startDraining(outbox)
  }
  return {
    keep,
    get isSpilling() {
      return isSpilling
    },
    async close() {
      closing.abort()
      // A database that hangs must not keep us: what it did not confirm stays in the outbox.
      await Promise.race([draining, sleep(CLOSE_MS, undefined, { ref: false })])
    },
  }
}

/** The work goes on when the time is over; a row that comes twice is left out. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const over = new AbortController()
  const late = sleep(ms, undefined, { signal: over.signal }).then(() => {
    throw new AppError('unavailable', 'The database of the records did not answer in time')
  })
  // Whichever loses is nobody's concern any more.
  work.catch(() => undefined)
  late.catch(() => undefined)
  try {
    await Promise.race([work, late])
  } finally {
    over.abort()
  }
}

function toRows({ t }: Store, calls: readonly Recorded[], recordedAtMs: number): Rows[] {
  const side = calls.flatMap(({ record: { id, startedAtMs, characterId }, lore = [], passages = [] }) => {
    const of = { recordId: id, startedAtMs, characterId: characterId ?? '' }
    return [{ of, lore, passages }]
  })
  return [
    rowsOf(
      t.callRecords,
      calls.map(({ record }) => ({ recordedAtMs, ...record })),
    ),
    rowsOf(
      t.loreHits,
      side.flatMap(({ of, lore }) => lore.map((hit, position) => ({ position, ...of, ...hit }))),
    ),
    rowsOf(
      t.passageHits,
      side.flatMap(({ of, passages }) => passages.map((hit, position) => ({ position, ...of, ...hit }))),
    ),
  ]
}
