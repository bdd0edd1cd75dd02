/**
 * Keeps events in a SQLite file until the database takes them, on a thread of its own. Each process holds one file of the
 * folder locked; what others left behind when they died is taken over. Plain JavaScript for the reason of `append-worker.mjs`.
 */
import { mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'

import Database from 'better-sqlite3'

/** @typedef {{ id: string, kind: string, body: string }} Event */

const NAME = /^outbox-(\d+)\.sqlite$/
const DAMAGED = /^outbox-\d+\.sqlite\.damaged-(\d+)/
const PAGE_BYTES = 4_096
const MOST_PROCESSES = 256
/** Written back this often, so that the log stays small beside a small file. */
const CHECKPOINT_PAGES = 200

/** Of what was put aside: events that the database refuses, and damaged files. Time enough to look at them. */
const ASIDE_MS = 30 * 86_400_000
const DAY_MS = 86_400_000

/** @type {{ dir: string, mostBytes: number }} */
const { dir, mostBytes } = workerData
let quarantined = 0
let file = ''
/** @type {import('better-sqlite3').Database} */
let database

/** Throws when another process holds it, and when it is no sound database. */
function openFile(/** @type {string} */ name) {
  const opened = new Database(name)
  try {
    opened.pragma('busy_timeout = 0')
    // Before anything is read: then no second process gets in until this one is gone, however it ends.
    opened.pragma('locking_mode = EXCLUSIVE')
    opened.pragma('journal_mode = WAL')
    opened.pragma('synchronous = FULL')
    opened.pragma(`wal_autocheckpoint = ${CHECKPOINT_PAGES}`)
    opened.pragma(`max_page_count = ${Math.max(16, Math.floor(mostBytes / PAGE_BYTES))}`)
    opened.exec(
      `create table if not exists events (seq integer primary key autoincrement, id text not null unique, kind text not null, body text not null);
       create table if not exists set_aside (id text primary key, kind text not null, body text not null, at_ms integer)`,
    )
    if (opened.pragma('quick_check(1)', { simple: true }) !== 'ok')
      throw Object.assign(new Error('damaged'), { code: 'SQLITE_CORRUPT' })
    dateAside(opened)
    return opened
  } catch (error) {
    opened.close()
    throw error
  }
}

/** Files of older versions do not say when something was put aside: their time begins now. */
function dateAside(/** @type {import('better-sqlite3').Database} */ of) {
  const columns = /** @type {{ name: string }[]} */ (of.pragma('table_info(set_aside)'))
  if (!columns.some(({ name }) => name === 'at_ms')) of.exec('alter table set_aside add column at_ms integer')
  of.prepare('update set_aside set at_ms = ? where at_ms is null').run(Date.now())
  of.prepare('delete from set_aside where at_ms < ?').run(Date.now() - ASIDE_MS)
}

function forgetDamaged() {
  for (const entry of readdirSync(dir)) {
    const [, atMs] = DAMAGED.exec(entry) ?? []
    if (atMs !== undefined && Number(atMs) < Date.now() - ASIDE_MS)
      rmSync(path.join(dir, entry), { force: true })
  }
}

const codeOf = (/** @type {unknown} */ error) =>
  error instanceof Error && 'code' in error ? String(error.code) : 'unknown'

const isDamage = (/** @type {string} */ code) => /^SQLITE_(CORRUPT|NOTADB)/.test(code)
const isTaken = (/** @type {string} */ code) => /^SQLITE_(BUSY|LOCKED)/.test(code)

/** Puts a damaged file aside under another name, and saves from it what can be read. */
function openOrQuarantine(/** @type {string} */ name) {
  try {
    return openFile(name)
  } catch (error) {
    if (!isDamage(codeOf(error))) throw error
  }
  quarantined += 1
  const aside = `${name}.damaged-${Date.now()}`
  for (const suffix of ['', '-wal', '-shm']) {
    try {
      renameSync(name + suffix, aside + suffix)
    } catch {
      // There was none.
    }
  }
  const fresh = openFile(name)
  salvage(aside, fresh)
  return fresh
}

/** From both ends up to the damage. */
function salvage(/** @type {string} */ name, /** @type {import('better-sqlite3').Database} */ into) {
  for (const order of ['asc', 'desc']) {
    /** @type {import('better-sqlite3').Database | undefined} */
    let damaged
    try {
      damaged = new Database(name)
      for (const row of damaged.prepare(`select id, kind, body from events order by seq ${order}`).iterate())
        if (isWhole(row)) add(into, /** @type {Event} */ (row))
    } catch {
      // Here the damage begins.
    } finally {
      damaged?.close()
    }
  }
}

function isWhole(/** @type {unknown} */ row) {
  const { id, kind, body } = /** @type {Partial<Record<string, unknown>>} */ (row)
  if (typeof id !== 'string' || typeof kind !== 'string' || typeof body !== 'string') return false
  try {
    JSON.parse(body)
    return true
  } catch {
    return false
  }
}

function add(/** @type {import('better-sqlite3').Database} */ into, /** @type {Event} */ { id, kind, body }) {
  into
    .prepare('insert into events (id, kind, body) values (?, ?, ?) on conflict do nothing')
    .run(id, kind, body)
}

function open() {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (let number = 1; number <= MOST_PROCESSES && file === ''; number++) {
    const name = path.join(dir, `outbox-${number}.sqlite`)
    try {
      database = openOrQuarantine(name)
      file = name
    } catch (error) {
      if (!isTaken(codeOf(error))) throw error
    }
  }
  if (file === '') throw Object.assign(new Error('taken'), { code: 'SQLITE_BUSY' })
  adopt()
  forgetDamaged()
  setInterval(() => {
    try {
      dateAside(database)
      forgetDamaged()
    } catch {
      // A disk that is full; tomorrow again.
    }
  }, DAY_MS).unref()
}

/** What processes that are gone left behind becomes ours. */
function adopt() {
  for (const entry of readdirSync(dir)) {
    const name = path.join(dir, entry)
    if (!NAME.test(entry) || name === file) continue
    try {
      const other = openOrQuarantine(name)
      const rows = /** @type {Event[]} */ (
        other.prepare('select id, kind, body from events order by seq').all()
      )
      database.transaction(() => rows.forEach((row) => add(database, row)))()
      other.prepare('delete from events').run()
      other.close()
    } catch {
      // Another process has it.
    }
  }
}

/** Damage that shows only now is dealt with as at the start. */
function write(/** @type {() => void} */ work) {
  try {
    database.transaction(work).immediate()
  } catch (error) {
    if (!isDamage(codeOf(error))) throw error
    database.close()
    database = openOrQuarantine(file)
    database.transaction(work).immediate()
  }
}

/** A full disk takes no deletion either; when nothing is left to be kept, a new file needs no room of the old one. */
function startAnew() {
  database.close()
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true })
  database = openFile(file)
}

function remove(/** @type {number} */ untilSeq) {
  try {
    write(() => void database.prepare('delete from events where seq <= ?').run(untilSeq))
  } catch (error) {
    const left = database.prepare('select count(*) from events where seq > ?').pluck().get(untilSeq)
    if (left !== 0) throw error
    startAnew()
  }
}

/** @type {Record<string, (job: any) => unknown>} */
const jobs = {
  open,
  append: ({ events }) => write(() => events.forEach((/** @type {Event} */ event) => add(database, event))),
  oldest: ({ limit }) =>
    database.prepare('select seq, id, kind, body from events order by seq limit ?').all(limit),
  remove: ({ untilSeq }) => remove(untilSeq),
  setAside: ({ seq }) =>
    write(() => {
      database
        .prepare(
          'insert into set_aside (id, kind, body, at_ms) select id, kind, body, ? from events where seq = ? on conflict do nothing',
        )
        .run(Date.now(), seq)
      database.prepare('delete from events where seq = ?').run(seq)
    }),
}

function measure() {
  const pending = Number(database.prepare('select count(*) from events').pluck().get())
  const used =
    Number(database.pragma('page_count', { simple: true })) -
    Number(database.pragma('freelist_count', { simple: true }))
  return { pending, usedShare: (used * PAGE_BYTES) / mostBytes, quarantined }
}

parentPort?.on('message', (job) => {
  if (job.name === 'close') {
    database?.close()
    parentPort?.close()
    return
  }
  try {
    const result = jobs[job.name]?.(job)
    parentPort?.postMessage({ id: job.id, result, ...measure() })
  } catch (error) {
    parentPort?.postMessage({ id: job.id, code: codeOf(error) })
  }
})
