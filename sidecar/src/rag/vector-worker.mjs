/**
 * Vectors in SQLite, on a thread of its own. Small scopes are compared one by one, which is exact. In large ones the signs of
 * the numbers (1 bit each, kept in memory) choose the candidates, which are then compared exactly: 5 ms instead of 200 ms in
 * 100,000 pieces. `sqlite-vec` does the comparing where it can be loaded, JavaScript elsewhere.
 */
import { workerData } from 'node:worker_threads'

import Database from 'better-sqlite3'
import * as sqliteVec from 'sqlite-vec'

import { serveThread } from './serve-thread.mjs'

const VERSION = 1
/** Up to so many pieces every vector is compared: about 10 ms. */
const EXACT_PIECES = 4_096
/** Candidates for each wanted hit; 20 find what comparing all finds in 99 of 100 cases (`tests/bench/search.bench.ts`). */
const CANDIDATES = 20
/** Signs of so many scopes stay in memory; 100,000 pieces of 384 numbers are 5 MB. */
const SCOPES_KEPT = 16

/**
 * @typedef {{ id: number, documentId: string, vector: Uint8Array }} Item
 * @typedef {{ id: number, similarity: number }} Hit
 * @typedef {{ rows: Float64Array, signs: Uint32Array }} Signs `rows` are those of `vectors`
 */

const database = new Database(workerData.file)
database.pragma('journal_mode = WAL')
// What a power cut takes is built again from the kept vectors.
database.pragma('synchronous = NORMAL')
// Neighbouring vectors are read together; 384 numbers are 1.5 kB.
database.pragma('mmap_size = 268435456')
database.exec(`
  create table if not exists collections (
    number integer primary key, fingerprint text not null unique, dimensions integer not null);
  create table if not exists vectors (
    id integer primary key, collection integer not null, piece integer not null, scope text not null,
    document text not null, vector blob not null, unique (collection, piece));
  create index if not exists vectors_scope on vectors (collection, scope);
  create index if not exists vectors_document on vectors (document);
  create table if not exists signs (
    collection integer not null, scope text not null, piece integer not null, signs blob not null,
    primary key (collection, scope, piece)) without rowid;
`)
database.pragma(`user_version = ${VERSION}`)

const isNative = workerData.isNative !== false && loadsExtension()

function loadsExtension() {
  try {
    sqliteVec.load(database)
    return true
  } catch {
    // No build for this machine: the same answers, slower.
    return false
  }
}

const collectionOf = database.prepare('select number, dimensions from collections where fingerprint = ?')
const addCollection = database.prepare('insert into collections (fingerprint, dimensions) values (?, ?)')
const insertVector = database.prepare(
  'insert into vectors (collection, piece, scope, document, vector) values (?, ?, ?, ?, ?)',
)
const insertSigns = database.prepare(
  'insert into signs (collection, scope, piece, signs) values (?, ?, ?, ?)',
)
const scopeOfPiece = database.prepare('select scope from vectors where collection = ? and piece = ?').pluck()
const deleteVector = database.prepare('delete from vectors where collection = ? and piece = ?')
const deleteSigns = database.prepare('delete from signs where collection = ? and scope = ? and piece = ?')
const ofDocument = database.prepare('select collection, scope, piece from vectors where document = ?')
const deleteScopeVectors = database.prepare(
  'delete from vectors where scope = ? and collection not in (select number from collections where fingerprint = ?)',
)
const deleteScopeSigns = database.prepare(
  'delete from signs where scope = ? and collection not in (select number from collections where fingerprint = ?)',
)
const countScope = database.prepare('select count(*) from vectors where collection = ? and scope = ?').pluck()
const signsOf = database
  .prepare(
    `select vectors.id, signs.signs from signs
     join vectors on vectors.collection = signs.collection and vectors.piece = signs.piece
     where signs.collection = ? and signs.scope = ?`,
  )
  .raw()

const LIST = '(select value from json_each(?))'
const nearest = (/** @type {string} */ condition) =>
  isNative
    ? database.prepare(
        `select piece as id, vec_distance_cosine(vector, ?) as distance from vectors
         where collection = ? and ${condition} order by distance, piece limit ?`,
      )
    : database.prepare(`select piece as id, vector from vectors where collection = ? and ${condition}`)
const nearestInScopes = nearest(`scope in ${LIST}`)
const nearestOfRows = nearest(`id in ${LIST}`)

/** @type {Map<string, Signs>} */
const kept = new Map()

/** How many pieces a scope has: to count 100,000 takes 5 ms. @type {Map<string, number>} */
const sizes = new Map()

function forget() {
  kept.clear()
  sizes.clear()
}

/** @param {number} collection @param {string} scope */
function sizeOf(collection, scope) {
  const key = `${collection} ${scope}`
  const size = sizes.get(key) ?? Number(countScope.get(collection, scope))
  sizes.set(key, size)
  return size
}

/** @param {Uint8Array} bytes */
const floats = (bytes) =>
  new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))

/** One bit for each number, padded to whole 32-bit words. @param {Float32Array} vector */
function signsOfVector(vector) {
  const signs = new Uint32Array(Math.ceil(vector.length / 32))
  for (let index = 0; index < vector.length; index++)
    if ((vector[index] ?? 0) > 0) signs[index >> 5] = (signs[index >> 5] ?? 0) | (1 << (index & 31))
  return signs
}

/** @param {number} collection @param {string} scope @param {number} words */
function loadSigns(collection, scope, words) {
  const key = `${collection} ${scope}`
  const known = kept.get(key)
  kept.delete(key)
  const loaded = known ?? readSigns(collection, scope, words)
  kept.set(key, loaded)
  const [oldest] = kept.keys()
  if (kept.size > SCOPES_KEPT && oldest !== undefined) kept.delete(oldest)
  return loaded
}

/** @param {number} collection @param {string} scope @param {number} words */
function readSigns(collection, scope, words) {
  const rows = /** @type {[number, Uint8Array][]} */ (signsOf.all(collection, scope))
  const bytes = new Uint8Array(rows.length * words * 4)
  for (const [index, [, signs]] of rows.entries()) bytes.set(signs, index * words * 4)
  return { rows: Float64Array.from(rows, ([row]) => row), signs: new Uint32Array(bytes.buffer) }
}

/** How many bits of each 16-bit number are set: three times as fast as counting them each time. */
const BITS = new Uint8Array(0x10000)
for (let number = 1; number < BITS.length; number++)
  BITS[number] = /** @type {number} */ (BITS[number >> 1]) + (number & 1)

/** In how many bits each row differs from the question. @param {Uint32Array} signs @param {Uint32Array} question */
function distancesTo(signs, question) {
  const distances = new Uint16Array(signs.length / question.length)
  for (let row = 0, at = 0; row < distances.length; row++) {
    let distance = 0
    for (let word = 0; word < question.length; word++, at++) {
      const differing = /** @type {number} */ (signs[at]) ^ /** @type {number} */ (question[word])
      distance +=
        /** @type {number} */ (BITS[differing & 0xffff]) + /** @type {number} */ (BITS[differing >>> 16])
    }
    distances[row] = distance
  }
  return distances
}

/**
 * The rows whose signs differ least from the question's, by counting how many there are at each distance.
 *
 * @param {readonly Signs[]} scopes
 * @param {Uint32Array} question
 * @param {number} wanted
 */
function candidates(scopes, question, wanted) {
  const distances = scopes.map(({ signs }) => distancesTo(signs, question))
  const perDistance = new Uint32Array(question.length * 32 + 1)
  for (const of of distances)
    for (let row = 0; row < of.length; row++) {
      const distance = /** @type {number} */ (of[row])
      perDistance[distance] = /** @type {number} */ (perDistance[distance]) + 1
    }
  let furthest = 0
  for (let found = perDistance[0] ?? 0; found < wanted && furthest < question.length * 32;)
    found += perDistance[++furthest] ?? 0
  return scopes.flatMap(({ rows }, index) => {
    const of = /** @type {Uint16Array} */ (distances[index])
    /** @type {number[]} */
    const near = []
    for (let row = 0; row < of.length; row++)
      if (/** @type {number} */ (of[row]) <= furthest) near.push(/** @type {number} */ (rows[row]))
    return near
  })
}

/**
 * @param {import('better-sqlite3').Statement} statement
 * @param {number} collection
 * @param {readonly unknown[]} list
 * @param {Uint8Array} vector
 * @param {number} limit
 */
function compare(statement, collection, list, vector, limit) {
  const among = JSON.stringify(list)
  if (isNative) {
    const rows = /** @type {{ id: number, distance: number }[]} */ (
      statement.all(vector, collection, among, limit)
    )
    return rows.map(({ id, distance }) => ({ id, similarity: 1 - distance }))
  }
  const question = floats(vector)
  /** @type {Hit[]} */
  const hits = []
  for (const row of statement.iterate(collection, among)) {
    const { id, vector: bytes } = /** @type {{ id: number, vector: Uint8Array }} */ (row)
    const other = floats(bytes)
    let similarity = 0
    for (let index = 0; index < question.length; index++)
      similarity += (question[index] ?? 0) * (other[index] ?? 0)
    hits.push({ id, similarity })
  }
  return hits.sort((a, b) => b.similarity - a.similarity || a.id - b.id).slice(0, limit)
}

const methods = {
  put: database.transaction(
    (/** @type {{ fingerprint: string, scope: string, dimensions: number, items: Item[] }} */ wish) => {
      const { fingerprint, scope, dimensions, items } = wish
      let known = /** @type {{ number: number, dimensions: number } | undefined} */ (
        collectionOf.get(fingerprint)
      )
      if (known === undefined) {
        const { lastInsertRowid } = addCollection.run(fingerprint, dimensions)
        known = { number: Number(lastInsertRowid), dimensions }
      }
      if (known.dimensions !== dimensions) return { dimensions: known.dimensions }
      forget()
      for (const { id, documentId, vector } of items) {
        const before = scopeOfPiece.get(known.number, id)
        if (before !== undefined) {
          deleteSigns.run(known.number, before, id)
          deleteVector.run(known.number, id)
        }
        insertVector.run(known.number, id, scope, documentId, vector)
        insertSigns.run(known.number, scope, id, Buffer.from(signsOfVector(floats(vector)).buffer))
      }
      return undefined
    },
  ),
  removeDocument: database.transaction((/** @type {string} */ documentId) => {
    forget()
    for (const row of ofDocument.all(documentId)) {
      const { collection, scope, piece } =
        /** @type {{ collection: number, scope: string, piece: number }} */ (row)
      deleteSigns.run(collection, scope, piece)
      deleteVector.run(collection, piece)
    }
  }),
  removeScope: database.transaction((/** @type {{ scope: string, keep: string }} */ { scope, keep }) => {
    forget()
    deleteScopeVectors.run(scope, keep)
    deleteScopeSigns.run(scope, keep)
  }),
  /** @param {{ fingerprint: string, scopes: string[], vector: Uint8Array, limit: number }} search */
  search({ fingerprint, scopes, vector, limit }) {
    const known = /** @type {{ number: number, dimensions: number } | undefined} */ (
      collectionOf.get(fingerprint)
    )
    if (known === undefined) return { hits: [] }
    if (known.dimensions * 4 !== vector.byteLength) return { dimensions: known.dimensions }
    const pieces = scopes.reduce((sum, scope) => sum + sizeOf(known.number, scope), 0)
    if (pieces <= EXACT_PIECES) return { hits: compare(nearestInScopes, known.number, scopes, vector, limit) }
    const question = signsOfVector(floats(vector))
    const signs = scopes.map((scope) => loadSigns(known.number, scope, question.length))
    const among = candidates(signs, question, limit * CANDIDATES)
    return { hits: compare(nearestOfRows, known.number, among, vector, limit) }
  },
  /** @param {{ fingerprint: string, scope: string }} of */
  count({ fingerprint, scope }) {
    const known = /** @type {{ number: number } | undefined} */ (collectionOf.get(fingerprint))
    return known === undefined ? 0 : sizeOf(known.number, scope)
  },
  ping: () => undefined,
}

serveThread(methods, () => database.close())
