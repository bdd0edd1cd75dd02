/**
 * Vectors in PostgreSQL with pgvector 0.8 or newer. One table for each fingerprint, since a column has one length; the scope is
 * a condition of every search, and the index goes on searching until it has enough pieces of the scope.
 */
import { createHash } from 'node:crypto'

import type pg from 'pg'

import { AppError } from '#base/errors.ts'

import { otherLength } from './fingerprint.ts'
import { scopeWord } from './scope.ts'
import type { VectorStore } from './vectors.ts'

/** pgvector's bound of an HNSW index over `vector`; longer ones are compared one by one. */
const LONGEST_INDEXED = 2_000
/** Candidates of the index; at least as many as a search wants. */
const SEARCH_WIDTH = 100
/**
 * The first that searches an index on and on (`hnsw.iterative_scan`): one before it finds nothing of a base that is a small part
 * of the table, and refuses the setting.
 */
const LEAST_VERSION = [0, 8] as const
/**
 * Vectors that are looked at for a base that is a small part of the table, and the work_mem that it takes. With the usual 20,000 and
 * 1 the index gave 64 of 100 pieces of a base that is a 300th of 80,000, with these all 100, in 112 ms; PostgreSQL compares so
 * small a base piece by piece where its statistics tell it so.
 */
const MOST_SCANNED = 40_000
const SCAN_MEMORY = 2
/** An arbitrary number that only this file locks, so that two replicas do not both make a table. */
const TABLE_LOCK = 7_218_032

const WRONG_LENGTH = '22000'
const NO_TABLE = '42P01'

const literal = (vector: Float32Array) => `[${vector.join(',')}]`
const codeOf = (error: unknown) => (error instanceof Error && 'code' in error ? String(error.code) : '')

/** Why vectors cannot lie there, and what to do; undefined where they can. Throws AppError `unavailable` without an answer. */
export async function whyNoPgvector(pool: pg.Pool): Promise<string | undefined> {
  try {
    await pool.query('create extension if not exists vector')
    const { rows } = await pool.query<{ version: string }>(
      "select extversion as version from pg_extension where extname = 'vector'",
    )
    const version = rows[0]?.version ?? '0'
    if (isNewEnough(version)) return undefined
    return (
      `PostgreSQL has pgvector ${version}, and Troupe needs ${LEAST_VERSION.join('.')} or newer: words alone find passages. ` +
      'Install it and run "alter extension vector update" in this database, or set CHROMA_URL'
    )
  } catch (error) {
    // SQLSTATE classes 0A, 42 and 58: it is not installed, or we may not.
    if (/^(0A|42|58)/.test(codeOf(error))) return NO_PGVECTOR
    throw gone(error)
  }
}

const NO_PGVECTOR =
  'PostgreSQL has no pgvector, or does not let this role create the extension: words alone find passages. Install it, or set CHROMA_URL'

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > LEAST_VERSION[0] || (major === LEAST_VERSION[0] && minor >= LEAST_VERSION[1])
}

const gone = (cause: unknown) =>
  new AppError('unavailable', 'The vectors in PostgreSQL cannot be searched; check that it runs', { cause })

/** The pool stays the caller's. Ask `whyNoPgvector` first. */
export function openPgvector(pool: pg.Pool): VectorStore {
  const tableOf = (fingerprint: string) =>
    `troupe_vectors_${createHash('sha256').update(fingerprint).digest('hex').slice(0, 24)}`
  const made = new Set<string>()

  async function run(sql: string, values: readonly unknown[] = []): Promise<pg.QueryResult> {
    return pool.query(sql, [...values]).catch((cause: unknown) => {
      throw gone(cause)
    })
  }

  async function lengthOf(table: string): Promise<number> {
    const { rows } = await run(
      "select atttypmod as length from pg_attribute where attrelid = $1::regclass and attname = 'vector'",
      [table],
    )
    return Number((rows[0] as { length: number } | undefined)?.length)
  }

  async function make(table: string, dimensions: number): Promise<void> {
    if (made.has(table)) return
    const index =
      dimensions <= LONGEST_INDEXED
        ? `create index if not exists ${table}_near on ${table} using hnsw (vector vector_cosine_ops);`
        : ''
    // One simple query is one transaction, so the lock ends with it.
    await run(`
      select pg_advisory_xact_lock(${String(TABLE_LOCK)});
      create table if not exists ${table} (
        id integer primary key, scope text not null, document text not null, vector vector(${String(dimensions)}) not null);
      create index if not exists ${table}_scope on ${table} (scope);
      create index if not exists ${table}_document on ${table} (document);
      ${index}`)
    made.add(table)
  }

  async function tables(): Promise<string[]> {
    const { rows } = await run(
      "select tablename as name from pg_tables where schemaname = current_schema() and tablename like 'troupe\\_vectors\\_%'",
    )
    return (rows as { name: string }[]).map(({ name }) => name)
  }

  return {
    kind: 'pgvector',
    async put(fingerprint, scope, items) {
      const [first] = items
      if (first === undefined) return
      const table = tableOf(fingerprint)
      await make(table, first.vector.length)
      const sql = `
        insert into ${table} (id, scope, document, vector)
        select id, $1, document, vector::vector from unnest($2::int[], $3::text[], $4::text[]) as t (id, document, vector)
        on conflict (id) do update set scope = excluded.scope, document = excluded.document, vector = excluded.vector`
      const columns = [
        items.map(({ id }) => id),
        items.map(({ documentId }) => documentId),
        items.map(({ vector }) => literal(vector)),
      ]
      await pool.query(sql, [scopeWord(scope), ...columns]).catch(async (cause: unknown) => {
        if (codeOf(cause) === WRONG_LENGTH) throw otherLength(await lengthOf(table))
        throw gone(cause)
      })
    },
    async removeDocument(documentId) {
      for (const table of await tables()) await run(`delete from ${table} where document = $1`, [documentId])
    },
    async removeScope(scope, keep) {
      for (const table of await tables())
        if (keep === undefined || table !== tableOf(keep))
          await run(`delete from ${table} where scope = $1`, [scopeWord(scope)])
    },
    async search({ fingerprint, scopes, vector, limit }) {
      if (scopes.length === 0) return []
      const table = tableOf(fingerprint)
      const names = scopes.map((scope) => `'${scopeWord(scope)}'`).join(', ')
      // Sent as one text, so that a search is one way to the server and back: the settings hold until its end.
      const sql = `
        set local hnsw.iterative_scan = strict_order; set local hnsw.ef_search = ${String(SEARCH_WIDTH)};
        set local hnsw.max_scan_tuples = ${String(MOST_SCANNED)}; set local hnsw.scan_mem_multiplier = ${String(SCAN_MEMORY)};
        select id, 1 - (vector <=> '${literal(vector)}') as similarity from ${table} where scope in (${names})
        order by vector <=> '${literal(vector)}' limit ${String(limit)}`
      try {
        // One result for each statement, of which the types know nothing.
        const answers = (await pool.query(sql)) as unknown as readonly pg.QueryResult<{
          id: number
          similarity: number
        }>[]
        return answers.at(-1)?.rows ?? []
      } catch (cause) {
        if (codeOf(cause) === NO_TABLE) return []
        if (codeOf(cause) === WRONG_LENGTH) throw otherLength(await lengthOf(table))
        throw gone(cause)
      }
    },
    async count(fingerprint, scope) {
      const sql = `select count(*)::int as count from ${tableOf(fingerprint)} where scope = $1`
      return pool.query(sql, [scopeWord(scope)]).then(
        ({ rows }) => (rows[0] as { count: number }).count,
        (cause: unknown) => {
          if (codeOf(cause) === NO_TABLE) return 0
          throw gone(cause)
        },
      )
    },
    async ping() {
      await run('select 1')
    },
    close: () => Promise.resolve(),
  }
}
