/** How many different people there were: of a day and of the periods that end with it, and of a week by when they came first. */
import { and, asc, between, eq, gte, inArray, sql } from 'drizzle-orm'

import { rowsOf, type Store } from '#store/store.ts'

import { DAY_MS } from '../calendar.ts'
import { eachMember } from '../person-set.ts'
import { dequeue, enqueue, markOf, queued, setMark } from './queue.ts'
import type { RollUpRun } from './roll-up.ts'

const WEEK_DAYS = 7
export const MONTH_DAYS = 30

const SETS_AT_ONCE = 1_000

/** Of one character and one group. */
export interface PersonSets {
  characterId: string
  groupName: string
  days: { dayMs: number; members: Uint8Array }[]
}

/** The sets from one day to another, days in their order. */
async function* readSets(
  { db, t: { personSets: sets } }: Store,
  fromMs: number,
  toMs: number,
): AsyncGenerator<PersonSets> {
  const { characterId, groupName, dayMs } = sets
  let last: PersonSets | undefined
  let after = sql`true`
  for (;;) {
    const rows = await db
      .select()
      .from(sets)
      // The plus makes SQLite read in the order that is wanted instead of sorting what it found by the day.
      .where(and(between(sql`+${dayMs}`, fromMs, toMs), after))
      .orderBy(asc(characterId), asc(groupName), asc(dayMs))
      .limit(SETS_AT_ONCE)
    for (const row of rows) {
      if (last?.characterId !== row.characterId || last.groupName !== row.groupName) {
        if (last !== undefined) yield last
        last = { characterId: row.characterId, groupName: row.groupName, days: [] }
      }
      last.days.push(row)
    }
    const end = rows.at(-1)
    if (end === undefined || rows.length < SETS_AT_ONCE) break
    after = sql`(${characterId}, ${groupName}, ${dayMs}) > (${end.characterId}, ${end.groupName}, ${end.dayMs})`
  }
  if (last !== undefined) yield last
}

/** By their number. Whoever was erased is missing. */
async function firstDays({ db, t: { people } }: Store, sinceMs: number): Promise<Map<number, number>> {
  const rows = await db
    .select({ number: people.number, firstDayMs: people.firstDayMs })
    .from(people)
    .where(gte(people.lastDayMs, sinceMs))
  return new Map(rows.map(({ number, firstDayMs }) => [number, firstDayMs]))
}

/** A day on which nobody asks has the people of the days before it, and no record that would bring it up. */
export async function enqueueNewDays(run: RollUpRun): Promise<void> {
  const { store, calendar, now } = run
  const today = calendar.startOf('day', now())
  const countedMs = await markOf(store, 'day')
  if (countedMs >= today) return
  const { personSets: sets } = store.t
  const [first] = await store.db.select({ dayMs: sql<string | number | null>`min(${sets.dayMs})` }).from(sets)
  const days: number[] = []
  // PostgreSQL tells large numbers as text.
  const sinceMs = first?.dayMs == null ? today : Math.max(countedMs, Number(first.dayMs))
  for (let day = sinceMs; day <= today; day = calendar.next('day', day)) days.push(day)
  await run.commit((to) => [enqueue(store, 'people', days), setMark(store, to, 'day', today)])
}

export async function buildPeople(run: RollUpRun): Promise<void> {
  const { store, now, keptSinceMs } = run
  for (;;) {
    const next = await queued(store, 'people', MONTH_DAYS)
    const [first] = next
    if (first === undefined) return
    const days = next.filter((dayMs) => dayMs < first + MONTH_DAYS * DAY_MS)
    const isKnown = (dayMs: number) =>
      // Pseudonyms of its month are gone already: the numbers made in their time stay.
      dayMs > now() - 2 * DAY_MS || dayMs - (MONTH_DAYS - 1) * DAY_MS >= keptSinceMs
    const rows = await countDays(run, days.filter(isKnown))
    const { peopleRollUps: table } = store.t
    await run.commit((to) => [
      to.delete(table).where(inArray(table.dayMs, days.filter(isKnown))),
      rowsOf(table, rows),
      ...dequeue(store, to, 'people', days),
    ])
  }
}

type PeopleRow = Store['t']['peopleRollUps']['$inferInsert']

async function countDays({ store, calendar }: RollUpRun, days: readonly number[]): Promise<PeopleRow[]> {
  const [firstMs, lastMs] = [days[0], days.at(-1)]
  if (firstMs === undefined || lastMs === undefined) return []
  const startMs = calendar.startOf('day', firstMs - (MONTH_DAYS - 1.5) * DAY_MS)
  const firstDayOf = await firstDays(store, startMs)
  // A day of 23 or 25 hours is one as well.
  const indexOf = (dayMs: number) => Math.round((dayMs - startMs) / DAY_MS)
  const rows: PeopleRow[] = []
  for await (const { characterId, groupName, days: sets } of readSets(store, startMs, lastMs)) {
    const counts = countWindows(sets, indexOf, firstDayOf)
    for (const dayMs of days) {
      const numbers = counts(indexOf(dayMs))
      if (numbers.month > 0) rows.push({ dayMs, characterId, groupName, ...numbers })
    }
  }
  return rows
}

type Numbers = Pick<PeopleRow, 'day' | 'week' | 'month' | 'fresh'>

/**
 * Whoever came on a day is one of the people of that day and of the 6 or 29 days after it, or until they come again: so each
 * coming adds one where it begins to count and takes one where it ends, and the sum up to a day is the number of different
 * people in the days that end with it.
 */
function countWindows(
  sets: PersonSets['days'],
  indexOf: (dayMs: number) => number,
  firstDayOf: ReadonlyMap<number, number>,
): (index: number) => Numbers {
  const [week, month] = [createWindow(WEEK_DAYS), createWindow(MONTH_DAYS)]
  const [day, fresh, last] = [new Map<number, number>(), new Map<number, number>(), new Map<number, number>()]
  const addOne = (to: Map<number, number>, index: number) => to.set(index, (to.get(index) ?? 0) + 1)
  for (const { dayMs, members } of sets) {
    const index = indexOf(dayMs)
    eachMember(members, (member) => {
      const firstDayMs = firstDayOf.get(member)
      if (firstDayMs === undefined) return
      const before = last.get(member)
      last.set(member, index)
      week.come(index, before)
      month.come(index, before)
      addOne(day, index)
      if (firstDayMs === dayMs) addOne(fresh, index)
    })
  }
  return (index) => ({
    day: day.get(index) ?? 0,
    week: week.at(index),
    month: month.at(index),
    fresh: fresh.get(index) ?? 0,
  })
}

/** Of so many days. */
function createWindow(days: number) {
  const steps: number[] = []
  const step = (index: number, by: number) => {
    steps[index] = (steps[index] ?? 0) + by
  }
  return {
    come(index: number, before: number | undefined): void {
      if (before === undefined || index - before >= days) step(index, 1)
      else step(before + days, 1)
      step(index + days, -1)
    },
    at: (index: number): number => {
      let people = 0
      for (let at = 0; at <= index; at++) people += steps[at] ?? 0
      return people
    },
  }
}

/** Who talked in a week, by the week in which they were first seen. */
export async function buildWeeks(run: RollUpRun): Promise<void> {
  const { store, keptSinceMs } = run
  const { cohortRollUps: table } = store.t
  for (;;) {
    const [weekMs] = await queued(store, 'week', 1)
    if (weekMs === undefined) return
    const isKnown = weekMs >= keptSinceMs
    const rows = isKnown ? await countWeek(run, weekMs) : []
    await run.commit((to) => [
      ...(isKnown ? [to.delete(table).where(eq(table.weekMs, weekMs))] : []),
      rowsOf(table, rows),
      ...dequeue(store, to, 'week', [weekMs]),
    ])
  }
}

type CohortRow = Store['t']['cohortRollUps']['$inferInsert']

async function countWeek({ store, calendar }: RollUpRun, weekMs: number): Promise<CohortRow[]> {
  const firstDayOf = await firstDays(store, weekMs)
  const cohorts = new Map([...firstDayOf].map(([number, dayMs]) => [number, calendar.startOf('week', dayMs)]))
  const rows: CohortRow[] = []
  for await (const { characterId, groupName, days } of readSets(
    store,
    weekMs,
    calendar.next('week', weekMs) - 1,
  )) {
    const members = new Set<number>()
    for (const day of days) eachMember(day.members, (member) => members.add(member))
    const people = new Map<number, number>()
    for (const member of members) {
      const cohortMs = cohorts.get(member)
      if (cohortMs !== undefined) people.set(cohortMs, (people.get(cohortMs) ?? 0) + 1)
    }
    for (const [cohortMs, number] of people)
      rows.push({ weekMs, cohortMs, characterId, groupName, people: number })
  }
  return rows
}
