/** SQLite through better-sqlite3: the embedded default. */
import { mkdirSync } from 'node:fs'
import path from 'node:path'

import Database from 'better-sqlite3'
import { drizzle } from 'drizzle-orm/better-sqlite3'
import { migrate } from 'drizzle-orm/better-sqlite3/migrator'

import { AppError } from '#base/errors.ts'

import { createAppender } from './append.sqlite.ts'
import { sqliteKit } from './kit.sqlite.ts'
import type { Db, Store, Write } from './store.ts'
import { defineTables } from './tables.ts'

/** Another process (a backup, a second start) may hold the lock for a moment. */
const BUSY_TIMEOUT_MS = 5_000

/** A drizzle query that has not run yet: on this driver it can run at once. */
interface Runnable {
  run(): unknown
}

const isRunnable = (write: Write): write is Write & Runnable =>
  'run' in write && typeof write.run === 'function'

export function openSqlite(file: string, migrationsFolder: string): Store {
  const client = openFile(file)
  client.pragma('journal_mode = WAL')
  // FULL: a committed row survives a power cut. Records of one moment share a commit, so it costs nothing that matters.
  client.pragma('synchronous = FULL')
  client.pragma('foreign_keys = ON')
  client.pragma(`busy_timeout = ${String(BUSY_TIMEOUT_MS)}`)
  const database = drizzle(client)
  migrate(database, { migrationsFolder })
  // Awaiting a builder is the same text on the synchronous driver as on PostgreSQL.
  const db = database as unknown as Db
  const transaction = client.transaction((writes: readonly Write[]) => {
    for (const write of writes) {
      if (!isRunnable(write))
        throw new AppError('internal', 'Only statements of the store can run in a transaction')
      write.run()
    }
  })
  // A database in memory is seen by nobody but its own connection.
  const appender = file === ':memory:' ? undefined : createAppender(file, BUSY_TIMEOUT_MS)
  return {
    db,
    t: defineTables(sqliteKit),
    async append(table, rows) {
      if (appender !== undefined) await appender.append(table, rows)
      else
        await db
          .insert(table)
          .values([...rows])
          .onConflictDoNothing()
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is asynchronous, this engine is not
    async atomically(writes) {
      transaction(writes(db))
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

function openFile(file: string): Database.Database {
  try {
    if (file !== ':memory:') mkdirSync(path.dirname(file), { recursive: true })
    return new Database(file)
  } catch (cause) {
    throw new AppError(
      'unavailable',
      `The SQLite file ${file} cannot be opened; check that its folder may be written`,
      { cause },
    )
  }
}

/** drizzle wraps the driver's error; the code is on the cause. */
function hasCode(error: unknown, is: (code: string) => boolean): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && is(String(error.code))) || hasCode(error.cause, is)
}
