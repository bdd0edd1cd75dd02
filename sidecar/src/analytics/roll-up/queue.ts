/** What is still to be made, and how far it is. */
import { and, asc, eq, inArray } from 'drizzle-orm'

import { rowsOf, type Change, type Db, type Store, type Write } from '#store/store.ts'

import type { Grain } from '../calendar.ts'

/** `people` are the numbers of people of a day and of the periods that end with it; `week` is one of retention. */
export type Queued = Grain | 'people' | 'week'

/** PostgreSQL and SQLite take a bounded number of values in a statement. */
const VALUES_AT_ONCE = 400

export function inPieces<T>(values: readonly T[]): T[][] {
  const pieces: T[][] = []
  for (let at = 0; at < values.length; at += VALUES_AT_ONCE)
    pieces.push(values.slice(at, at + VALUES_AT_ONCE))
  return pieces
}

/** Ascending; at most `limit`. */
export async function queued(
  { db, t: { rollUpQueue: queue } }: Store,
  grain: Queued,
  limit: number,
): Promise<number[]> {
  const rows = await db
    .select({ atMs: queue.atMs })
    .from(queue)
    .where(eq(queue.grain, grain))
    .orderBy(asc(queue.atMs))
    .limit(limit)
  return rows.map(({ atMs }) => atMs)
}

export const enqueue = ({ t }: Store, grain: Queued, moments: Iterable<number>): Change =>
  rowsOf(
    t.rollUpQueue,
    Array.from(moments, (atMs) => ({ grain, atMs })),
  )

export const dequeue = (
  { t: { rollUpQueue: queue } }: Store,
  to: Db,
  grain: Queued,
  moments: readonly number[],
): Write[] =>
  inPieces(moments).map((some) =>
    to.delete(queue).where(and(eq(queue.grain, grain), inArray(queue.atMs, some))),
  )

export async function markOf({ db, t: { rollUpMarks: marks } }: Store, name: string): Promise<number> {
  const [row] = await db.select().from(marks).where(eq(marks.name, name))
  return row?.atMs ?? 0
}

export const setMark = ({ t: { rollUpMarks: marks } }: Store, to: Db, name: string, atMs: number): Write =>
  to.insert(marks).values({ name, atMs }).onConflictDoUpdate({ target: marks.name, set: { atMs } })
