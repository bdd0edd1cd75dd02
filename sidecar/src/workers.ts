/**
 * Several processes behind one port. They share nothing but the stores; this one only starts them, hands out connections in
 * turn, and starts another where one died.
 */
import cluster, { type Worker } from 'node:cluster'

import type { Log } from '#base/log.ts'
import { answerWorkers } from '#telemetry/cluster-metrics.ts'

/** A worker that dies soon after its start is started again after a pause, doubled each time. */
const SOON_MS = 10_000
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 30_000

export interface Supervising {
  count: number
  /** After it, what still runs at the stop is ended the hard way. */
  stopMs: number
  log: Log
}

/** Resolves with the exit code of the process, once all workers are gone. */
export function superviseWorkers({ count, stopMs, log }: Supervising): Promise<number> {
  cluster.schedulingPolicy = cluster.SCHED_RR
  answerWorkers()
  const startedAtMs = new Map<Worker, number>()
  let hasListened = false
  let isStopping = false
  let code = 0
  let pauseMs = FIRST_PAUSE_MS

  const start = () => {
    if (!isStopping) startedAtMs.set(cluster.fork(), Date.now())
  }

  function stop(signal?: NodeJS.Signals): void {
    for (const worker of startedAtMs.keys()) worker.process.kill('SIGTERM')
    if (isStopping) return
    isStopping = true
    log.info({ signal, workers: startedAtMs.size }, 'stopping')
    setTimeout(() => {
      code = 1
      for (const worker of startedAtMs.keys()) worker.process.kill('SIGKILL')
    }, stopMs).unref()
  }

  function ended(worker: Worker, exitCode: number | null, signal: string | null): void {
    const livedMs = Date.now() - (startedAtMs.get(worker) ?? 0)
    startedAtMs.delete(worker)
    if (isStopping) {
      code ||= exitCode ?? 1
      return
    }
    // What keeps the first one from its start (a port that is taken, a database) keeps all of them.
    if (!hasListened) {
      code = exitCode ?? 1
      stop()
      return
    }
    log.error({ worker: worker.process.pid, exitCode, signal }, 'a worker ended; another one takes its place')
    pauseMs = livedMs >= SOON_MS ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
    setTimeout(start, livedMs >= SOON_MS ? 0 : pauseMs)
  }

  return new Promise((resolve) => {
    cluster.on('exit', (worker, exitCode, signal) => {
      ended(worker, exitCode, signal)
      if (isStopping && startedAtMs.size === 0) resolve(code)
    })
    cluster.once('listening', (_worker, { address, port }) => {
      hasListened = true
      const host = address.includes(':') ? `[${address}]` : address
      log.info({ url: `http://${host}:${String(port)}`, workers: count }, 'listening')
      // One after the first: tables are made by one process.
      for (let more = 1; more < count; more++) start()
    })
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
    start()
  })
}
