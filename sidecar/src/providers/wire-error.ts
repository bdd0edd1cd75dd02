/** What a failure of the wire means, in our words. */
import { AppError } from '#base/errors.ts'

import type { ServerWords } from './refusal.ts'

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
])

const CLOSED_BY_SERVER = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

const CLOSED_BY_US = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'])

/** The server closed the connection, as it may at any time between two calls. */
export const isClosedByServer = (cause: unknown): boolean => CLOSED_BY_SERVER.has(codeOf(cause))

export function wireError(cause: unknown, words: ServerWords, when: 'before' | 'within'): AppError {
  if (cause instanceof AppError) return cause
  const code = codeOf(cause)
  const at = `${words.title} at ${words.name}`
  if (CLOSED_BY_US.has(code)) return cancelled()
  if (when === 'before' && UNREACHABLE.has(code)) {
    const message = `${words.title} does not answer at ${words.name}; ${words.whenSilent}`
    return new AppError('unavailable', message, { cause, facts: { cause: code } })
  }
  const what =
    when === 'before'
      ? 'closed the connection instead of answering'
      : 'closed the connection in the middle of an answer'
  return new AppError('upstream', `${at} ${what}`, { cause, facts: { cause: code } })
}

function codeOf(cause: unknown): string {
  const code: unknown = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : 'unknown'
}

export function cancelled(): AppError {
  return new AppError('cancelled', 'The request was cancelled')
}
