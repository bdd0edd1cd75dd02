/** Entries of lorebooks and documents that were called up, by the day and the month. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { and, eq, gte, inArray, isNotNull, lt, sql, type SQL } from 'drizzle-orm'

import { rowsOf, type Change, type Db, type Store } from '#store/store.ts'

import { addPerson, leastPeople, noPeople, uniteAll } from '../cell.ts'
import { packPeople, unpackPeople } from '../packed-cells.ts'
import type { RollUpRun } from './roll-up.ts'

type Tables = Store['t']

export interface Item {
  kind: string
  characterId: string
  item: string
  used: number
  dropped: number
  tokens: number
  scoreSum: number
  /** Sketch of those in whose turns it was called up. */
  people: string
}

/** By name in every condition, since an index begins with them. */
export const ITEM_KINDS = ['lore', 'document']

const total = (column: Parameters<typeof sql>[1]) => sql<number>`coalesce(sum(${column}), 0)`.mapWith(Number)

/** How often each entry of a lorebook and each document was called up, and of whom. */
export async function readItems({ db, t }: Store, fromMs: number, untilMs: number): Promise<Item[]> {
  const { loreHits: lore, passageHits: hits } = t
  const calls = (flag: SQL) => total(sql`case when ${flag} then 1 else 0 end`)
  const entries = await db
    .select({
      ...{ characterId: lore.characterId, item: lore.entry },
      ...{ used: calls(sql`not ${lore.isDropped}`), dropped: calls(sql`${lore.isDropped}`) },
      tokens: total(sql`case when ${lore.isDropped} then 0 else ${lore.tokens} end`),
    })
    .from(lore)
    .where(and(gte(lore.startedAtMs, fromMs), lt(lore.startedAtMs, untilMs)))
    .groupBy(lore.characterId, lore.entry)
  const documents = await db
    .select({
      ...{ characterId: hits.characterId, item: hits.document },
      ...{ used: calls(sql`${hits.isUsed}`), dropped: calls(sql`not ${hits.isUsed}`) },
      scoreSum: total(hits.score),
    })
    .from(hits)
    .where(and(gte(hits.startedAtMs, fromMs), lt(hits.startedAtMs, untilMs)))
    .groupBy(hits.characterId, hits.document)
  const ofLore = await readPeople(db, t, { table: lore, item: lore.entry }, fromMs, untilMs)
  const ofDocuments = await readPeople(db, t, { table: hits, item: hits.document }, fromMs, untilMs)
  return [
    ...entries.map((entry) => ({ kind: 'lore', scoreSum: 0, ...entry, people: ofLore.of(entry) })),
    ...documents.map((document) => ({
      kind: 'document',
      tokens: 0,
      ...document,
      people: ofDocuments.of(document),
    })),
  ]
}

type Hits =
  | { table: Tables['loreHits']; item: Tables['loreHits']['entry'] }
  | { table: Tables['passageHits']; item: Tables['passageHits']['document'] }

async function readPeople(
  db: Db,
  { callRecords }: Tables,
  { table, item }: Hits,
  fromMs: number,
  untilMs: number,
): Promise<Sketches> {
  const sketches = createSketches()
  const { person } = callRecords
  const rows = await db
    .select({ characterId: table.characterId, item, person })
    .from(table)
    .innerJoin(callRecords, eq(callRecords.id, table.recordId))
    .where(and(gte(table.startedAtMs, fromMs), lt(table.startedAtMs, untilMs), isNotNull(person)))
    .groupBy(table.characterId, item, person)
  for (const { person: name, ...of } of rows) if (name !== null) sketches.add(of, name)
  return sketches
}

/** Of a month, out of its days. */
export async function sumItems(
  { store: { db, t }, calendar }: RollUpRun,
  fromMs: number,
  untilMs: number,
): Promise<Item[]> {
  const { itemRollUps: table } = t
  const within = (sinceMs: number, toMs: number) =>
    and(
      eq(table.grain, 'day'),
      inArray(table.kind, ITEM_KINDS),
      gte(table.atMs, sinceMs),
      lt(table.atMs, toMs),
    )
  const rows = await db
    .select({
      ...{ kind: table.kind, characterId: table.characterId, item: table.item },
      ...{ used: total(table.used), dropped: total(table.dropped) },
      ...{ tokens: total(table.tokens), scoreSum: total(table.scoreSum) },
    })
    .from(table)
    .where(within(fromMs, untilMs))
    .groupBy(table.kind, table.characterId, table.item)
  const sketches = createSketches()
  for (let dayMs = fromMs; dayMs < untilMs; dayMs = calendar.next('day', dayMs)) {
    const { kind, characterId, item, people } = table
    const ofDay = await db
      .select({ kind, characterId, item, people })
      .from(table)
      .where(within(dayMs, calendar.next('day', dayMs)))
    for (const { people: packed, ...of } of ofDay) sketches.unite(of, packed)
    await nextTurn()
  }
  return rows.map((row) => ({ ...row, people: sketches.of(row) }))
}

interface Of {
  kind?: string
  characterId: string
  item: string
}

interface Sketches {
  add(of: Of, person: string): void
  unite(of: Of, packed: string | null): void
  /** Packed. */
  of(of: Of): string
  /** There were at least so many. */
  least(of: Of): number
}

/** Sketches of people by entry or document. */
export function createSketches(): Sketches {
  const sketches = new Map<string, number[]>()
  const sketchOf = ({ kind = '', characterId, item }: Of): number[] => {
    const key = `${kind}\0${characterId}\0${item}`
    let people = sketches.get(key)
    if (people === undefined) sketches.set(key, (people = noPeople()))
    return people
  }
  return {
    add: (of, person) => addPerson(sketchOf(of), person),
    unite: (of, packed) => uniteAll(sketchOf(of), unpackPeople(packed)),
    of: (of) => packPeople(sketchOf(of)),
    least: (of) => leastPeople({ people: sketchOf(of) }),
  }
}

export function replaceItems(
  { t: { itemRollUps: table } }: Store,
  to: Db,
  grain: 'day' | 'month',
  atMs: number,
  items: readonly Item[],
): Change[] {
  return [
    to
      .delete(table)
      .where(and(eq(table.grain, grain), inArray(table.kind, ITEM_KINDS), eq(table.atMs, atMs))),
    rowsOf(
      table,
      items.map((item) => ({ grain, atMs, ...item })),
    ),
  ]
}
