/** The other end of `createThread`: answers each question by a method, one after the other, until it is told to close. */
import { parentPort } from 'node:worker_threads'

/**
 * @param {Record<string, (argument: any) => unknown>} methods
 * @param {() => void} close
 */
export function serveThread(methods, close) {
  parentPort?.on(
    'message',
    (/** @type {{ id: number, method: string, argument: unknown } | 'close'} */ job) => {
      if (job === 'close') {
        close()
        parentPort?.close()
        return
      }
      try {
        parentPort?.postMessage({ id: job.id, value: methods[job.method]?.(job.argument) })
      } catch (error) {
        const failure = error instanceof Error && 'code' in error ? String(error.code) : 'unknown fault'
        parentPort?.postMessage({ id: job.id, failure })
      }
    },
  )
}
