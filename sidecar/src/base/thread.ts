/** A thread that answers questions one after the other, for work that would hold up the event loop. */
import { Worker } from 'node:worker_threads'

import { AppError, type ErrorCode } from './errors.ts'

export interface Thread {
  /** Rejects with the AppError that the method threw, and with `unavailable` when the thread fails or ends. Arguments and answer are copied, but for what is handed over. */
  call(method: string, argument: unknown, handedOver?: readonly ArrayBuffer[]): Promise<unknown>
  /** Rejects as `call`. A thread that nobody asked yet is not started for it: each takes 10 MB. */
  ping(): Promise<void>
  close(): Promise<void>
}

interface Waiting {
  resolve: (value: unknown) => void
  reject: (error: AppError) => void
}

interface Outcome {
  id: number
  value?: unknown
  /** What went wrong, without content; an AppError as its parts. */
  failure?: string | { code: ErrorCode; message: string; param?: string }
}

interface ThreadOptions {
  /** Idle for so long, it ends, and the next question starts another. By default it stays: what it holds is worth more. */
  idleMs?: number
}

/** The thread starts with the first question; one that died is replaced for the next. `what` names it for people. */
export function createThread(
  file: URL,
  workerData: unknown,
  what: string,
  { idleMs }: ThreadOptions = {},
): Thread {
  const waiting = new Map<number, Waiting>()
  let worker: Worker | undefined
  let idle: NodeJS.Timeout | undefined
  let lastId = 0
  let isClosed = false

  function start(): Worker {
    const started = startThread(file, workerData)
    // The process must be able to end while the thread has nothing to do.
    started.unref()
    started.on('message', ({ id, value, failure }: Outcome) => {
      const { resolve, reject } = waiting.get(id) ?? {}
      waiting.delete(id)
      if (waiting.size === 0) rest(started)
      if (failure === undefined) resolve?.(value)
      else if (typeof failure === 'string') reject?.(failed(failure))
      else reject?.(new AppError(failure.code, failure.message, partsOf(failure)))
    })
    const lose = (cause?: unknown) => {
      // Those who wait now wait for the next one.
      if (worker !== started) return
      worker = undefined
      for (const { reject } of waiting.values()) reject(failed('its thread ended', cause))
      waiting.clear()
    }
    started.on('error', lose)
    started.on('exit', () => lose())
    return started
  }

  function rest(started: Worker): void {
    started.unref()
    if (idleMs === undefined || worker !== started) return
    idle = setTimeout(() => {
      worker = undefined
      started.postMessage('close')
    }, idleMs).unref()
  }

  const failed = (reason: string, cause?: unknown) =>
    new AppError('unavailable', `${what} cannot be used: ${reason}`, { cause })

  function call(
    method: string,
    argument: unknown,
    handedOver: readonly ArrayBuffer[] = [],
  ): Promise<unknown> {
    // Who asks once it is closed must not start it again.
    if (isClosed) return Promise.reject(failed('it is closed'))
    clearTimeout(idle)
    return new Promise((resolve, reject) => {
      worker ??= start()
      lastId += 1
      // Throws for what cannot be copied; then nobody waits.
      worker.postMessage({ id: lastId, method, argument }, handedOver)
      waiting.set(lastId, { resolve, reject })
      worker.ref()
    })
  }

  return {
    call,
    async ping() {
      if (worker !== undefined) await call('ping', undefined)
    },
    async close() {
      isClosed = true
      clearTimeout(idle)
      if (worker === undefined) return
      const ended = new Promise((resolve) => worker?.once('exit', resolve))
      worker.ref()
      worker.postMessage('close')
      await ended
    },
  }
}

const partsOf = ({ param }: { param?: string }) => (param === undefined ? {} : { param })

/** From the source a thread has to learn TypeScript first: unlike a process, it is not told by the command line of Node 20. */
export function startThread(file: URL, workerData: unknown): Worker {
  if (!file.pathname.endsWith('.ts')) return new Worker(file, { workerData })
  const start = `import('tsx/esm/api').then(({ register }) => { register(); return import(${JSON.stringify(file.href)}) })`
  return new Worker(start, { eval: true, workerData })
}
