/**
 * The clock of a PostgreSQL, as a process tells it without asking each time: between two looks by its own steady clock, which
 * nobody puts forward or back.
 */
import type { ClientBase } from 'pg'

type Queryable = Pick<ClientBase, 'query'>

export interface DatabaseClock {
  /** Before the first look the time of this machine. */
  nowMs(): number
  /** Rejects as the query does. */
  look(at: Queryable): Promise<void>
}

const ASK = 'select extract(epoch from clock_timestamp()) * 1000 as ms'

export function createDatabaseClock(now: () => number): DatabaseClock {
  let seen: { databaseMs: number; steadyMs: number } | undefined
  return {
    nowMs() {
      return seen === undefined ? now() : Math.round(seen.databaseMs + performance.now() - seen.steadyMs)
    },
    async look(at) {
      const askedMs = performance.now()
      const { rows } = await at.query<{ ms: string }>(ASK)
      // Answered somewhere between question and answer.
      const steadyMs = (askedMs + performance.now()) / 2
      const [row] = rows
      if (row !== undefined) seen = { databaseMs: Number(row.ms), steadyMs }
    },
  }
}
