/** Row 14: a process dies in the middle of a migration, two start at once: they find what was, and make what is to be. */
import { fork, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import Database from 'better-sqlite3'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import pg from 'pg'
import { beforeAll, expect } from 'vitest'

import { openPostgres } from '#store/open.postgres.ts'
import { openSqlite } from '#store/open.sqlite.ts'

import { buildChild } from '../support/built-child.ts'
import type { Job } from '../support/migrating-child.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { isLong, missing, reliabilityTest, type Tally } from '../support/reliability.ts'

const bin = await findPostgres()

/** What the two engines have apart. */
interface Engine {
  name: 'sqlite' | 'postgres'
  /** The URL of a database that does not exist yet. */
  create(): Promise<string>
  /** Brings the tables to where this folder of migrations ends. */
  migrate(url: string, folder: string): Promise<void>
  /** Of all tables, columns, keys and indexes, and of which migrations were done. */
  hash(url: string): Promise<string>
}

interface Journal {
  entries: { tag: string }[]
}

const hashOf = (rows: unknown[]) => createHash('sha256').update(JSON.stringify(rows)).digest('hex')

const folderOf = ({ name }: Engine) => path.resolve('sidecar/src/store/migrations', name)

function sqliteIn(dir: string): Engine {
  let count = 0
  return {
    name: 'sqlite',
    create: () => Promise.resolve(`file:${path.join(dir, `${String(count++)}.sqlite`)}`),
    migrate: (url, folder) => openSqlite(url.slice('file:'.length), folder).close(),
    hash(url) {
      const client = new Database(url.slice('file:'.length))
      const tables = client.prepare('select type, name, sql from sqlite_master order by type, name').all()
      const hasRun = tables.some((row) => (row as { name: string }).name === '__drizzle_migrations')
      const done = hasRun ? client.prepare('select hash, created_at from __drizzle_migrations').all() : []
      client.close()
      return Promise.resolve(hashOf([...tables, ...done]))
    },
  }
}

const SCHEMA = `
  select table_schema || '.' || table_name || '.' || column_name as name,
    concat_ws(' ', data_type, is_nullable, column_default) as what
    from information_schema.columns where table_schema in ('public', 'drizzle')
  union all select indexname, indexdef from pg_indexes where schemaname in ('public', 'drizzle')
  union all select conname, pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace
  order by 1, 2`

async function askPostgres(url: string, ...queries: string[]): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const rows: unknown[] = []
    for (const query of queries) rows.push(...(await client.query<object>(query)).rows)
    return rows
  } finally {
    await client.end()
  }
}

function postgresAt(url: string): Engine {
  let count = 0
  return {
    name: 'postgres',
    async create() {
      const database = `m${String(count++)}`
      await askPostgres(url, `create database ${database}`)
      return url.replace(/postgres$/, database)
    },
    async migrate(where, folder) {
      await (await openPostgres(where, folder)).close()
    },
    async hash(where) {
      const [{ has } = { has: null }] = (await askPostgres(
        where,
        `select to_regclass('drizzle.__drizzle_migrations') as has`,
      )) as { has: string | null }[]
      const done = 'select hash, created_at from drizzle.__drizzle_migrations order by created_at'
      return hashOf(await askPostgres(where, SCHEMA, ...(has === null ? [] : [done])))
    },
  }
}

let childFile: string
beforeAll(async () => {
  childFile = await buildChild('migrating-child')
})

async function startChild(): Promise<ChildProcess> {
  const child = fork(childFile, { execArgv: [] })
  await once(child, 'message')
  return child
}

async function open(child: ChildProcess, url: string): Promise<unknown> {
  const answer = once(child, 'message')
  child.send({ url } satisfies Job)
  return ((await answer) as [unknown])[0]
}

/** The migrations before `count`, as an older version of Troupe has them. */
async function olderFolder(engine: Engine, count: number, dir: string): Promise<string> {
  const folder = path.join(dir, `${engine.name}-${String(count)}`)
  await cp(folderOf(engine), folder, { recursive: true })
  const file = path.join(folder, 'meta/_journal.json')
  const journal = JSON.parse(await readFile(file, 'utf8')) as Journal
  await writeFile(file, JSON.stringify({ ...journal, entries: journal.entries.slice(0, count) }))
  return folder
}

/** Where to die in a migration; the long form takes each place. */
function placesIn(statements: readonly string[]): string[] {
  const middle = Math.ceil(statements.length / 2)
  return isLong ? [...statements] : statements.slice(middle, middle + 1)
}

async function dieEverywhere(engine: Engine, dir: string, { figures }: Tally): Promise<void> {
  const migrations = readMigrationFiles({ migrationsFolder: folderOf(engine) })
  const whole = await engine.create()
  await engine.migrate(whole, folderOf(engine))
  const wanted = await engine.hash(whole)
  const starters = await Promise.all([startChild(), startChild()])
  let next = startChild()
  let kills = 0
  for (const [count, { sql }] of migrations.entries()) {
    const older = await olderFolder(engine, count, dir)
    for (const diesBefore of placesIn(sql)) {
      const url = await engine.create()
      if (count > 0) await engine.migrate(url, older)
      const before = count > 0 ? await engine.hash(url) : undefined
      const victim = await next
      next = startChild()
      const ended = once(victim, 'exit')
      victim.send({ url, diesBefore } satisfies Job)
      expect(await ended).toEqual([null, 'SIGKILL'])
      kills += 1
      // Nothing of it is there by half.
      if (before !== undefined) expect(await engine.hash(url)).toBe(before)
      expect(await Promise.all(starters.map((starter) => open(starter, url)))).toEqual(['opened', 'opened'])
      expect(await engine.hash(url)).toBe(wanted)
    }
  }
  for (const child of [...starters, await next]) child.disconnect()
  Object.assign(figures, { migrations: migrations.length, kills, 'two starters after each': kills })
}

const dieOn =
  (name: string, openEngine: (dir: string) => Promise<Engine & { stop?: () => Promise<void> }>) =>
  async (tally: Tally) => {
    const dir = await mkdtemp(path.join(tmpdir(), `troupe-migrate-${name}-`))
    const engine = await openEngine(dir)
    try {
      await dieEverywhere(engine, dir, tally)
    } finally {
      await engine.stop?.()
      await rm(dir, { recursive: true, force: true })
    }
  }

const timeoutMs = isLong ? 900_000 : 120_000

reliabilityTest(
  14,
  'migration-crash (SQLite)',
  dieOn('sqlite', (dir) => Promise.resolve(sqliteIn(dir))),
  { timeoutMs },
)

reliabilityTest(
  14,
  'migration-crash (PostgreSQL)',
  dieOn('postgres', async () => {
    const server = await startPostgres(bin ?? '')
    return { ...postgresAt(server.url), stop: server.stop }
  }),
  { timeoutMs, skip: missing({ PostgreSQL: bin !== undefined }) },
)
