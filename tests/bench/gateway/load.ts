/** What the runner asks of the load client, and what it gets back. */
import type { Behaviour } from './behaviour.ts'
import type { Percentiles } from './statistics.ts'

/** `closed`: each connection asks again when it has its answer. `open`: strangers ask at random. `ramp`: streams pile up. */
export type Pattern =
  | { mode: 'closed'; connections: number; durationMs: number }
  | { mode: 'closed'; connections: number; requests: number }
  | { mode: 'open'; perSecond: number; durationMs: number; seed: number }
  | { mode: 'ramp'; streams: number; overMs: number }

export interface Load {
  pattern: Pattern
  isStream: boolean
  behaviour: Behaviour
  /** Of the request, filled up with earlier turns; a short chat without it. */
  bodyBytes?: number
}

export interface Order extends Load {
  /** Of the target's chat completions. */
  url: string
  headers: Readonly<Record<string, string>>
  /** Laid over the body that all targets get. */
  body: Readonly<Record<string, unknown>>
}

/** Times count from the moment at which the request was due, so that no stall is hidden. */
export interface LoadResult {
  /** Until the last answer that counts; of a `closed` pattern with a duration, that duration. */
  durationMs: number
  sent: number
  /** Whole and right, within the duration. */
  finished: number
  /** Tokens within the duration. */
  tokens: number
  lost: number
  extra: number
  disordered: number
  /** How requests failed, with how many of each. */
  errors: Record<string, number>
  latencyMs: Percentiles
  firstTokenMs: Percentiles
  /** From the mock server's write to our read. */
  tokenDelayMs: Percentiles
}
