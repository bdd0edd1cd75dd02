/** Words that are planted where something secret or personal may stand, and looked for wherever it may come out or be kept. */
import { createHash, randomBytes } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'

import Database from 'better-sqlite3'
import pg from 'pg'

/** Where a word may stand, and why. Both by the beginnings of their names. */
export interface Keeping {
  words: readonly string[]
  places: readonly string[]
  because: string
}

export interface Hit {
  word: string
  place: string
}

/** What is looked through: a text, and where it stands (`log`, `sqlite call_records.person`). */
export interface Swept {
  place: string
  text: string
}

export interface Canaries {
  /** How many words. */
  readonly size: number
  /** The word of this name: the same each time. Letters and digits only, so that no encoding of addresses changes it. */
  of(name: string): string
  /** A secret that was not made here. */
  add(name: string, word: string): void
  /** Every name that stands somewhere: as it is, in Base64, or, of a person, who can be guessed, as a hash without a key. */
  find(swept: Swept): Hit[]
}

export function createCanaries(): Canaries {
  const words = new Map<string, string>()
  const add = (name: string, word: string) => void words.set(name, word)
  return {
    add,
    of(name) {
      const word = words.get(name) ?? `Canary${randomBytes(14).toString('hex')}${name.replace(/\W/g, '')}`
      add(name, word)
      return word
    },
    find({ place, text }) {
      const found = [...words].filter(([name, word]) =>
        formsOf(word, name.startsWith('person ')).some((form) => text.includes(form)),
      )
      return found.map(([name]) => ({ word: name, place }))
    },
    get size() {
      return words.size
    },
  }
}

/** Base64 of a word depends on how many bytes stand before it; its ends, on its neighbours. */
function formsOf(word: string, isGuessable: boolean): string[] {
  const encoded = [0, 1, 2].flatMap((shift) => {
    const bytes = Buffer.from('\0'.repeat(shift) + word)
    return (['base64', 'base64url'] as const).map((form) =>
      bytes.toString(form).replace(/=+$/, '').slice(4, -4),
    )
  })
  const hash = createHash('sha256').update(word)
  const hashes = (['hex', 'base64', 'base64url'] as const).map((form) => hash.copy().digest(form))
  return [word, ...encoded, ...(isGuessable ? hashes : [])]
}

/** Hits outside of their places, and keepings that nothing needs: one of those would hide a leak that comes later. */
export function judge(hits: readonly Hit[], keepings: readonly Keeping[]): { leaks: Hit[]; idle: Keeping[] } {
  const used = new Set<Keeping>()
  const leaks = hits.filter(({ word, place }) => {
    const begins = (beginnings: readonly string[], text: string) =>
      beginnings.some((one) => text.startsWith(one))
    const keeping = keepings.find(({ words, places }) => begins(words, word) && begins(places, place))
    if (keeping !== undefined) used.add(keeping)
    return keeping === undefined
  })
  return { leaks, idle: keepings.filter((keeping) => !used.has(keeping)) }
}

/** Column by column where a file is a database, byte by byte where it is none; and databases byte by byte as well. */
export async function* sweepFolder(folder: string): AsyncGenerator<Swept> {
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    const bytes = await readFile(file)
    // What was deleted may stand in a page that is not used any more.
    yield { place: `file ${path.relative(folder, file)}`, text: bytes.toString('latin1') }
    if (bytes.subarray(0, 15).toString() === 'SQLite format 3') yield* sweepSqlite(file)
  }
}

function* sweepSqlite(file: string): Generator<Swept> {
  const db = new Database(file, { readonly: true })
  const tables = db.prepare("select name from sqlite_master where type = 'table'").pluck().all() as string[]
  for (const table of tables) yield* columnsOf(table, db.prepare(`select * from "${table}"`).all() as Row[])
  db.close()
}

export async function* sweepPostgres(url: string): AsyncGenerator<Swept> {
  const client = new pg.Client(url)
  await client.connect()
  const { rows } = await client.query<{ name: string }>(
    "select table_schema || '.' || table_name as name from information_schema.tables where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')",
  )
  for (const { name } of rows) {
    const [schema = '', table = ''] = name.split('.')
    const found = await client.query<Row>(`select * from "${schema}"."${table}"`)
    yield* columnsOf(table, found.rows)
  }
  await client.end()
}

type Row = Record<string, unknown>

/** `table call_records.person`, whichever database it stands in. */
function* columnsOf(table: string, rows: readonly Row[]): Generator<Swept> {
  for (const column of Object.keys(rows[0] ?? {}))
    yield { place: `table ${table}.${column}`, text: rows.map((row) => textOf(row[column])).join('\n') }
}

function textOf(value: unknown): string {
  if (Buffer.isBuffer(value)) return value.toString('latin1')
  return typeof value === 'string' ? value : JSON.stringify(value ?? null)
}
