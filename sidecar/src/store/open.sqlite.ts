/** SQLite through better-sqlite3: the embedded default. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'

import Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { readMigrationFiles } from 'drizzle-orm/migrator'

import { AppError, codeOf } from '#base/errors.ts'

import { createAppender, statementOf } from './append.sqlite.ts'
import { sqliteKit } from './kit.sqlite.ts'
import {
  isRows,
  type Change,
  type Db,
  type Rows,
  type Store,
  type StoreOptions,
  type Write,
} from './store.ts'
import { defineTables } from './tables.ts'

/** Another process (a backup, a second start) may hold the lock for a moment. */
const BUSY_TIMEOUT_MS = 5_000

/** Another starter may be changing the tables of a large file. */
const MIGRATION_TIMEOUT_MS = 120_000

/** A drizzle query that has not run yet: on this driver it can run at once. */
interface Runnable {
  run(): unknown
}

const isRunnable = (write: Write): write is Write & Runnable =>
  'run' in write && typeof write.run === 'function'

export function openSqlite(
  file: string,
  migrationsFolder: string,
  { setting, now = Date.now }: Pick<StoreOptions, 'setting' | 'now'> = {},
): Store {
  const client = openFile(file, setting)
  // FULL: a committed row survives a power cut. Records of one moment share a commit, so it costs nothing that matters.
  client.pragma('synchronous = FULL')
  client.pragma('foreign_keys = ON')
  // What is deleted is overwritten: a file that somebody copies later must not tell of who was forgotten.
  client.pragma('secure_delete = ON')
  client.pragma(`busy_timeout = ${String(BUSY_TIMEOUT_MS)}`)
  migrate(client, migrationsFolder)
  const database = drizzle(client)
  // Awaiting a builder is the same text on the synchronous driver as on PostgreSQL.
  const db = database as unknown as Db
  const prepared = new Map<string, Database.Statement>()
  const addRows = ({ table, rows }: Rows) => {
    const { insert, values } = statementOf(table)
    const statement = prepared.get(insert) ?? client.prepare(insert)
    prepared.set(insert, statement)
    for (const row of rows) statement.run(values(row))
  }
  const transaction = client.transaction((changes: readonly Change[]) => {
    for (const change of changes) {
      if (isRows(change)) addRows(change)
      else if (isRunnable(change)) change.run()
      else throw new AppError('internal', 'Only statements of the store can run in a transaction')
    }
  })
  const addHere = (additions: readonly Rows[]) => {
    try {
      transaction(additions)
    } catch (cause) {
      throw hasCode(cause, (code) => code.startsWith('SQLITE_CONSTRAINT'))
        ? new AppError('invalid', 'SQLite refuses these rows', { cause })
        : cause
    }
  }
  // A database in memory is seen by nobody but its own connection.
  const appender = file === ':memory:' ? undefined : createAppender(file, BUSY_TIMEOUT_MS)
  return {
    engine: 'sqlite',
    db,
    t: defineTables(sqliteKit),
    nowMs: now,
    async append(batch) {
      const additions = batch.filter(({ rows }) => rows.length > 0)
      if (appender !== undefined) await appender.append(additions)
      else addHere(additions)
    },
    position: () => Promise.resolve(''),
    lagMs: () => Promise.resolve(0),
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, this engine is not
    async atomically(changes) {
      transaction(changes(db))
    },
    isDuplicate: (error) =>
      hasCode(
        error,
        (code) => code === 'SQLITE_CONSTRAINT_UNIQUE' || code === 'SQLITE_CONSTRAINT_PRIMARYKEY',
      ),
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    async ping() {
      try {
        client.prepare('select 1').get()
      } catch (cause) {
        throw new AppError(
          'unavailable',
          'The SQLite file cannot be read; check the data folder and its disk',
          { cause },
        )
      }
    },
    async close() {
      await appender?.close()
      client.close()
    },
  }
}

/**
 * Changes the tables in one transaction that holds the write lock from before it looks: a second starter waits and finds
 * nothing to do, and a kill leaves everything as it was. The table of what was done is that of drizzle's own migrator.
 */
function migrate(client: Database.Database, migrationsFolder: string): void {
  client.pragma(`busy_timeout = ${String(MIGRATION_TIMEOUT_MS)}`)
  const run = client.transaction(() => {
    client.exec(
      'create table if not exists __drizzle_migrations (id serial primary key, hash text not null, created_at numeric)',
    )
    const done = client.prepare('select max(created_at) from __drizzle_migrations').pluck().get() as
      number | null
    for (const { sql, hash, folderMillis } of readMigrationFiles({ migrationsFolder })) {
      if (done !== null && done >= folderMillis) continue
      for (const statement of sql) client.exec(statement)
      client
        .prepare('insert into __drizzle_migrations (hash, created_at) values (?, ?)')
        .run(hash, folderMillis)
    }
  })
  run.immediate()
  client.pragma(`busy_timeout = ${String(BUSY_TIMEOUT_MS)}`)
}

function openFile(file: string, setting: string | undefined): Database.Database {
  try {
    if (file !== ':memory:') mkdirSync(path.dirname(file), { recursive: true })
    const client = new Database(file)
    // The first that reads the file: what is no database is found here.
    client.pragma('journal_mode = WAL')
    return client
  } catch (cause) {
    const also = setting === undefined ? '' : `${setting} and `
    throw new AppError(
      'unavailable',
      `The SQLite file ${file} cannot be used${codeOf(cause)}; check ${also}that its folder may be written`,
      { cause },
    )
  }
}

/** drizzle wraps the driver's error; the code is on the cause. */
function hasCode(error: unknown, is: (code: string) => boolean): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && is(String(error.code))) || hasCode(error.cause, is)
}
