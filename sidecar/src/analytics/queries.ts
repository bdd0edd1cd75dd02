/** Reading what was recorded. */
import { and, asc, desc, eq, inArray, isNotNull } from 'drizzle-orm'

import type { Store } from '#store/store.ts'

import type { CallRecord, PassageHit } from './record.ts'

export type RatedRecord = CallRecord & {
  recordedAtMs: number | null
  rating: number | null
  /** Passages that were found, the best first. */
  passageHits: PassageHit[]
}

/** The record of one call with the newest rating of its answer and the passages found for it; undefined when there is none. */
export async function findRecord(store: Store, id: string): Promise<RatedRecord | undefined> {
  const { callRecords, passageHits, ratings } = store.t
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
  const value = rated[0]?.value ?? null
  const { document, chunk, score, isUsed } = passageHits
  const found = await store.db
    .select({ document, chunk, score, isUsed })
    .from(passageHits)
    .where(eq(passageHits.recordId, id))
    .orderBy(asc(passageHits.position))
  return {
    ...(row as CallRecord & { recordedAtMs: number | null }),
    // 0 is a rating that was taken back.
    rating: value === 0 ? null : value,
    passageHits: found,
  }
}

/** So many turns are looked at. */
const RECENT_TURNS = 200

/** Characters that were talked to last, the last one first. */
export async function recentCharacters(store: Store, most: number): Promise<string[]> {
  const { callRecords: calls } = store.t
  const rows = await store.db
    .select({ characterId: calls.characterId })
    .from(calls)
    .where(and(eq(calls.kind, 'turn'), isNotNull(calls.characterId)))
    .orderBy(desc(calls.startedAtMs))
    .limit(RECENT_TURNS)
  return [...new Set(rows.flatMap(({ characterId }) => characterId ?? []))].slice(0, most)
}

/** Which of these pseudonyms of one answer stands in a record. */
export async function findMessage(store: Store, names: readonly string[]): Promise<string | undefined> {
  const { callRecords } = store.t
  const [row] = await store.db
    .select({ message: callRecords.message })
    .from(callRecords)
    .where(inArray(callRecords.message, [...names]))
    .limit(1)
  return row?.message ?? undefined
}
