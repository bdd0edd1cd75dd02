/**
 * Makes hours out of records, days out of hours and months out of days, so that figures over years read few rows. Whatever is
 * made is made anew as a whole and put in place in one transaction: a kill, a second run or a late row change nothing but what
 * is true. `roll_up_queue` holds what is still to be made. Between two transactions whoever shares the thread or the database
 * gets a turn.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { and, eq, lt } from 'drizzle-orm'

import type { Change, Db, Store } from '#store/store.ts'

import { DAY_MS, type Calendar } from '../calendar.ts'
import { buildDays } from './days.ts'
import { forgetOlder } from './forget.ts'
import { buildMonths } from './months.ts'
import { createNumbering, type Numbering } from './numbering.ts'
import { buildPeople, buildWeeks, enqueueNewDays } from './people.ts'
import { findTouched } from './touched.ts'
import { setMark } from './queue.ts'

/** Of the right to roll up, where several processes share a database. */
const LEASE_MS = 60_000

export interface Retention {
  /** Records and everything with a pseudonym. */
  recordDays: number
  /** Roll-ups. */
  months: number
}

export interface RollUpParts {
  store: Store
  calendar: Calendar
  now: () => number
  retention: Retention
}

export interface RollUp {
  /** Brings everything up to date. False when another process is at it. */
  run(): Promise<boolean>
  /** Takes away what is older than its time; a bounded number of rows, so that it has to be asked again while it says true. */
  forget(): Promise<boolean>
}

/** What the steps of one run share. */
export interface RollUpRun extends RollUpParts {
  /** Before it, not all records are there any more. */
  keptSinceMs: number
  numbering: Numbering
  /** One transaction, and then a turn for others. */
  commit(changes: (to: Db) => Change[]): Promise<void>
}

export function createRollUp(on: RollUpParts): RollUp {
  const { store, now } = on
  const { db, t } = store
  const keptSinceMs = () => on.calendar.startOf('day', now() - on.retention.recordDays * DAY_MS)

  async function takeLease(): Promise<boolean> {
    const row = { name: 'lease', atMs: 0 }
    await db.insert(t.rollUpMarks).values(row).onConflictDoNothing()
    const taken = await db
      .update(t.rollUpMarks)
      .set({ atMs: now() + LEASE_MS })
      .where(and(eq(t.rollUpMarks.name, 'lease'), lt(t.rollUpMarks.atMs, now())))
      .returning({ name: t.rollUpMarks.name })
    return taken.length > 0
  }

  async function commit(changes: (to: Db) => Change[]): Promise<void> {
    await store.atomically((to) => [...changes(to), setMark(store, to, 'lease', now() + LEASE_MS)])
    await nextTurn()
  }

  return {
    async run() {
      if (!(await takeLease())) return false
      const untilMs = now()
      const run = { ...on, keptSinceMs: keptSinceMs(), numbering: createNumbering(store), commit }
      await findTouched(run, untilMs)
      await buildDays(run)
      await enqueueNewDays(run)
      await buildPeople(run)
      await buildWeeks(run)
      await buildMonths(run)
      await store.atomically((to) => [setMark(store, to, 'data', untilMs), setMark(store, to, 'lease', 0)])
      return true
    },
    forget: () => forgetOlder(on, keptSinceMs()),
  }
}
