/** Takes away what is older than its time, and what nobody stands behind any more. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { and, eq, inArray, isNull, lt, sql, type SQL } from 'drizzle-orm'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'

import type { Store } from '#store/store.ts'

import { DAY_MS } from '../calendar.ts'
import { eachMember, packSet } from '../person-set.ts'
import { ITEM_KINDS } from './items.ts'
import { inPieces } from './queue.ts'
import type { RollUpParts } from './roll-up.ts'

const MONTH_MS = (365.25 / 12) * DAY_MS

/** True when there is more. */
export async function forgetOlder(
  { store, calendar, now, retention }: RollUpParts,
  keptSinceMs: number,
): Promise<boolean> {
  // A calendar cannot tell years before Christ from those after.
  const rollUpsUntil = calendar.startOf('month', Math.max(0, now() - retention.months * MONTH_MS))
  const { callRecords, loreHits, passageHits, ratings, personSets, people, rollUps, itemRollUps } = store.t
  const { peopleRollUps, cohortRollUps } = store.t
  const longer = ['day', 'month']
  const old: [SQLiteTable, SQL | undefined][] = [
    [callRecords, lt(callRecords.startedAtMs, keptSinceMs)],
    [loreHits, lt(loreHits.startedAtMs, keptSinceMs)],
    [passageHits, lt(passageHits.startedAtMs, keptSinceMs)],
    [ratings, lt(ratings.recordedAtMs, keptSinceMs)],
    // Of the first release.
    [ratings, and(isNull(ratings.recordedAtMs), lt(ratings.atMs, keptSinceMs))],
    [personSets, lt(personSets.dayMs, keptSinceMs)],
    [people, lt(people.lastDayMs, keptSinceMs)],
    // A day is made of hours, so they stay a day longer than the records.
    [rollUps, and(eq(rollUps.grain, 'hour'), lt(rollUps.atMs, keptSinceMs - DAY_MS))],
    [rollUps, and(inArray(rollUps.grain, longer), lt(rollUps.atMs, rollUpsUntil))],
    [
      itemRollUps,
      and(
        inArray(itemRollUps.grain, longer),
        inArray(itemRollUps.kind, ITEM_KINDS),
        lt(itemRollUps.atMs, rollUpsUntil),
      ),
    ],
    [peopleRollUps, lt(peopleRollUps.dayMs, rollUpsUntil)],
    [cohortRollUps, lt(cohortRollUps.weekMs, rollUpsUntil)],
  ]
  let isMore = false
  for (const [table, condition] of old) {
    if (await forgetSome(store, table, condition)) isMore = true
    await nextTurn()
  }
  if (!isMore) await dropErased(store)
  return isMore
}

const FORGET_AT_ONCE = 1_000

/**
 * In pieces, so that nobody who adds rows waits long. Each condition is the beginning of an index: on SQLite also the search
 * keeps others from writing. True when there is more.
 */
async function forgetSome({ db, engine }: Store, table: SQLiteTable, old: SQL | undefined): Promise<boolean> {
  const address = sql.raw(engine === 'sqlite' ? 'rowid' : 'ctid')
  const some = sql`${address} in (select ${address} from ${table} where ${old} limit ${sql.raw(String(FORGET_AT_ONCE))})`
  const gone = await db
    .delete(table)
    .where(some)
    .returning({ one: sql<number>`1` })
  return gone.length === FORGET_AT_ONCE
}

/** The numbers of those who were erased say nothing of them any more; not even that the same one came on two days. */
async function dropErased(store: Store): Promise<void> {
  const { db, t } = store
  const { personSets: sets } = t
  const known = new Set<number>()
  const erased = new Set<number>()
  for (const { dayMs } of await db.select({ dayMs: sets.dayMs }).from(sets).groupBy(sets.dayMs)) {
    for (const row of await db.select().from(sets).where(eq(sets.dayMs, dayMs))) {
      const before: number[] = []
      eachMember(row.members, (member) => before.push(member))
      await lookUp(store, before, known, erased)
      const members = before.filter((member) => !erased.has(member))
      if (members.length === before.length) continue
      const same = and(
        eq(sets.dayMs, dayMs),
        eq(sets.characterId, row.characterId),
        eq(sets.groupName, row.groupName),
        // Another process may have added somebody; then the next time.
        eq(sets.members, row.members),
      )
      await db
        .update(sets)
        .set({ members: packSet(members) })
        .where(same)
    }
    await nextTurn()
  }
}

/** Whoever is in a set had a number before, so whoever has none was erased. */
async function lookUp(
  { db, t: { people } }: Store,
  members: readonly number[],
  known: Set<number>,
  erased: Set<number>,
): Promise<void> {
  const unknown = members.filter((member) => !known.has(member) && !erased.has(member))
  for (const some of inPieces(unknown)) {
    const rows = await db.select({ number: people.number }).from(people).where(inArray(people.number, some))
    for (const { number } of rows) known.add(number)
    for (const member of some) if (!known.has(member)) erased.add(member)
  }
}
