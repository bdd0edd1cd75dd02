/**
 * Makes hours out of records, days out of hours and months out of days, so that figures over years read few rows. Whatever is
 * made is made anew as a whole and put in place in one transaction: a kill, a second run or a late row change nothing but what
 * is true. `roll_up_queue` holds what is still to be made.
 */
import { and, asc, between, eq, gt, gte, isNotNull, lt, ne, or, sql, type SQL } from 'drizzle-orm'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'

import type { Cell } from '#store/cell.ts'
import type { Db, Store, Write } from '#store/store.ts'

import { DAY_MS, HOUR_MS, type Calendar, type Grain } from './calendar.ts'
import { count, emptyCell, mergeCell, type CountedCall } from './cell.ts'
import type { CallRecord } from './record.ts'

/** Stands for all groups, and for all characters. */
export const ALL = '*'

/** A row may become visible so much later than the moment that it bears. */
const OVERLAP_MS = 120_000
/** Of the right to roll up, where several processes share a database. */
const LEASE_MS = 60_000
/** An hour of a very busy house is read in pieces. */
const SLICE_MS = HOUR_MS / 6
const ROWS_AT_ONCE = 400
const WEEK_DAYS = 7
const MONTH_DAYS = 30

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

export type Dimensions = Pick<
  Store['t']['rollUps']['$inferSelect'],
  'groupName' | 'kind' | 'characterId' | 'characterVersion' | 'baseModel' | 'surface'
>
type RolledUp = Dimensions & { cell: Cell }
type Queued = Grain | 'people' | 'week'

export function createRollUp({ store, calendar, now, retention }: RollUpParts): RollUp {
  const { db, t } = store

  const keptSinceMs = () => calendar.startOf('day', now() - retention.recordDays * DAY_MS)

  async function mark(name: string): Promise<number> {
    const [row] = await db.select().from(t.rollUpMarks).where(eq(t.rollUpMarks.name, name))
    return row?.atMs ?? 0
  }

  const setMark = (to: Db, name: string, atMs: number): Write =>
    to
      .insert(t.rollUpMarks)
      .values({ name, atMs })
      .onConflictDoUpdate({ target: t.rollUpMarks.name, set: { atMs } })

  const enqueue = (to: Db, grain: Queued, moments: Iterable<number>): Write[] =>
    inPieces([...moments].map((atMs) => ({ grain, atMs }))).map((rows) =>
      to.insert(t.rollUpQueue).values(rows).onConflictDoNothing(),
    )

  const dequeue = (to: Db, grain: Queued, atMs: number): Write =>
    to.delete(t.rollUpQueue).where(and(eq(t.rollUpQueue.grain, grain), eq(t.rollUpQueue.atMs, atMs)))

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

  /** The hours in which something was recorded or rated since the last time. */
  async function findTouched(untilMs: number): Promise<void> {
    const sinceMs = (await mark('seen')) - OVERLAP_MS
    const { startedAtMs, recordedAtMs, message } = t.callRecords
    // Written out: PostgreSQL takes two parameters for two different expressions.
    const phase = sql.raw(String(calendar.hourPhaseMs))
    const hour = sql<number>`${startedAtMs} - ((${startedAtMs} - ${phase}) % 3600000)`.mapWith(Number)
    const recorded = await db
      .select({ hour })
      .from(t.callRecords)
      .where(and(gt(recordedAtMs, sinceMs), gte(startedAtMs, keptSinceMs())))
      .groupBy(hour)
    const rated = await db
      .select({ hour })
      .from(t.ratings)
      .innerJoin(t.callRecords, eq(message, t.ratings.message))
      .where(and(gt(t.ratings.recordedAtMs, sinceMs), gte(startedAtMs, keptSinceMs())))
      .groupBy(hour)
    const hours = new Set([...recorded, ...rated].map((row) => row.hour))
    await store.atomically((to) => [...enqueue(to, 'hour', hours), setMark(to, 'seen', untilMs)])
  }

  async function work(grain: Queued, build: (atMs: number) => Promise<(to: Db) => Write[]>): Promise<void> {
    for (;;) {
      const next = await db
        .select()
        .from(t.rollUpQueue)
        .where(eq(t.rollUpQueue.grain, grain))
        .orderBy(asc(t.rollUpQueue.atMs))
        .limit(ROWS_AT_ONCE)
      if (next.length === 0) return
      for (const { atMs } of next) {
        const writes = await build(atMs)
        await store.atomically((to) => [
          ...writes(to),
          dequeue(to, grain, atMs),
          setMark(to, 'lease', now() + LEASE_MS),
        ])
      }
    }
  }

  async function buildHour(atMs: number): Promise<(to: Db) => Write[]> {
    const day = calendar.startOf('day', atMs)
    // What is left of its records is not all of it any more.
    if (day < keptSinceMs()) return () => []
    const cells = new Map<string, RolledUp>()
    const days = new Map<string, PersonDay>()
    for (let from = atMs; from < atMs + HOUR_MS; from += SLICE_MS)
      for (const call of await readCalls(store, from, from + SLICE_MS)) {
        for (const groupName of new Set([ALL, ...(call.groups ?? [])])) {
          count(cellOf(cells, { groupName, ...call }), call)
          if (call.kind !== 'turn' || call.person === null) continue
          for (const characterId of new Set([ALL, call.characterId]))
            days.set([call.person, characterId, groupName].join('\0'), {
              ...{ dayMs: day, person: call.person, characterId, groupName },
            })
        }
      }
    const people = [...new Set([...days.values()].map(({ person }) => person))]
    return (to) => [
      ...replace(to, 'hour', atMs, cells),
      ...inPieces([...days.values()]).map((rows) =>
        to.insert(t.personDays).values(rows).onConflictDoNothing(),
      ),
      ...inPieces(people.map((person) => ({ person, firstDayMs: day, lastDayMs: day }))).map((rows) =>
        to
          .insert(t.people)
          .values(rows)
          .onConflictDoUpdate({
            target: t.people.person,
            set: {
              firstDayMs: sql`case when ${t.people.firstDayMs} < excluded.first_day_ms then ${t.people.firstDayMs} else excluded.first_day_ms end`,
              lastDayMs: sql`case when ${t.people.lastDayMs} > excluded.last_day_ms then ${t.people.lastDayMs} else excluded.last_day_ms end`,
            },
          }),
      ),
      ...enqueue(to, 'day', [day]),
    ]
  }

  function replace(to: Db, grain: Grain, atMs: number, cells: ReadonlyMap<string, RolledUp>): Write[] {
    const rows = [...cells.values()].map((row) => ({ grain, atMs, ...row }))
    return [
      to.delete(t.rollUps).where(and(eq(t.rollUps.grain, grain), eq(t.rollUps.atMs, atMs))),
      ...inPieces(rows).map((some) => to.insert(t.rollUps).values(some)),
    ]
  }

  async function merged(grain: Grain, fromMs: number, toMs: number): Promise<Map<string, RolledUp>> {
    const { rollUps } = t
    const rows = await db
      .select()
      .from(rollUps)
      .where(and(eq(rollUps.grain, grain), gte(rollUps.atMs, fromMs), lt(rollUps.atMs, toMs)))
    const cells = new Map<string, RolledUp>()
    for (const { cell, ...row } of rows) mergeCell(cellOf(cells, row), cell)
    return cells
  }

  async function buildDay(atMs: number): Promise<(to: Db) => Write[]> {
    if (atMs < keptSinceMs()) return () => []
    const untilMs = calendar.next('day', atMs)
    const cells = await merged('hour', atMs, untilMs)
    const items = await readItems(store, atMs, untilMs)
    // Every later day up to a month has this one in its window.
    const windows: number[] = []
    for (let day = atMs; day <= now() && windows.length < MONTH_DAYS; day = calendar.next('day', day))
      windows.push(day)
    return (to) => [
      ...replace(to, 'day', atMs, cells),
      ...replaceItems(to, 'day', atMs, items),
      ...enqueue(to, 'month', [calendar.startOf('month', atMs)]),
      ...enqueue(to, 'people', windows),
      ...enqueue(to, 'week', [calendar.startOf('week', atMs)]),
    ]
  }

  async function buildMonth(atMs: number): Promise<(to: Db) => Write[]> {
    const untilMs = calendar.next('month', atMs)
    const cells = await merged('day', atMs, untilMs)
    const { itemRollUps: table } = t
    const items = await db
      .select({
        ...{ kind: table.kind, characterId: table.characterId, item: table.item },
        ...{ used: total(table.used), dropped: total(table.dropped) },
        ...{ tokens: total(table.tokens), scoreSum: total(table.scoreSum) },
      })
      .from(table)
      .where(and(eq(table.grain, 'day'), gte(table.atMs, atMs), lt(table.atMs, untilMs)))
      .groupBy(table.kind, table.characterId, table.item)
    return (to) => [...replace(to, 'month', atMs, cells), ...replaceItems(to, 'month', atMs, items)]
  }

  function replaceItems(to: Db, grain: Grain, atMs: number, items: readonly Item[]): Write[] {
    const { itemRollUps } = t
    return [
      to.delete(itemRollUps).where(and(eq(itemRollUps.grain, grain), eq(itemRollUps.atMs, atMs))),
      ...inPieces(items.map((item) => ({ grain, atMs, ...item }))).map((rows) =>
        to.insert(itemRollUps).values(rows),
      ),
    ]
  }

  /** How many people there were in the day, the week and the month that end with this day. */
  async function buildPeople(dayMs: number): Promise<(to: Db) => Write[]> {
    const oldest = dayMs - (MONTH_DAYS - 1) * DAY_MS
    const isRecent = dayMs > now() - 2 * DAY_MS
    // Pseudonyms of its month are gone already: the numbers made in their time stay.
    if (!isRecent && oldest < keptSinceMs()) return () => []
    const numbers = new Map<string, typeof t.peopleRollUps.$inferInsert>()
    const add = (name: 'day' | 'week' | 'month' | 'fresh', rows: readonly PeopleCount[]) => {
      for (const { characterId, groupName, people } of rows) {
        const key = `${characterId}\0${groupName}`
        const row = numbers.get(key) ?? { dayMs, characterId, groupName, day: 0, week: 0, month: 0, fresh: 0 }
        numbers.set(key, { ...row, [name]: people })
      }
    }
    add('day', await countPeople(dayMs, dayMs))
    add('week', await countPeople(calendar.startOf('day', dayMs - (WEEK_DAYS - 1.5) * DAY_MS), dayMs))
    add('month', await countPeople(calendar.startOf('day', dayMs - (MONTH_DAYS - 1.5) * DAY_MS), dayMs))
    add('fresh', await countPeople(dayMs, dayMs, eq(t.people.firstDayMs, dayMs)))
    return (to) => [
      to.delete(t.peopleRollUps).where(eq(t.peopleRollUps.dayMs, dayMs)),
      ...inPieces([...numbers.values()]).map((rows) => to.insert(t.peopleRollUps).values(rows)),
    ]
  }

  function countPeople(fromMs: number, toMs: number, only?: SQL): Promise<PeopleCount[]> {
    const { personDays, people } = t
    const { characterId, groupName } = personDays
    const counted = db
      .select({
        characterId,
        groupName,
        people: sql<number>`count(distinct ${personDays.person})`.mapWith(Number),
      })
      .from(personDays)
    const joined =
      only === undefined ? counted : counted.innerJoin(people, eq(people.person, personDays.person))
    return Promise.resolve(
      joined.where(and(between(personDays.dayMs, fromMs, toMs), only)).groupBy(characterId, groupName),
    )
  }

  /** Who talked in this week, by the week in which they were first seen. */
  async function buildWeek(weekMs: number): Promise<(to: Db) => Write[]> {
    if (weekMs < keptSinceMs()) return () => []
    const { personDays, people, cohortRollUps } = t
    const { characterId, groupName } = personDays
    const rows = await db
      .select({
        ...{ characterId, groupName, firstDayMs: people.firstDayMs },
        people: sql<number>`count(distinct ${personDays.person})`.mapWith(Number),
      })
      .from(personDays)
      .innerJoin(people, eq(people.person, personDays.person))
      .where(and(gte(personDays.dayMs, weekMs), lt(personDays.dayMs, calendar.next('week', weekMs))))
      .groupBy(characterId, groupName, people.firstDayMs)
    const cohorts = new Map<string, typeof cohortRollUps.$inferInsert>()
    for (const row of rows) {
      const cohortMs = calendar.startOf('week', row.firstDayMs)
      const key = [row.characterId, row.groupName, cohortMs].join('\0')
      // Each person has one first day, so the numbers of its days can be added.
      const known = cohorts.get(key)?.people ?? 0
      cohorts.set(key, {
        ...{ weekMs, cohortMs, characterId: row.characterId, groupName: row.groupName },
        people: known + row.people,
      })
    }
    return (to) => [
      to.delete(cohortRollUps).where(eq(cohortRollUps.weekMs, weekMs)),
      ...inPieces([...cohorts.values()]).map((some) => to.insert(cohortRollUps).values(some)),
    ]
  }

  async function forgetOlder(): Promise<boolean> {
    const recordsUntil = keptSinceMs()
    const rollUpsUntil = calendar.startOf('month', now() - retention.months * (365.25 / 12) * DAY_MS)
    const { callRecords, loreHits, passageHits, personDays, people, rollUps, itemRollUps } = t
    const rest: boolean[] = []
    rest.push(await forgetSome(store, callRecords, lt(callRecords.startedAtMs, recordsUntil)))
    rest.push(await forgetSome(store, loreHits, lt(loreHits.startedAtMs, recordsUntil)))
    rest.push(await forgetSome(store, passageHits, lt(passageHits.startedAtMs, recordsUntil)))
    rest.push(await forgetSome(store, personDays, lt(personDays.dayMs, recordsUntil)))
    rest.push(await forgetSome(store, people, lt(people.lastDayMs, recordsUntil)))
    // A day is made of hours, so they stay a day longer than the records.
    const old = or(
      and(eq(rollUps.grain, 'hour'), lt(rollUps.atMs, recordsUntil - DAY_MS)),
      and(ne(rollUps.grain, 'hour'), lt(rollUps.atMs, rollUpsUntil)),
    )
    rest.push(await forgetSome(store, rollUps, old))
    rest.push(await forgetSome(store, itemRollUps, lt(itemRollUps.atMs, rollUpsUntil)))
    await db.delete(t.peopleRollUps).where(lt(t.peopleRollUps.dayMs, rollUpsUntil))
    await db.delete(t.cohortRollUps).where(lt(t.cohortRollUps.weekMs, rollUpsUntil))
    return rest.some(Boolean)
  }

  return {
    async run() {
      if (!(await takeLease())) return false
      const untilMs = now()
      await findTouched(untilMs)
      await work('hour', buildHour)
      await work('day', buildDay)
      await work('people', buildPeople)
      await work('week', buildWeek)
      await work('month', buildMonth)
      await store.atomically((to) => [setMark(to, 'data', untilMs), setMark(to, 'lease', 0)])
      return true
    },
    forget: forgetOlder,
  }
}

interface PersonDay {
  dayMs: number
  person: string
  characterId: string
  groupName: string
}

interface PeopleCount {
  characterId: string
  groupName: string
  people: number
}

interface Item {
  kind: string
  characterId: string
  item: string
  used: number
  dropped: number
  tokens: number
  scoreSum: number
}

type Call = CountedCall & Omit<Dimensions, 'groupName'> & { groups: string[] | null }

function cellOf(cells: Map<string, RolledUp>, of: Dimensions): Cell {
  const { groupName, kind, characterId, characterVersion, baseModel, surface } = of
  const key = [groupName, kind, characterId, characterVersion, baseModel, surface].join('\0')
  const known = cells.get(key)
  if (known !== undefined) return known.cell
  const cell = emptyCell()
  cells.set(key, { groupName, kind, characterId, characterVersion, baseModel, surface, cell })
  return cell
}

/** Of [fromMs, untilMs), with what others said about them. */
async function readCalls({ db, t }: Store, fromMs: number, untilMs: number): Promise<Call[]> {
  const { callRecords: r, ratings } = t
  const within = and(gte(r.startedAtMs, fromMs), lt(r.startedAtMs, untilMs))
  const rows = await db
    .select({
      ...{ id: r.id, kind: r.kind, surface: r.surface, person: r.person, groups: r.groups, turn: r.turn },
      ...{ characterId: r.characterId, characterVersion: r.characterVersion, baseModel: r.baseModel },
      ...{ status: r.status, errorCode: r.errorCode, promptTokens: r.promptTokens },
      ...{ completionTokens: r.completionTokens, reasoningTokens: r.reasoningTokens },
      ...{ cachedTokens: r.cachedTokens, queueMs: r.queueMs, loadMs: r.loadMs, prefillMs: r.prefillMs },
      ...{ decodeMs: r.decodeMs, firstTokenMs: r.firstTokenMs, totalMs: r.totalMs, cutTurns: r.cutTurns },
      ...{ loreFired: r.loreFired, passages: r.passages, toolCalls: r.toolCalls, costMicro: r.costMicro },
      ...{ tokensByPart: r.tokensByPart },
    })
    .from(r)
    .where(within)
  if (rows.length === 0) return []
  const rated = await db
    .select({ id: r.id, value: ratings.value })
    .from(ratings)
    .innerJoin(r, eq(r.message, ratings.message))
    .where(within)
  const ratingOf = new Map(rated.map(({ id, value }) => [id, value]))
  const earlier = sql`exists (select 1 from call_records e where e.user_message = ${r.userMessage} and e.kind = 'turn'
    and e.message is distinct from ${r.message} and (e.started_at_ms < ${r.startedAtMs} or (e.started_at_ms = ${r.startedAtMs} and e.id < ${r.id})))`
  const again = await db
    .select({ id: r.id })
    .from(r)
    .where(and(within, eq(r.kind, 'turn'), isNotNull(r.userMessage), earlier))
  const isAgain = new Set(again.map(({ id }) => id))
  return rows.map(({ tokensByPart, ...row }) => ({
    ...row,
    kind: row.kind as CallRecord['kind'],
    status: row.status as CallRecord['status'],
    characterId: row.characterId ?? '',
    characterVersion: row.characterVersion ?? 0,
    baseModel: row.baseModel ?? '',
    loreTokens: tokensByPart['lore'] ?? 0,
    isRegeneration: isAgain.has(row.id),
    rating: ratingOf.get(row.id) ?? 0,
  }))
}

const total = (column: Parameters<typeof sql>[1]) => sql<number>`coalesce(sum(${column}), 0)`.mapWith(Number)

async function readItems({ db, t }: Store, fromMs: number, untilMs: number): Promise<Item[]> {
  const { loreHits: lore, passageHits: hits } = t
  const yes = (flag: SQL) =>
    sql<number>`coalesce(sum(case when ${flag} then 1 else 0 end), 0)`.mapWith(Number)
  const entries = await db
    .select({
      ...{ characterId: lore.characterId, item: lore.entry },
      used: yes(sql`not ${lore.isDropped}`),
      dropped: yes(sql`${lore.isDropped}`),
      tokens:
        sql<number>`coalesce(sum(case when ${lore.isDropped} then 0 else ${lore.tokens} end), 0)`.mapWith(
          Number,
        ),
    })
    .from(lore)
    .where(and(gte(lore.startedAtMs, fromMs), lt(lore.startedAtMs, untilMs)))
    .groupBy(lore.characterId, lore.entry)
  const documents = await db
    .select({
      ...{ characterId: hits.characterId, item: hits.document },
      ...{
        used: yes(sql`${hits.isUsed}`),
        dropped: yes(sql`not ${hits.isUsed}`),
        scoreSum: total(hits.score),
      },
    })
    .from(hits)
    .where(and(gte(hits.startedAtMs, fromMs), lt(hits.startedAtMs, untilMs)))
    .groupBy(hits.characterId, hits.document)
  return [
    ...entries.map((entry) => ({ kind: 'lore', scoreSum: 0, ...entry })),
    ...documents.map((document) => ({ kind: 'document', tokens: 0, ...document })),
  ]
}

/** PostgreSQL and SQLite take a bounded number of values in a statement. */
function inPieces<T>(rows: readonly T[]): T[][] {
  const pieces: T[][] = []
  for (let at = 0; at < rows.length; at += ROWS_AT_ONCE) pieces.push(rows.slice(at, at + ROWS_AT_ONCE))
  return pieces
}

const FORGET_AT_ONCE = 5_000

/** In pieces, so that nobody who adds rows waits long. True when there is more. */
async function forgetSome({ db, engine }: Store, table: SQLiteTable, old: SQL | undefined): Promise<boolean> {
  const address = sql.raw(engine === 'sqlite' ? 'rowid' : 'ctid')
  const some = sql`${address} in (select ${address} from ${table} where ${old} limit ${sql.raw(String(FORGET_AT_ONCE))})`
  const gone = await db
    .delete(table)
    .where(some)
    .returning({ one: sql<number>`1` })
  return gone.length === FORGET_AT_ONCE
}
