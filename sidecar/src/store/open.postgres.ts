/** PostgreSQL 14 or newer through pg: for more than one process. */
import { setTimeout as sleep } from 'node:timers/promises'

import { getTableColumns, getTableName, sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/node-postgres'
import { migrate } from 'drizzle-orm/node-postgres/migrator'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'
import pg from 'pg'

import { AppError, codeOf } from '#base/errors.ts'

import { arrive } from './arriving.postgres.ts'
import { createDatabaseClock, type DatabaseClock } from './clock.postgres.ts'
import { postgresKit } from './kit.postgres.ts'
import { openPool } from './pool.postgres.ts'
import { isRows, type Db, type Rows, type Store, type StoreOptions } from './store.ts'
import { defineTables } from './tables.ts'

/** A process alone stays well within PostgreSQL's own default of 100. */
const CONNECTIONS = 10

const PING_MS = 1_000

/** Two machines drift apart by a few milliseconds in that time. */
const LOOK_AT_CLOCK_MS = 60_000

/** An arbitrary number that only our migrations lock, so that two starters do not both change the tables. */
const MIGRATION_LOCK = 7_218_031

const UNIQUE_VIOLATION = '23505'

/**
 * Of a standby: 0 when it shows all up to a position of the primary, else the age of the last transaction that it shows. What it
 * received says nothing: one that is cut off has received little and shows all of it.
 */
const LAG = `select case
  when not pg_is_in_recovery() or pg_last_wal_replay_lsn() >= $1::pg_lsn then 0
  else extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000 end as lag`

/** A standby that is well shows within this time what was there before. */
const CATCH_UP_MS = 200
const LOOK_EVERY_MS = 25

export async function openPostgres(
  url: string,
  migrationsFolder: string,
  {
    connections = CONNECTIONS,
    isReplica = false,
    mayBeAway = false,
    setting = 'its URL',
    now = Date.now,
  }: StoreOptions = {},
): Promise<Store> {
  const pool = openPool(url, connections)
  const closing = new AbortController()
  const clock = createDatabaseClock(now)
  const migrate = () => migrateUnderLock(url, migrationsFolder, clock.look)
  if (!isReplica)
    await (mayBeAway ? arrive(pool, migrate, closing.signal) : migrate()).catch(async (cause: unknown) => {
      await pool.end()
      throw new AppError(
        'unavailable',
        `The PostgreSQL database${placeOf(url)} cannot be used${codeOf(cause)}; check ${setting}, that it runs, and your rights`,
        { cause },
      )
    })
  // One that is away is looked at when its tables are there, and in a minute.
  const looking = setInterval(() => void clock.look(pool).catch(() => undefined), LOOK_AT_CLOCK_MS).unref()
  const database = drizzle(pool)
  return {
    engine: 'postgres',
    db: database as unknown as Db,
    t: defineTables(postgresKit),
    nowMs: clock.nowMs,
    async append(batch, withinMs) {
      const additions = batch.filter(({ rows }) => rows.length > 0)
      if (additions.length === 0) return
      await pool.run(insertAll(additions), additions.map(asJson), withinMs)
    },
    async atomically(changes) {
      await database.transaction(async (transaction) => {
        for (const change of changes(transaction as unknown as Db))
          if (!isRows(change)) await change
          else if (change.rows.length > 0) {
            const { before, after } = insertOf(change)
            await transaction.execute(sql`${sql.raw(before)}${asJson(change)}${sql.raw(after)}`)
          }
      })
    },
    isDuplicate: (error) => isUniqueViolation(error),
    async ping() {
      await pool.run('select 1', [], PING_MS)
    },
    async position() {
      const [row] = await pool.run('select pg_current_wal_lsn()::text as position', [], PING_MS)
      return String(row?.['position'])
    },
    async lagMs(position) {
      const untilMs = performance.now() + CATCH_UP_MS
      for (;;) {
        const [row] = await pool.run(LAG, [position ?? null], PING_MS)
        const lag = row?.['lag'] ?? null
        const lagMs = lag === null ? null : Math.round(Number(lag))
        if (lagMs === 0 || position === undefined || performance.now() > untilMs) return lagMs
        await sleep(LOOK_EVERY_MS)
      }
    },
    close() {
      closing.abort()
      clearInterval(looking)
      return pool.end()
    },
  }
}

/** Host and name, without user and password; nothing for what cannot be read or names no host. */
function placeOf(url: string): string {
  const { host, pathname } = URL.canParse(url) ? new URL(url) : { host: '', pathname: '' }
  return host === '' ? '' : ` at ${host}${pathname}`
}

/** One statement for all tables, so that a commit costs one round trip; `$1`, `$2` … are the rows of each as JSON. */
function insertAll(additions: readonly Rows[]): string {
  const inserts = additions.map((rows, at) => {
    const { before, after } = insertOf(rows)
    return `${before}$${String(at + 1)}${after}`
  })
  const last = inserts.pop() ?? ''
  const others = inserts.map((insert, at) => `t${String(at)} as (${insert})`)
  return others.length === 0 ? last : `with ${others.join(', ')} ${last}`
}

/** A statement in two halves, between which the rows stand as JSON: a parameter. */
function insertOf({ table, rows }: Rows): { before: string; after: string } {
  const name = `"${getTableName(table)}"`
  // What no row gives is the database's to give: a number that it counts up, a default.
  const given = namesOf(table).filter(([key]) => rows.some((row) => row[key] !== undefined))
  const columns = given.map(([, column]) => `"${column}"`).join(', ')
  return {
    before: `insert into ${name} (${columns}) select ${columns} from json_populate_recordset(null::${name}, `,
    after: '::json) on conflict do nothing',
  }
}

/** Under the names of the columns. PostgreSQL refuses NUL in texts. */
function asJson({ table, rows }: Rows): string {
  const names = namesOf(table)
  const named = rows.map((row) => Object.fromEntries(names.map(([key, name]) => [name, inJson(row[key])])))
  return JSON.stringify(named).replaceAll('\\u0000', '')
}

/** JSON has no bytes; PostgreSQL reads them in its own notation. */
const inJson = (value: unknown): unknown =>
  value instanceof Uint8Array ? `\\x${Buffer.from(value).toString('hex')}` : (value ?? null)

const known = new WeakMap<SQLiteTable, [key: string, name: string][]>()

function namesOf(table: SQLiteTable): [key: string, name: string][] {
  const names =
    known.get(table) ??
    Object.entries(getTableColumns(table)).map(([key, { name }]): [string, string] => [key, name])
  known.set(table, names)
  return names
}

/** On a connection of its own: a migration may take longer than what the pool allows. */
async function migrateUnderLock(
  url: string,
  migrationsFolder: string,
  lookAtClock: DatabaseClock['look'],
): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 })
  client.on('error', () => undefined)
  await client.connect()
  try {
    await client.query('select pg_advisory_lock($1)', [MIGRATION_LOCK])
    await migrate(drizzle(client), { migrationsFolder })
    await lookAtClock(client)
  } finally {
    // The lock ends with the connection.
    await client.end()
  }
}

function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  return ('code' in error && error.code === UNIQUE_VIOLATION) || isUniqueViolation(error.cause)
}
