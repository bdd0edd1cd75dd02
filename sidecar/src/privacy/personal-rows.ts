/**
 * Where people stand in the databases. A convention finds them, so that a new table is covered by itself: a column `person`
 * or `chat` holds a pseudonym, `recordId` the id of a call record, and `message` the pseudonym of an answer.
 */
import {
  and,
  eq,
  getTableColumns,
  getTableName,
  gte,
  inArray,
  isNotNull,
  or,
  sql,
  type SQL,
} from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'

import { personOfUsage, USED_BY_PERSON } from '#store/access-tables.ts'
import type { Store } from '#store/store.ts'

export interface PersonalTable {
  name: string
  table: SQLiteTable
  /** The rows of these people. */
  of(persons: readonly string[]): SQL | undefined
}

/** In the order in which rows must go: those that are found through others come first. */
export function personalTables(store: Store): PersonalTable[] {
  const { callRecords } = store.t
  const tables = Object.values(store.t as Record<string, SQLiteTable>)
  const recordsOf = (persons: readonly string[]) => inArray(callRecords.person, [...persons])
  const through = (column: SQLiteColumn, found: SQLiteColumn) => (persons: readonly string[]) =>
    inArray(
      column,
      store.db
        .select({ found })
        .from(callRecords)
        .where(sql`${recordsOf(persons)} and ${found} is not null`),
    )
  const found = tables.flatMap((table): (PersonalTable & { order: number })[] => {
    const { person, recordId, message } = columnsOf(table)
    const name = getTableName(table)
    if (person !== undefined)
      return [{ name, table, of: (persons) => inArray(person, [...persons]), order: 1 }]
    if (table === store.t.usageSums)
      return [{ name, table, of: (persons) => usageOf(store, persons), order: 1 }]
    if (recordId !== undefined) return [{ name, table, of: through(recordId, callRecords.id), order: 0 }]
    if (message !== undefined) return [{ name, table, of: through(message, callRecords.message), order: 0 }]
    return []
  })
  return found.sort((a, b) => a.order - b.order || a.name.localeCompare(b.name))
}

/** Quotas are counted under keys that begin with the person. */
const usageOf = ({ t: { usageSums } }: Store, persons: readonly string[]) =>
  or(...persons.map((person) => beginsWith(usageSums.key, `${USED_BY_PERSON}${person}:`)))

const beginsWith = (column: SQLiteColumn, prefix: string) =>
  sql`substr(${column}, 1, ${sql.raw(String(prefix.length))}) = ${prefix}`

/** Whose quotas were counted: lasting names. */
export async function peopleCounted({ db, t: { usageSums } }: Store): Promise<string[]> {
  const rows = await db
    .select({ key: usageSums.key })
    .from(usageSums)
    .where(beginsWith(usageSums.key, USED_BY_PERSON))
  return [...new Set(rows.flatMap(({ key }) => personOfUsage(key) ?? []))]
}

const columnsOf = (table: SQLiteTable): Record<string, SQLiteColumn | undefined> => getTableColumns(table)

export async function countRows(store: Store, persons: readonly string[]): Promise<Record<string, number>> {
  const counts: Record<string, number> = {}
  for (const { name, table, of } of personalTables(store)) {
    const [row] = await store.db
      .select({ rows: sql<number | string>`count(*)` })
      .from(table)
      .where(of(persons))
    counts[name] = Number(row?.rows ?? 0)
  }
  return counts
}

/** All in one transaction, so that nothing is left that led to a person through what is gone. */
export async function deleteRows(store: Store, persons: readonly string[]): Promise<void> {
  await store.atomically((db) =>
    personalTables(store).map(({ table, of }) => db.delete(table).where(of(persons))),
  )
}

/** The numbers stay, the chat that they came from is forgotten. */
export async function forgetChats(store: Store, chats: readonly string[]): Promise<void> {
  await store.atomically((db) =>
    tablesWith(store, 'chat').map(({ table, column }) =>
      db
        .update(table)
        .set({ chat: null })
        .where(inArray(column, [...chats])),
    ),
  )
}

/** Each pseudonym that stands in a column of this name, once; people also where their quotas are counted. */
export async function namesIn(store: Store, column: 'person' | 'chat'): Promise<Set<string>> {
  const names = new Set<string>()
  for (const found of tablesWith(store, column)) {
    const rows = await store.db
      .select({ name: found.column })
      .from(found.table)
      .where(isNotNull(found.column))
      .groupBy(found.column)
    for (const { name } of rows) names.add(String(name))
  }
  if (column === 'person') for (const name of await peopleCounted(store)) names.add(name)
  return names
}

/** Pseudonyms of people of Open WebUI who were seen since. */
export async function peopleSeen({ db, t }: Store, sinceMs: number): Promise<string[]> {
  const { callRecords } = t
  const rows = await db
    .select({ person: callRecords.person })
    .from(callRecords)
    .where(
      and(
        isNotNull(callRecords.person),
        eq(callRecords.surface, 'open-webui'),
        gte(callRecords.startedAtMs, sinceMs),
      ),
    )
    .groupBy(callRecords.person)
  return rows.flatMap(({ person }) => person ?? [])
}

function tablesWith(store: Store, name: string) {
  return Object.values(store.t as Record<string, SQLiteTable>).flatMap((table) => {
    const column = columnsOf(table)[name]
    return column === undefined ? [] : [{ table, column }]
  })
}
