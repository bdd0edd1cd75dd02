/** What is kept of one person, as a zip archive of JSON and CSV. */
import { getTableColumns } from 'drizzle-orm'
import type { SQLiteColumn } from 'drizzle-orm/sqlite-core'
import { ZipFile } from 'yazl'

import type { Store } from '#store/store.ts'

import { personalTables } from './personal-rows.ts'

export interface PersonalExport {
  stores: Readonly<Record<string, Store>>
  persons: readonly string[]
  /** Texts that are kept outside of the tables, or sealed in them. */
  texts: Readonly<Record<string, unknown>>
  atMs: number
}

const README = `This archive holds everything that this installation of Troupe keeps about one person.

Each table is there twice: as JSON, and as CSV for a spreadsheet. Times are milliseconds since 1970. People, chats and answers
appear as pseudonyms: the columns "person", "chat" and "message". What the columns mean is written in docs/privacy.md of Troupe.
The chats themselves are kept by Open WebUI, which has an export of its own.
`

/** Columns that are sealed in the database: what they hold is among the texts. */
const SEALED = new Set(['text'])

export async function exportPerson({
  stores,
  persons,
  texts,
  atMs,
}: PersonalExport): Promise<NodeJS.ReadableStream> {
  const zip = new ZipFile()
  const mtime = new Date(atMs)
  const add = (name: string, text: string) => zip.addBuffer(Buffer.from(text), name, { mtime })
  add('README.txt', README)
  const seen = new Map<string, Record<string, unknown>[]>()
  for (const store of Object.values(stores))
    for (const { name, table, of } of personalTables(store)) {
      const rows = (await store.db.select().from(table).where(of(persons))) as Record<string, unknown>[]
      const known = seen.get(name) ?? []
      // Both databases may be one.
      seen.set(name, known.length > 0 ? known : rows.map((row) => readable(row, getTableColumns(table))))
    }
  for (const [name, rows] of seen) {
    if (rows.length === 0) continue
    add(`${name}.json`, JSON.stringify(rows, null, 2))
    add(`${name}.csv`, toCsv(rows))
  }
  for (const [name, value] of Object.entries(texts)) add(`${name}.json`, JSON.stringify(value, null, 2))
  zip.end()
  return zip.outputStream
}

function readable(row: Record<string, unknown>, columns: Record<string, SQLiteColumn>) {
  return Object.fromEntries(
    Object.entries(columns)
      .filter(([key]) => !SEALED.has(key))
      .map(([key, { name }]) => [name, row[key] ?? null]),
  )
}

function toCsv(rows: readonly Record<string, unknown>[]): string {
  const [first = {}] = rows
  const names = Object.keys(first)
  const lines = rows.map((row) => names.map((name) => cell(row[name])).join(','))
  return `${[names.join(','), ...lines].join('\r\n')}\r\n`
}

/** RFC 4180; what a spreadsheet would take for a formula is kept a text. */
function cell(value: unknown): string {
  if (value === null || value === undefined) return ''
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
