/** The other end of `createThread`: answers each question by a method, one after the other, until it is told to close. */
import { parentPort } from 'node:worker_threads'

/**
 * @param {Record<string, (argument: any) => unknown>} methods may promise their answer
 * @param {() => void} close
 */
export function serveThread(methods, close) {
  /** @param {{ id: number, method: string, argument: unknown }} job */
  async function answer({ id, method, argument }) {
    try {
      parentPort?.postMessage({ id, value: await methods[method]?.(argument) })
    } catch (error) {
      parentPort?.postMessage({ id, failure: failureOf(error) })
    }
  }
  parentPort?.on(
    'message',
    (/** @type {{ id: number, method: string, argument: unknown } | 'close'} */ job) => {
      if (job !== 'close') return void answer(job)
      close()
      parentPort?.close()
    },
  )
}

/** Without what it may quote. @param {unknown} error */
function failureOf(error) {
  if (!(error instanceof Error) || !('code' in error)) return 'unknown fault'
  if (error.name !== 'AppError') return String(error.code)
  return { code: error.code, message: error.message, ...('param' in error && { param: error.param }) }
}
