/**
 * What can go wrong, in our words. Only `http/errors.ts` knows which status number each code becomes;
 * the message is a sentence that a person can act on, `facts` never hold content or secrets.
 */
import type { StopSignal } from './stopping.ts'

export type ErrorCode =
  | 'invalid'
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'model_not_found'
  | 'conflict'
  | 'too_large'
  | 'limited'
  | 'quota'
  | 'context_length'
  | 'upstream'
  | 'upstream_timeout'
  | 'unavailable'
  | 'cancelled'
  | 'internal'

export interface ErrorDetails {
  cause?: unknown
  /** Name of the request field that is at fault, as the caller wrote it. */
  param?: string
  facts?: Readonly<Record<string, string | number | boolean>>
}

export class AppError extends Error {
  readonly code: ErrorCode
  readonly param: string | undefined
  /** `server`, where one is away: its name, for whoever asked several at once. */
  readonly facts: Readonly<Record<string, string | number | boolean>>

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { cause: details.cause })
    this.name = 'AppError'
    this.code = code
    this.param = details.param
    this.facts = details.facts ?? {}
  }
}

/** Why a signal was aborted, where whoever did it said so in our words. */
export const endedBy = ({ aborted, reason }: StopSignal): AppError | undefined =>
  aborted && reason instanceof AppError ? reason : undefined

/**
 * Anything thrown becomes an AppError; an unknown error keeps its message to itself (it may quote content). One of ours that
 * a library wrapped in its own comes out again.
 */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  if (thrown instanceof Error && thrown.cause instanceof AppError) return thrown.cause
  return new AppError('internal', 'Something went wrong inside Troupe; the log has the details', {
    cause: thrown,
  })
}

/** The code of a foreign error, or of what it wraps, in brackets: for the end of half a sentence. Nothing for one without. */
export function codeOf(cause: unknown): string {
  if (!(cause instanceof Error)) return ''
  return 'code' in cause ? ` (${String(cause.code)})` : codeOf(cause.cause)
}
