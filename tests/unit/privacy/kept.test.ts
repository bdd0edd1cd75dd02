/** docs/privacy.md says what is kept of people. It is written by hand, and held to the tables here. */
import { readFile } from 'node:fs/promises'

import { getTableColumns, getTableName, is } from 'drizzle-orm'
import { SQLiteTable } from 'drizzle-orm/sqlite-core'
import { expect, test } from 'vitest'

import { openStore } from '#store/open.ts'

/** Columns that hold somebody: a pseudonym, an id, a name, a hash of one of these, or words. */
const OF_PEOPLE =
  /^(person|person_id|chat|message|user_message|subject|salt|record_id|actor|text|.*_by|groups)$/
/** The same names for what authors and admins made: knowledge, and the numbers of lists. */
const NOT_OF_PEOPLE = new Set(['knowledge_chunks', 'knowledge_documents', 'characters'])

test('every table that holds something of people is named in docs/privacy.md, and no other', async () => {
  const document = await readFile('docs/privacy.md', 'utf8')
  const store = await openStore('file::memory:')
  const tables = Object.values(store.t as Record<string, unknown>).filter((table) => is(table, SQLiteTable))
  await store.close()
  const holding = tables.filter((table) =>
    Object.values(getTableColumns(table)).some(({ name }) => OF_PEOPLE.test(name)),
  )
  const names = holding.map(getTableName).filter((name) => !NOT_OF_PEOPLE.has(name))
  const rows = document.split('\n').filter((line) => line.startsWith('|'))
  const told = new Set(rows.flatMap((row) => [...row.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name ?? '')))
  expect(names.filter((name) => !told.has(name))).toEqual([])
  const all = new Set(tables.map(getTableName))
  const columns = new Set(
    tables.flatMap((table) => Object.values(getTableColumns(table)).map(({ name }) => name)),
  )
  expect([...told].filter((name) => !all.has(name) && !columns.has(name))).toEqual([])
})
