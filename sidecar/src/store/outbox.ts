/** Events that wait on the disk beside the process until the database takes them; oldest first, each once. */
import { fileURLToPath } from 'node:url'
import { Worker } from 'node:worker_threads'

import { AppError } from '#base/errors.ts'

export interface OutboxEvent {
  /** The same event twice is one. */
  id: string
  kind: string
  /** JSON. */
  body: string
}

export interface KeptEvent extends OutboxEvent {
  seq: number
}

export interface OutboxState {
  pending: number
  /** Of the space that it may take; 1 when it is full. */
  usedShare: number
  /** Files that were damaged and put aside, since the process began. */
  quarantined: number
}

export interface Outbox {
  /** Resolves once they are on disk. Throws AppError `unavailable` when there is no space, or the disk fails. */
  append(events: readonly OutboxEvent[]): Promise<void>
  oldest(limit: number): Promise<KeptEvent[]>
  /** Forgets those up to and including this one. */
  remove(untilSeq: number): Promise<void>
  /** Keeps one that the database will never take, out of the way of the others. */
  setAside(seq: number): Promise<void>
  state(): OutboxState
  close(): Promise<void>
}

interface Reply extends Partial<OutboxState> {
  id: number
  result?: unknown
  code?: string
}

interface Waiting {
  resolve: (result: unknown) => void
  reject: (error: AppError) => void
}

/**
 * Opens this process's file in the folder and takes over what is left of processes that died; a damaged file is put aside,
 * with what can be read of it saved. Throws AppError `unavailable` when the folder cannot be used. The caller closes it.
 */
export async function openOutbox({ dir, mostBytes }: { dir: string; mostBytes: number }): Promise<Outbox> {
  const waiting = new Map<number, Waiting>()
  let state: OutboxState = { pending: 0, usedShare: 0, quarantined: 0 }
  let lastId = 0
  let isGone = false
  const worker = new Worker(fileURLToPath(new URL('./outbox-worker.mjs', import.meta.url)), {
    workerData: { dir, mostBytes },
  })
  worker.unref()
  worker.on('message', ({ id, code, result, ...measured }: Reply) => {
    const { resolve, reject } = waiting.get(id) ?? {}
    waiting.delete(id)
    if (waiting.size === 0) worker.unref()
    state = { ...state, ...measured }
    if (code === undefined) resolve?.(result)
    else reject?.(refusal(dir, code))
  })
  const lose = () => {
    isGone = true
    for (const { reject } of waiting.values()) reject(refusal(dir, 'thread ended'))
    waiting.clear()
  }
  worker.on('error', lose)
  worker.on('exit', lose)

  function ask(name: string, job: object = {}): Promise<unknown> {
    if (isGone) return Promise.reject(refusal(dir, 'thread ended'))
    return new Promise((resolve, reject) => {
      lastId += 1
      waiting.set(lastId, { resolve, reject })
      worker.ref()
      worker.postMessage({ id: lastId, name, ...job })
    })
  }

  await ask('open').catch(async (thrown: unknown) => {
    await worker.terminate()
    throw thrown
  })
  return {
    async append(events) {
      await ask('append', { events })
    },
    oldest: async (limit) => (await ask('oldest', { limit })) as KeptEvent[],
    async remove(untilSeq) {
      await ask('remove', { untilSeq })
    },
    async setAside(seq) {
      await ask('setAside', { seq })
    },
    state: () => state,
    async close() {
      if (isGone) return
      const ended = new Promise((resolve) => worker.once('exit', resolve))
      worker.postMessage({ name: 'close' })
      await ended
    },
  }
}

const refusal = (dir: string, code: string) =>
  new AppError('unavailable', `The outbox in ${dir} takes no more records; check the space on its disk`, {
    facts: { code },
  })
