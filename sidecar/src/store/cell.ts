/** What a roll-up holds of its calls. A counter that is missing is 0; `analytics/cell.ts` adds and merges. */

/** Bucket numbers of `analytics/histogram.ts` with the calls in each. */
export type Histogram = Record<string, number>

export const COUNTERS = [
  'calls',
  'ok',
  'failed',
  'cancelled',
  'chats',
  'regenerated',
  'promptTokens',
  'completionTokens',
  'reasoningTokens',
  'cachedTokens',
  'cacheableTokens',
  'queueMs',
  'loadMs',
  'prefillMs',
  'decodeMs',
  'totalMs',
  'timedCalls',
  'coldCalls',
  'cutCalls',
  'loreCalls',
  'loreTokens',
  'passageCalls',
  'searches',
  'toolCalls',
  'costMicro',
  'pricedCalls',
  'up',
  'down',
] as const
export type Counter = (typeof COUNTERS)[number]

export const TIMES = ['firstToken', 'total', 'queue', 'load', 'prefill', 'decode'] as const
export type TimeName = (typeof TIMES)[number]

export interface Cell {
  sums: Partial<Record<Counter, number>>
  errors?: Record<string, number>
  times: Partial<Record<TimeName, Histogram>>
  /** 256 bits in eight numbers; every person sets one. Enough to know that there were at least so many, and no list of who. */
  people: number[]
}
