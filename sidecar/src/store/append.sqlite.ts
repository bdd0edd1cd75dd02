/** The way to the thread that adds rows (`append-worker.mjs`). */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

import { getTableColumns, getTableName } from 'drizzle-orm'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'

import { AppError } from '#base/errors.ts'

import type { Rows } from './store.ts'

export interface Appender {
  /** Resolves once the rows are on disk; a row whose key is taken is left out. Rejects as `Store.append`. */
  append(batch: readonly Rows[]): Promise<void>
  close(): Promise<void>
}

interface Waiting {
  resolve: () => void
  reject: (error: AppError) => void
}

interface Outcome {
  id: number
  /** Of SQLite, when the rows could not be added. */
  code?: string
}

/** The thread starts with the first rows; one that died is replaced for the next. */
export function createAppender(file: string, busyTimeoutMs: number): Appender {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | undefined
  let lastId = 0

  function start(): Worker {
    const started = new Worker(fileURLToPath(new URL('./append-worker.mjs', import.meta.url)), {
      workerData: { file, busyTimeoutMs },
    })
    // The process must be able to end while the thread has nothing to do.
    started.unref()
    started.on('message', ({ id, code }: Outcome) => {
      const { resolve, reject } = waiting.get(id) ?? {}
      waiting.delete(id)
      if (waiting.size === 0) started.unref()
      if (code === undefined) resolve?.()
      else reject?.(failed(code))
    })
    started.on('error', (error) => lose(error))
    started.on('exit', () => lose(undefined))
    return started
  }

  function lose(cause: unknown): void {
    worker = undefined
    for (const { reject } of waiting.values()) reject(failed('thread ended', cause))
    waiting.clear()
  }

  return {
    append(batch) {
      const additions = batch.map(({ table, rows }) => {
        const { insert, values } = statementOf(table)
        return { insert, rows: rows.map(values) }
      })
      return new Promise((resolve, reject) => {
        worker ??= start()
        lastId += 1
        waiting.set(lastId, { resolve, reject })
        worker.ref()
        worker.postMessage({ id: lastId, batch: JSON.stringify(additions) })
      })
    },
    async close() {
      if (worker === undefined) return
      const ended = new Promise((resolve) => worker?.once('exit', resolve))
      // Who waits for its end must not find the process over.
      worker.ref()
      worker.postMessage('close')
      await ended
    },
  }
}

const failed = (code: string, cause?: unknown) =>
  code.startsWith('SQLITE_CONSTRAINT')
    ? new AppError('invalid', 'SQLite refuses these rows', { cause, facts: { code } })
    : new AppError('unavailable', 'SQLite does not take more rows; check the disk of the data folder', {
        cause,
        facts: { code },
      })

interface Statement {
  insert: string
  /** A row as SQLite takes it, in the order of the columns. */
  values: (row: Readonly<Record<string, unknown>>) => unknown[]
}

const statements = new WeakMap<SQLiteTable, Statement>()

/** Built once: to have drizzle build a statement for each row costs more than to run it. */
export function statementOf(table: SQLiteTable): Statement {
  const known = statements.get(table)
  if (known !== undefined) return known
  const columns = Object.entries(getTableColumns(table))
  const names = columns.map(([, { name }]) => `"${name}"`).join(', ')
  const marks = columns.map(() => '?').join(', ')
  const statement: Statement = {
    insert: `insert into "${getTableName(table)}" (${names}) values (${marks}) on conflict do nothing`,
    values: (row) =>
      columns.map(([key, column]) => {
        const value = row[key] ?? null
        const raw = value === null ? null : column.mapToDriverValue(value)
        return typeof raw === 'boolean' ? Number(raw) : raw
      }),
  }
  statements.set(table, statement)
  return statement
}
