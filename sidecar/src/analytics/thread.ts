/** The way to the thread of the figures (`thread-main.ts`). */
import type { Worker } from 'node:worker_threads'

import { AppError, type ErrorCode } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import { startThread } from '#base/thread.ts'

import { createCalendar, type Calendar } from './calendar.ts'
import type { Figure, FigureQuery } from './figures/figure.ts'
import type { Retention } from './roll-up/roll-up.ts'

export interface FiguresOptions {
  /** Of the database of records. */
  url: string
  /** A standby of it. */
  replicaUrl: string | undefined
  /** A standby that is further behind is not asked. */
  mostLagMs: number
  connections: number
  timeZone: string
  retention: Retention
  /** How often records are rolled up, in milliseconds. */
  everyMs: number
}

export interface FigureDesk {
  /** Throws AppError `invalid` for a filter that the figure does not have, `unavailable` when the database does not answer. */
  figure(query: FigureQuery): Promise<Figure>
  /** Rolls up all that was recorded before it was called. */
  bringUpToDate(): Promise<void>
  readonly calendar: Calendar
  close(): Promise<void>
}

type Job = { name: 'figure'; argument: FigureQuery } | { name: 'bringUpToDate'; argument?: undefined }

export type ToThread = { id: number } & Job

interface Reply {
  id?: number
  result?: unknown
  error?: { code: ErrorCode; message: string; param?: string }
  trouble?: { code: string; message: string } | null
}

interface Waiting {
  resolve: (result: unknown) => void
  reject: (error: AppError) => void
}

const FIRST_MS = 10_000

/** A thread that died is started again for the next question, but not at once. */
const RESTART_MS = 5_000

export function openFigures(options: FiguresOptions, log: Log): FigureDesk {
  const waiting = new Map<number, Waiting>()
  let lastId = 0
  let worker: Worker | undefined
  let diedAtMs = -RESTART_MS
  let isTroubled = false

  function start(): Worker {
    const started = startThread(THREAD, options)
    started.unref()
    started.on('message', (reply: Reply) => receive(reply))
    started.on('error', (error) => log.error({ error }, 'the thread of the figures ended'))
    started.on('exit', () => {
      if (worker !== started) return
      worker = undefined
      diedAtMs = performance.now()
      for (const { reject } of waiting.values()) reject(away())
      waiting.clear()
    })
    return started
  }

  function receive({ id, result, error, trouble }: Reply): void {
    if (trouble !== undefined) tell(trouble)
    if (id === undefined) return
    const { resolve, reject } = waiting.get(id) ?? {}
    waiting.delete(id)
    if (error === undefined) resolve?.(result)
    else
      reject?.(
        new AppError(error.code, error.message, error.param === undefined ? {} : { param: error.param }),
      )
  }

  function tell(trouble: NonNullable<Reply['trouble']> | null): void {
    if (trouble !== null && !isTroubled) log.warn(trouble, 'records cannot be rolled up; tried again')
    isTroubled = trouble !== null
  }

  function ask(job: Job): Promise<unknown> {
    if (worker === undefined && performance.now() - diedAtMs < RESTART_MS) return Promise.reject(away())
    worker ??= start()
    lastId += 1
    const [id, thread] = [lastId, worker]
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject })
      thread.postMessage({ id, ...job })
    })
  }

  // Who starts has better things to do at first.
  const starting = setTimeout(() => (worker ??= start()), FIRST_MS)
  starting.unref()
  return {
    calendar: createCalendar(options.timeZone, Date.now()),
    figure: (query) => ask({ name: 'figure', argument: query }) as Promise<Figure>,
    async bringUpToDate() {
      await ask({ name: 'bringUpToDate' })
    },
    async close() {
      clearTimeout(starting)
      const last = worker
      worker = undefined
      // What it was doing is undone by the database, as after a kill, and made anew.
      await last?.terminate()
    },
  }
}

const away = () =>
  new AppError('unavailable', 'The figures are not there for a moment; ask again', {
    facts: { retryAfterSeconds: 5 },
  })

const IS_SOURCE = import.meta.url.endsWith('.ts')

const THREAD = new URL(IS_SOURCE ? './thread-main.ts' : './analytics-thread.js', import.meta.url)
