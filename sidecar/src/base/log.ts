/** The log: JSON lines. Callers pass ids and numbers; what is passed here is printed as it is. */
import { pino, type DestinationStream, type Logger } from 'pino'

import { AppError } from './errors.ts'

export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>

export function createLog(level: string, destination?: DestinationStream): Log {
  const options = {
    level,
    base: null,
    timestamp: () => `,"at":"${new Date().toISOString()}"`,
    formatters: { level: (label: string) => ({ level: label }) },
    // An error's own fields may quote a request; only what names the place is kept.
    serializers: { error: describeError },
  }
  return pino(options, destination ?? openOutput())
}

/** Written beside the answers, many lines at once; pino flushes what is left when the process ends. */
function openOutput(): DestinationStream {
  const output = pino.destination({ dest: 1, sync: false, minLength: 4_096 })
  setInterval(() => output.flush(), 250).unref()
  return output
}

/**
 * What keeps the process from its start, as text. A fault of the settings, or of a server that they name, is a sentence for a
 * person; one of ours is for the maintainer, with its stack but without foreign messages, which may quote a password.
 */
export function tellFault(error: unknown): string {
  const { message } = error instanceof AppError ? error : { message: 'Troupe could not start' }
  const isOurs = !(error instanceof AppError) || (error.code === 'internal' && error.cause !== undefined)
  return isOurs ? `${message}\n${JSON.stringify(describeError(error), null, 2)}\n` : `${message}\n`
}

/** Name, code and stack frames of an error and its causes. Messages of foreign errors stay out: they may quote content. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { name: typeof error }
  const frames = (error.stack ?? '').split('\n').filter((line) => line.trimStart().startsWith('at '))
  return {
    name: error.name,
    ...('code' in error ? { code: String(error.code) } : {}),
    stack: frames.slice(0, 8).map((line) => line.trim()),
    ...(error.cause === undefined ? {} : { cause: describeError(error.cause) }),
  }
}
