/** Builds the indexes again from the database, one run at a time: for a store of vectors that was lost or restored from elsewhere. */
import { AppError, toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'

import type { Bases } from './knowledge.ts'
import type { SearchIndex } from './search-index.ts'

export interface RebuildState {
  /** `idle` before the first run. */
  state: 'idle' | 'running' | 'done' | 'failed' | 'stopped'
  /** Pieces. */
  done: number
  total: number
  failure: { code: string; message: string } | null
}

export interface Rebuilding {
  /** Of one base, or all. Throws AppError `conflict` while one runs, `not_found` for an unknown base. */
  start(baseId?: string): Promise<RebuildState>
  state(): RebuildState
  /** What was built stays. */
  stop(): Promise<RebuildState>
}

export function createRebuilding({
  index,
  bases,
  log,
}: {
  index: Pick<SearchIndex, 'rebuild'>
  bases: Pick<Bases, 'get'>
  log: Log
}): Rebuilding {
  let current: RebuildState = { state: 'idle', done: 0, total: 0, failure: null }
  let running: { stop: AbortController; ended: Promise<void> } | undefined

  async function run(baseId: string | undefined, { signal }: AbortController): Promise<void> {
    try {
      await index.rebuild({
        ...(baseId !== undefined && { baseId }),
        signal,
        onProgress: (done, total) => (current = { ...current, done, total }),
      })
      current = { ...current, state: 'done' }
    } catch (thrown) {
      const { code, message } = toAppError(thrown)
      if (code === 'internal') log.error({ error: thrown }, 'rebuilding the index of knowledge failed')
      current = {
        ...current,
        ...(signal.aborted ? { state: 'stopped' } : { state: 'failed', failure: { code, message } }),
      }
    } finally {
      running = undefined
    }
  }

  return {
    async start(baseId) {
      if (baseId !== undefined) await bases.get(baseId)
      if (running !== undefined)
        throw new AppError(
          'conflict',
          'The index is being rebuilt already; look how far it is, or stop it first',
        )
      current = { state: 'running', done: 0, total: 0, failure: null }
      const stop = new AbortController()
      running = { stop, ended: run(baseId, stop) }
      return current
    },
    state: () => current,
    async stop() {
      running?.stop.abort()
      await running?.ended
      return current
    },
  }
}
