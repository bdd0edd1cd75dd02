/**
 * Adds rows to a SQLite file on a thread of its own: a checkpoint of the log takes up to 16 ms, in which every open stream
 * would stand still. Plain JavaScript, so that it runs from the source and beside the bundle alike.
 */
import { parentPort, workerData } from 'node:worker_threads'

import Database from 'better-sqlite3'

/**
 * @typedef {object} Job
 * @property {number} id
 * @property {string} batch JSON of `Addition`s
 */

/**
 * @typedef {object} Addition
 * @property {string} insert SQL with a question mark for each value
 * @property {unknown[][]} rows
 */

const database = new Database(workerData.file)
database.pragma('synchronous = FULL')
// As on the other connection: pages that are rearranged must not keep copies of rows that are deleted later.
database.pragma('secure_delete = ON')
database.pragma(`busy_timeout = ${String(workerData.busyTimeoutMs)}`)

/** @type {Map<string, import('better-sqlite3').Statement>} */
const prepared = new Map()

/** @param {string} insert */
function statementFor(insert) {
  const known = prepared.get(insert)
  if (known !== undefined) return known
  const statement = database.prepare(insert)
  prepared.set(insert, statement)
  return statement
}

const addAll = database.transaction((/** @type {Addition[]} */ batch) => {
  for (const { insert, rows } of batch) {
    const statement = statementFor(insert)
    for (const row of rows) statement.run(row)
  }
})

parentPort?.on('message', (/** @type {Job | 'close'} */ job) => {
  if (job === 'close') {
    database.close()
    parentPort?.close()
    return
  }
  try {
    addAll(JSON.parse(job.batch))
    parentPort?.postMessage({ id: job.id })
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    parentPort?.postMessage({ id: job.id, code })
  }
})
