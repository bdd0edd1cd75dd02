/** The engines that search: which one it is follows from the URLs alone. An engine is loaded when it is used. */
import type { Pool } from 'pg'

import type { LexicalIndex } from './lexical.ts'
import type { VectorStore } from './vectors.ts'

export interface EngineOptions {
  /** Of the store: `file:…` or `postgres://…`. */
  databaseUrl: string
  /** The most that are opened to a PostgreSQL. */
  connections?: number
  /** How long a PostgreSQL may take to an answer. */
  answerTimeoutMs?: number
  /** Folder of the index files beside SQLite. */
  dataDir: string
  chromaUrl?: string | undefined
  /** Keeps several Troupes on one Chroma apart: letters and digits. */
  deployment: string
}

export interface Engines {
  lexical: LexicalIndex
  /** Undefined where PostgreSQL has no pgvector that we can use and no Chroma is named: words alone then answer. */
  vectors: VectorStore | undefined
  /** Why there are none, and what to do. */
  whyNoVectors?: string
  /** After the two were closed. */
  close(): Promise<void>
}

/** Connections for searches alone: a turn must not wait for them behind an import. More searches at once are no faster. */
const MOST_CONNECTIONS = 4
const CONNECT_TIMEOUT_MS = 5_000

/** A server that vanished without a word would keep all of them for ever. */
const ANSWER_TIMEOUT_MS = 30_000

/** Throws AppError `unavailable` when PostgreSQL does not answer; Chroma is not asked before it is used. */
export async function openEngines(options: EngineOptions): Promise<Engines> {
  const { databaseUrl, chromaUrl, deployment } = options
  const chroma =
    chromaUrl === undefined
      ? undefined
      : (await import('./vectors.chroma.ts')).openChroma({ url: chromaUrl, deployment })
  return databaseUrl.startsWith('file:') ? openBesideSqlite(options, chroma) : openInPostgres(options, chroma)
}

/** Files of their own: what is derived need not be backed up, and never waits for a lock of what is not. */
async function openBesideSqlite(
  { databaseUrl, dataDir }: EngineOptions,
  chroma: VectorStore | undefined,
): Promise<Engines> {
  const { openSqliteLexicalIndex } = await import('./lexical.sqlite.ts')
  const file = (name: string) =>
    databaseUrl === 'file::memory:' ? ':memory:' : `${dataDir}/knowledge-${name}.sqlite`
  const lexical = openSqliteLexicalIndex(file('words'))
  const vectors = chroma ?? (await import('./vectors.sqlite.ts')).openSqliteVectorStore(file('vectors'))
  return { lexical, vectors, close: () => Promise.resolve() }
}

async function openInPostgres(
  { databaseUrl, connections = MOST_CONNECTIONS, answerTimeoutMs = ANSWER_TIMEOUT_MS }: EngineOptions,
  chroma: VectorStore | undefined,
): Promise<Engines> {
  const { default: pg } = await import('pg')
  const pool: Pool = new pg.Pool({
    connectionString: databaseUrl,
    max: Math.min(connections, MOST_CONNECTIONS),
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: answerTimeoutMs,
    keepAlive: true,
  })
  // As in `store/open.postgres.ts`: the next query reports it.
  pool.on('error', () => undefined)
  pool.on('connect', (client) => client.on('error', () => undefined))
  const { openPostgresLexicalIndex } = await import('./lexical.postgres.ts')
  const { openPgvector, whyNoPgvector } = await import('./vectors.postgres.ts')
  try {
    const lexical = await openPostgresLexicalIndex(pool)
    const close = () => pool.end()
    const whyNoVectors = chroma === undefined ? await whyNoPgvector(pool) : undefined
    if (whyNoVectors !== undefined) return { lexical, vectors: undefined, whyNoVectors, close }
    return { lexical, vectors: chroma ?? openPgvector(pool), close }
  } catch (cause) {
    await pool.end()
    throw cause
  }
}
