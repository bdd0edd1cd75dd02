/** PostgreSQL 14 or newer through pg: for more than one process. */
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import pg from 'pg'

import { AppError } from '#base/errors.ts'

import { postgresKit } from './kit.postgres.ts'
import type { Db, Store } from './store.ts'
import { defineTables } from './tables.ts'

/** Ten connections a process: ten replicas stay within PostgreSQL's own default of 100. */
const POOL_SIZE = 10
const CONNECT_TIMEOUT_MS = 5_000

/** An arbitrary number that only our migrations lock, so that two starters do not both change the tables. */
const MIGRATION_LOCK = 7_218_031

const UNIQUE_VIOLATION = '23505'

export async function openPostgres(url: string, migrationsFolder: string): Promise<Store> {
  const pool = new pg.Pool({
    connectionString: url,
    max: POOL_SIZE,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  })
  // A server that goes away breaks idle connections; the next query reports it, the process must not end.
  pool.on('error', () => undefined)
  await migrateUnderLock(pool, migrationsFolder).catch(async (cause: unknown) => {
    await pool.end()
    throw new AppError(
      'unavailable',
      'The PostgreSQL database cannot be used; check its URL, that it runs, and your rights',
      { cause },
    )
  })
  const database = drizzle(pool)
  const db = database as unknown as Db
  return {
    db,
    t: defineTables(postgresKit),
    async append(table, rows) {
      await db
        .insert(table)
        .values([...rows])
        .onConflictDoNothing()
    },
    async atomically(writes) {
      await database.transaction(async (transaction) => {
        for (const write of writes(transaction as unknown as Db)) await write
      })
    },
    isDuplicate: (error) => isUniqueViolation(error),
    async ping() {
      try {
        await pool.query('select 1')
      } catch (cause) {
        throw new AppError('unavailable', 'The PostgreSQL database does not answer', { cause })
      }
    },
    close: () => pool.end(),
  }
}

async function migrateUnderLock(pool: pg.Pool, migrationsFolder: string): Promise<void> {
  const client = await pool.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
    await migrate(drizzle(client), { migrationsFolder })
  } finally {
    await client.query('select pg_advisory_unlock($1)', [MIGRATION_LOCK]).catch(() => undefined)
    client.release()
  }
}

function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && error.code === UNIQUE_VIOLATION) || isUniqueViolation(error.cause)
}
