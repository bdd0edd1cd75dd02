/** The hours in which something was recorded or rated since the last time. */
import { and, eq, gt, gte, inArray, isNotNull, lte, min, sql, type SQL } from 'drizzle-orm'

import { DAY_MS } from '../calendar.ts'
import { enqueue, markOf, setMark } from './queue.ts'
import type { RollUpRun } from './roll-up.ts'

/** A row may become visible so much later than the moment that it bears, which is by the clock of the database. */
const OVERLAP_MS = 120_000

/** What was recorded before the first run is looked through in pieces: a statement over years would run into its time limit. */
const STEP_MS = 7 * DAY_MS

export async function findTouched(run: RollUpRun, untilMs: number): Promise<void> {
  const { store } = run
  const { callRecords, ratings } = store.t
  const seenMs = await markOf(store, 'seen')
  const oldest = await Promise.all(
    [callRecords, ratings].map(async (table) => {
      const [row] = await store.db.select({ atMs: min(table.recordedAtMs) }).from(table)
      return row?.atMs ?? untilMs
    }),
  )
  // From before the oldest row there is nothing to look for.
  let sinceMs = Math.max(seenMs - OVERLAP_MS, Math.min(...oldest) - 1)
  for (;;) {
    const endMs = Math.min(sinceMs + STEP_MS, untilMs)
    const isLast = endMs === untilMs
    // The last piece has no end: a clock that is ahead must not hide a row.
    const hours = await hoursOf(run, { sinceMs, endMs: isLast ? undefined : endMs, isFirst: seenMs === 0 })
    await run.commit((to) => [enqueue(store, 'hour', hours), setMark(store, to, 'seen', endMs)])
    if (isLast) return
    sinceMs = endMs
  }
}

async function hoursOf(
  { store, calendar, keptSinceMs }: RollUpRun,
  { sinceMs, endMs, isFirst }: { sinceMs: number; endMs: number | undefined; isFirst: boolean },
): Promise<Set<number>> {
  const { db, t } = store
  const { startedAtMs, recordedAtMs, message, userMessage } = t.callRecords
  // Written out: PostgreSQL takes two parameters for two different expressions.
  const phase = sql.raw(String(calendar.hourPhaseMs))
  const hour = sql<number>`${startedAtMs} - ((${startedAtMs} - ${phase}) % 3600000)`.mapWith(Number)
  const within = (
    column: typeof t.callRecords.recordedAtMs | typeof t.ratings.recordedAtMs,
  ): SQL | undefined => and(gt(column, sinceMs), endMs === undefined ? undefined : lte(column, endMs))
  // The plus keeps SQLite, which knows nothing of the values, from reading by this column all that is kept.
  const isKept = gte(sql`+${startedAtMs}`, keptSinceMs)
  const recorded = await db
    .select({ hour })
    .from(t.callRecords)
    .where(and(within(recordedAtMs), isKept))
    .groupBy(hour)
  const rated = await db
    .select({ hour })
    .from(t.ratings)
    .innerJoin(t.callRecords, eq(message, t.ratings.message))
    .where(and(within(t.ratings.recordedAtMs), isKept))
    .groupBy(hour)
  // A late answer makes those after it, which were counted already, another answer to the same message.
  const sameMessage = db
    .select({ userMessage })
    .from(t.callRecords)
    .where(and(within(recordedAtMs), isNotNull(userMessage)))
  const again = isFirst
    ? []
    : await db
        .select({ hour })
        .from(t.callRecords)
        .where(and(inArray(userMessage, sameMessage), isKept))
        .groupBy(hour)
  return new Set([...recorded, ...rated, ...again].map((row) => row.hour))
}
