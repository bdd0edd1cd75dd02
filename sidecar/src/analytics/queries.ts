/** Reading what was recorded. */
import { desc, eq } from 'drizzle-orm'

import type { Store } from '#store/store.ts'

import type { CallRecord } from './record.ts'

export type RatedRecord = CallRecord & { rating: number | null }

/** The record of one call with the newest rating of its answer; undefined when there is none. */
export async function findRecord(store: Store, id: string): Promise<RatedRecord | undefined> {
  const { callRecords, ratings } = store.t
  const [row] = await store.db.select().from(callRecords).where(eq(callRecords.id, id)).limit(1)
  if (row === undefined) return undefined
  const rated =
    row.message === null
      ? []
      : await store.db
          .select()
          .from(ratings)
          .where(eq(ratings.message, row.message))
          .orderBy(desc(ratings.atMs))
          .limit(1)
  return { ...(row as CallRecord), rating: rated[0]?.value ?? null }
}
