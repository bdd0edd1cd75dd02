/**
 * The process in which one document is read. A hostile file can take all memory and time of the process that reads it, also
 * in a worker thread; this one can be killed. It ends after one document.
 */
import { readFile } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'

import { toAppError } from '#base/errors.ts'

import { prepareDocument } from './prepare.ts'
import type { FromChild, ToChild } from './read-in-child.ts'

/** About 100 KB of text in one message: the parent takes it between two pieces of an answer. */
const CHUNKS_PER_MESSAGE = 64

/** Progress is for people: a few times a second is enough. */
const PROGRESS_EVERY_MS = 100

/**
 * In a thread, since what takes the memory does not let go of this one. How it ends tells the parent why; Windows knows
 * SIGKILL alone.
 */
const WATCH = `
const { workerData: { mostBytes, mostCpuMicroseconds, untilMs } } = require('node:worker_threads')
const end = (signal) => {
  try { process.kill(process.pid, signal) } catch { process.kill(process.pid, 'SIGKILL') }
}
setInterval(() => {
  const { user, system } = process.cpuUsage()
  if (process.memoryUsage.rss() > mostBytes) end('SIGKILL')
  else if (user + system > mostCpuMicroseconds || Date.now() > untilMs) end('SIGXCPU')
}, 20)`

function watch({ memoryMb, cpuMs, wallMs }: ToChild): void {
  const workerData = {
    mostBytes: memoryMb * 1024 * 1024,
    mostCpuMicroseconds: cpuMs * 1_000,
    untilMs: Date.now() + wallMs,
  }
  new Worker(WATCH, { eval: true, workerData, execArgv: [], env: {} }).unref()
}

const say = (message: FromChild): Promise<void> =>
  new Promise((resolve) => process.send?.(message, () => resolve()))

async function read(task: ToChild): Promise<void> {
  watch(task)
  let toldAtMs = 0
  const progress = (pagesRead: number, pagesTotal: number) => {
    const atMs = performance.now()
    if (pagesRead < pagesTotal && atMs - toldAtMs < PROGRESS_EVERY_MS) return
    toldAtMs = atMs
    void say({ type: 'progress', pagesRead, pagesTotal })
  }
  const bytes = await readFile(task.file)
  const { chunks, ...about } = await prepareDocument({ name: task.name, bytes, progress }, task.chunking)
  for (let at = 0; at < chunks.length; at += CHUNKS_PER_MESSAGE)
    await say({ type: 'chunks', chunks: chunks.slice(at, at + CHUNKS_PER_MESSAGE) })
  await say({ type: 'end', ...about })
}

// Nobody waits for it any more.
process.once('disconnect', () => process.exit(1))
process.once('message', (task: ToChild) => {
  read(task)
    .catch((thrown: unknown) => {
      const { code, message } = toAppError(thrown)
      // An unknown error may quote the document, so only its kind is told.
      const kind = thrown instanceof Error ? thrown.name : 'unknown'
      return say({ type: 'refused', code, message: code === 'internal' ? unreadable(kind) : message })
    })
    .finally(() => process.exit(0))
})

const unreadable = (kind: string) =>
  `The document cannot be read (${kind}); save it anew, or in another format`
