/**
 * All rows of a database, read as of one moment while others write, and written back in one transaction. Values are those of
 * the tables, not of an engine: what was read from SQLite can be written to PostgreSQL.
 */
import Database from 'better-sqlite3'
import { getTableColumns, getTableName } from 'drizzle-orm'
import type { SQLiteColumn, SQLiteTable } from 'drizzle-orm/sqlite-core'
import pg from 'pg'

import { AppError } from '#base/errors.ts'

import { postgresKit } from './kit.postgres.ts'
import { sqliteKit } from './kit.sqlite.ts'
import { openStore } from './open.ts'
import { defineTables } from './tables.ts'

/** Column names with JSON values; bytes as `{ "$bytes": base64 }`. */
export type DumpedRow = Record<string, unknown>

export interface Dump {
  /** Parents before their children. */
  tables: readonly string[]
  rows(table: string): AsyncGenerator<DumpedRow, void, undefined>
  close(): Promise<void>
}

const ROWS_AT_ONCE = 500

/** PostgreSQL takes 65,535 values in one statement. */
const MOST_VALUES = 30_000

const isSqlite = (url: string) => url.startsWith('file:')
const fileOf = (url: string) => url.slice('file:'.length)

/** The moment is that of the call. The caller closes it. Throws AppError `unavailable`. */
export async function openDump(url: string): Promise<Dump> {
  try {
    return isSqlite(url) ? dumpSqlite(fileOf(url)) : await dumpPostgres(url)
  } catch (cause) {
    throw new AppError('unavailable', 'A database cannot be read; check its URL and that it runs', { cause })
  }
}

function dumpSqlite(file: string): Dump {
  const client = new Database(file, { readonly: true, fileMustExist: true })
  // The first read decides what this transaction sees.
  client.exec('begin')
  client.prepare('select count(*) from sqlite_master').get()
  const tables = named(defineTables(sqliteKit))
  return {
    tables: [...tables.keys()],
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, this engine is not
    async *rows(name) {
      for (const row of client.prepare(`select * from "${name}"`).iterate())
        yield fromDriver(columnsOf(tables, name), row as DumpedRow)
    },
    close() {
      client.close()
      return Promise.resolve()
    },
  }
}

async function dumpPostgres(url: string): Promise<Dump> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query('begin isolation level repeatable read read only')
  await client.query('select 1')
  const tables = named(defineTables(postgresKit))
  return {
    tables: [...tables.keys()],
    async *rows(name) {
      await client.query(`declare dump no scroll cursor for select * from "${name}"`)
      for (;;) {
        const { rows } = await client.query<DumpedRow>(`fetch ${String(ROWS_AT_ONCE)} from dump`)
        for (const row of rows) yield fromDriver(columnsOf(tables, name), row)
        if (rows.length < ROWS_AT_ONCE) break
      }
      await client.query('close dump')
    },
    close: () => client.end(),
  }
}

/** Rows of a table, in batches. */
export interface LoadedRows {
  table: string
  rows: readonly DumpedRow[]
}

/** How many rows there are; a database without tables has none. */
export async function countAll(url: string): Promise<number> {
  const store = await openStore(url)
  try {
    let rows = 0
    for (const table of Object.values(store.t as Record<string, SQLiteTable>))
      rows += (await store.db.select().from(table).limit(1)).length
    return rows
  } finally {
    await store.close()
  }
}

/**
 * Replaces all rows of a database: everything or nothing. Makes its tables first. Columns that it does not know are left out,
 * those that it is not given get their defaults. Throws AppError `unavailable`.
 */
export async function loadDump(url: string, batches: AsyncIterable<LoadedRows>): Promise<void> {
  const store = await openStore(url)
  await store.close()
  await (isSqlite(url) ? loadSqlite(fileOf(url), batches) : loadPostgres(url, batches))
}

async function loadSqlite(file: string, batches: AsyncIterable<LoadedRows>): Promise<void> {
  const tables = named(defineTables(sqliteKit))
  const client = new Database(file)
  try {
    client.pragma('synchronous = FULL')
    client.pragma('foreign_keys = OFF')
    client.pragma('secure_delete = ON')
    client.exec('begin immediate')
    for (const name of [...tables.keys()].reverse()) client.exec(`delete from "${name}"`)
    for await (const { table, rows } of batches) {
      const columns = tables.get(table)
      if (columns === undefined) continue
      for (const row of rows) {
        const given = columns.filter(({ name }) => name in row)
        const names = given.map(({ name }) => `"${name}"`).join(', ')
        const insert = `insert into "${table}" (${names}) values (${given.map(() => '?').join(', ')})`
        client.prepare(insert).run(given.map((column) => toDriver(column, row[column.name], true)))
      }
    }
    client.exec('commit')
  } finally {
    if (client.inTransaction) client.exec('rollback')
    client.close()
  }
}

async function loadPostgres(url: string, batches: AsyncIterable<LoadedRows>): Promise<void> {
  const tables = named(defineTables(postgresKit))
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query('begin')
    await client.query(`truncate ${[...tables.keys()].map((name) => `"${name}"`).join(', ')} cascade`)
    for await (const { table, rows } of batches) {
      const columns = tables.get(table)
      if (columns !== undefined) await insertPostgres(client, table, columns, rows)
    }
    for (const [table, columns] of tables) await countOn(client, table, columns)
    await client.query('commit')
  } finally {
    // Without a commit the server takes everything back.
    await client.end()
  }
}

async function insertPostgres(
  client: pg.Client,
  table: string,
  columns: readonly SQLiteColumn[],
  rows: readonly DumpedRow[],
): Promise<void> {
  const [first] = rows
  if (first === undefined) return
  const given = columns.filter(({ name }) => name in first)
  const most = Math.max(1, Math.floor(MOST_VALUES / given.length))
  const names = given.map(({ name }) => `"${name}"`).join(', ')
  for (let at = 0; at < rows.length; at += most) {
    const some = rows.slice(at, at + most)
    const marks = some.map(
      (_, row) => `(${given.map((__, place) => `$${String(row * given.length + place + 1)}`).join(', ')})`,
    )
    const values = some.flatMap((row) => given.map((column) => toDriver(column, row[column.name], false)))
    await client.query(`insert into "${table}" (${names}) values ${marks.join(', ')}`, values)
  }
}

/** A column that counts goes on after the highest number. */
async function countOn(client: pg.Client, table: string, columns: readonly SQLiteColumn[]): Promise<void> {
  for (const { name } of columns.filter(isCounted))
    await client.query(
      `select setval(pg_get_serial_sequence('"${table}"', '${name}'), coalesce((select max("${name}") from "${table}"), 0) + 1, false)`,
    )
}

/** Only PostgreSQL's columns know of it. */
const isCounted = (column: SQLiteColumn): boolean =>
  'generatedIdentity' in column && column.generatedIdentity !== undefined

type Named = ReadonlyMap<string, SQLiteColumn[]>

function named(tables: object): Named {
  return new Map(
    Object.values(tables as Record<string, SQLiteTable>).map((table) => [
      getTableName(table),
      Object.values(getTableColumns(table)),
    ]),
  )
}

function columnsOf(tables: Named, name: string): SQLiteColumn[] {
  const columns = tables.get(name)
  if (columns === undefined) throw new AppError('internal', `There is no table "${name}"`)
  return columns
}

function fromDriver(columns: readonly SQLiteColumn[], row: DumpedRow): DumpedRow {
  return Object.fromEntries(
    columns.map((column) => {
      const raw = row[column.name] ?? null
      const value: unknown = raw === null ? null : column.mapFromDriverValue(raw)
      return [
        column.name,
        value instanceof Uint8Array ? { $bytes: Buffer.from(value).toString('base64') } : value,
      ]
    }),
  )
}

function toDriver(column: SQLiteColumn, value: unknown, isForSqlite: boolean): unknown {
  if (value === null || value === undefined) return null
  const bytes = typeof value === 'object' && '$bytes' in value ? value.$bytes : undefined
  const plain = typeof bytes === 'string' ? Buffer.from(bytes, 'base64') : value
  const raw = column.mapToDriverValue(plain)
  return isForSqlite && typeof raw === 'boolean' ? Number(raw) : raw
}
