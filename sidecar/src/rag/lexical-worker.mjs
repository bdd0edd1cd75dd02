/**
 * Words in SQLite, on a thread of its own: a search takes up to 100 ms in a large base, in which every open stream would stand
 * still. FTS5 without a copy of the texts; the scope is a word of its own column, because a join with the pieces takes ten
 * times as long (54 ms against 5 ms in 100,000 pieces).
 */
import { workerData } from 'node:worker_threads'

import Database from 'better-sqlite3'

import { serveThread } from './serve-thread.mjs'
import { indexWords } from './words.mjs'

/** Raised when the words or the columns change: the index is then empty and is built again from the pieces. */
const VERSION = 1
/** Counts of words that are remembered until their scope changes. */
const COUNTS_KEPT = 50_000

/**
 * @typedef {{ id: number, documentId: string, header: string, text: string }} Entry
 * @typedef {{ id: number, score: number, has?: number[] }} Hit
 */

const database = new Database(workerData.file)
database.pragma('journal_mode = WAL')
// What a power cut takes is built again from the pieces.
database.pragma('synchronous = NORMAL')
if (database.pragma('user_version', { simple: true }) !== VERSION) {
  database.exec('drop table if exists words; drop table if exists pieces;')
  database.pragma(`user_version = ${VERSION}`)
}
// The words come ready: separated by spaces, of letters and digits. 'ascii' takes everything else for a letter.
database.exec(`
  create virtual table if not exists words using fts5(
    scope, header, body, content='', contentless_delete=1, tokenize='ascii');
  create table if not exists pieces (id integer primary key, scope text not null, document text not null);
  create index if not exists pieces_scope on pieces (scope);
  create index if not exists pieces_document on pieces (document);
`)

const insertWords = database.prepare('insert into words (rowid, scope, header, body) values (?, ?, ?, ?)')
const deleteWords = database.prepare('delete from words where rowid = ?')
const insertPiece = database.prepare('insert into pieces (id, scope, document) values (?, ?, ?)')
const deletePiece = database.prepare('delete from pieces where id = ?')
const idsOfDocument = database.prepare('select id from pieces where document = ?').pluck()
const idsOfScope = database.prepare('select id from pieces where scope = ?').pluck()
const isKnown = database.prepare('select 1 from pieces where id = ?').pluck()
const countScope = database.prepare('select count(*) from pieces where scope = ?').pluck()
const countAll = database.prepare('select count(*) from pieces').pluck()
const find = database.prepare(
  'select rowid as id, -bm25(words, 0, 1, 1) as score from words where words match ? order by bm25(words, 0, 1, 1), rowid limit ?',
)
const countMatches = database.prepare('select count(*) from words where words match ?').pluck()
// The plus keeps FTS5 from seeking the rows, which finds words that a replaced row had before.
const among = database
  .prepare('select rowid from words where words match ? and +rowid in (select value from json_each(?))')
  .pluck()

/** By word and scopes. @type {Map<string, number>} */
const counted = new Map()

/** Pieces of each scope, and of all under no name: to count 100,000 takes 5 ms. @type {Map<string | undefined, number>} */
const sizes = new Map()

function forget() {
  counted.clear()
  sizes.clear()
}

/** @param {string} [scope] */
function sizeOf(scope) {
  const size = sizes.get(scope) ?? Number(scope === undefined ? countAll.get() : countScope.get(scope))
  sizes.set(scope, size)
  return size
}

/** @param {unknown[]} ids */
function remove(ids) {
  for (const id of ids) {
    deleteWords.run(id)
    deletePiece.run(id)
  }
}

/**
 * What stands before the words: nothing where the scopes are all there is, since looking them up takes longer than the words do.
 *
 * @param {readonly string[]} scopes
 */
function within(scopes) {
  const pieces = [...new Set(scopes)].reduce((sum, scope) => sum + sizeOf(scope), 0)
  return pieces === sizeOf() ? '' : `(${scopes.map((scope) => `scope:"${scope}"`).join(' OR ')}) AND `
}

/**
 * @param {readonly string[]} scopes
 * @param {string} word
 */
function countOf(scopes, word) {
  const key = `${word} ${scopes.join(' ')}`
  const known = counted.get(key)
  if (known !== undefined) return known
  const count = Number(countMatches.get(`${within(scopes)}{header body}:"${word}"`))
  if (counted.size >= COUNTS_KEPT) counted.clear()
  counted.set(key, count)
  return count
}

const methods = {
  put: database.transaction((/** @type {{ scope: string, entries: Entry[] }} */ { scope, entries }) => {
    forget()
    for (const { id, documentId, header, text } of entries) {
      if (isKnown.get(id) !== undefined) remove([id])
      insertPiece.run(id, scope, documentId)
      insertWords.run(id, scope, indexWords(header).join(' '), indexWords(text).join(' '))
    }
  }),
  removeDocument: database.transaction((/** @type {string} */ documentId) => {
    forget()
    remove(idsOfDocument.all(documentId))
  }),
  removeScope: database.transaction((/** @type {string} */ scope) => {
    forget()
    remove(idsOfScope.all(scope))
  }),
  /** @param {{ scopes: string[], words: string[], limit: number, withWords: number }} search */
  search({ scopes, words, limit, withWords }) {
    const any = words.map((word) => `"${word}"`).join(' OR ')
    const hits = /** @type {Hit[]} */ (find.all(`${within(scopes)}{header body}:(${any})`, limit))
    const first = hits.slice(0, withWords)
    const ids = JSON.stringify(first.map(({ id }) => id))
    for (const hit of first) hit.has = []
    for (const [index, word] of words.entries()) {
      const having = new Set(among.all(`{header body}:"${word}"`, ids))
      for (const hit of first) if (having.has(hit.id)) hit.has?.push(index)
    }
    const total = scopes.reduce((sum, scope) => sum + sizeOf(scope), 0)
    return { hits, counts: words.map((word) => countOf(scopes, word)), total }
  },
  count: (/** @type {string} */ scope) => sizeOf(scope),
  ping: () => undefined,
}

serveThread(methods, () => database.close())
