/** What is told of a cell. The key of a measure is its column everywhere: in JSON, in CSV, on the command line. */
import { leastPeople, sumOf, timesOf, type Cell, type TimeName } from './cell.ts'
import { percentile } from './histogram.ts'

export type Value = number | string | null

export interface Measure {
  unit: 'count' | 'tokens' | 'ms' | 'share' | 'money' | 'people'
  /** The definition, for a tooltip. */
  means: string
  of: (cell: Cell) => number | null
}

/** Null where there is nothing to divide by: a share of nothing is no number. */
const share = (part: number, whole: number): number | null => (whole === 0 ? null : part / whole)

const time = (name: TimeName, at: number, means: string): Measure => ({
  unit: 'ms',
  means,
  of: (cell) => percentile(timesOf(cell, name), at),
})

/** Of the time that passed in calls whose server said where it went. */
const spent = (name: 'queueUs' | 'loadUs' | 'prefillUs' | 'decodeUs', means: string): Measure => ({
  unit: 'share',
  means: `${means}, as a share of the whole time of calls`,
  of: (cell) => share(sumOf(cell, name), sumOf(cell, 'totalUs')),
})

export const MEASURES = {
  calls: { unit: 'count', means: 'Calls, however they ended', of: (cell) => sumOf(cell, 'calls') },
  messages: { unit: 'count', means: 'Answers that were finished', of: (cell) => sumOf(cell, 'ok') },
  chats: { unit: 'count', means: 'Chats that were begun', of: (cell) => sumOf(cell, 'chats') },
  turnsPerChat: {
    unit: 'count',
    means: 'Finished answers for each chat that was begun, regenerated ones left out',
    of: (cell) => share(sumOf(cell, 'ok') - sumOf(cell, 'regenerated'), sumOf(cell, 'chats')),
  },
  failed: { unit: 'count', means: 'Calls that failed', of: (cell) => sumOf(cell, 'failed') },
  cancelled: { unit: 'count', means: 'Calls that the client left', of: (cell) => sumOf(cell, 'cancelled') },
  errorRate: {
    unit: 'share',
    means: 'Failed calls among those that the client did not leave',
    of: (cell) => share(sumOf(cell, 'failed'), sumOf(cell, 'calls') - sumOf(cell, 'cancelled')),
  },
  promptTokens: {
    unit: 'tokens',
    means: 'Tokens of prompts, as model servers counted them',
    of: (cell) => sumOf(cell, 'promptTokens'),
  },
  completionTokens: {
    unit: 'tokens',
    means: 'Tokens of answers, as model servers counted them',
    of: (cell) => sumOf(cell, 'completionTokens'),
  },
  reasoningTokens: {
    unit: 'tokens',
    means: 'Part of the tokens of answers that models spent on thinking, where servers tell',
    of: (cell) => sumOf(cell, 'reasoningTokens'),
  },
  cacheShare: {
    unit: 'share',
    means: 'Prompt tokens that the server did not read again, among those of calls where it tells',
    of: (cell) => share(sumOf(cell, 'cachedTokens'), sumOf(cell, 'cacheableTokens')),
  },
  firstTokenP50: time('firstToken', 0.5, 'Half of the streamed answers began within this time'),
  firstTokenP90: time('firstToken', 0.9, 'Nine of ten streamed answers began within this time'),
  firstTokenP99: time('firstToken', 0.99, 'All but one in a hundred streamed answers began within this time'),
  totalP50: time('total', 0.5, 'Half of the answers were finished within this time'),
  totalP90: time('total', 0.9, 'Nine of ten answers were finished within this time'),
  totalP99: time('total', 0.99, 'All but one in a hundred answers were finished within this time'),
  queueShare: spent('queueUs', 'Waiting for a turn at the model server'),
  loadShare: spent('loadUs', 'Loading the model'),
  prefillShare: spent('prefillUs', 'Reading the prompt'),
  decodeShare: spent('decodeUs', 'Writing the answer'),
  queueP90: time('queue', 0.9, 'Nine of ten calls waited no longer for their turn'),
  loadP90: time('load', 0.9, 'Nine of ten calls waited no longer for the model to be loaded'),
  coldCalls: {
    unit: 'count',
    means: 'Calls that had to wait for a load',
    of: (cell) => sumOf(cell, 'coldCalls'),
  },
  timedCalls: {
    unit: 'count',
    means: 'Calls whose server told where the time went',
    of: (cell) => sumOf(cell, 'timedCalls'),
  },
  tokensPerSecond: {
    unit: 'count',
    means: 'Tokens of answers for each second of writing',
    of: (cell) => share(sumOf(cell, 'completionTokens') * 1e6, sumOf(cell, 'decodeUs')),
  },
  up: { unit: 'count', means: 'Answers with a thumb up', of: (cell) => sumOf(cell, 'up') },
  down: { unit: 'count', means: 'Answers with a thumb down', of: (cell) => sumOf(cell, 'down') },
  satisfaction: {
    unit: 'share',
    means: 'Thumbs up among all thumbs',
    of: (cell) => share(sumOf(cell, 'up'), sumOf(cell, 'up') + sumOf(cell, 'down')),
  },
  regenerated: {
    unit: 'count',
    means: 'Calls for another answer to the same message',
    of: (cell) => sumOf(cell, 'regenerated'),
  },
  regenerateRate: {
    unit: 'share',
    means: 'Calls for another answer to the same message, among all calls',
    of: (cell) => share(sumOf(cell, 'regenerated'), sumOf(cell, 'calls')),
  },
  cutRate: {
    unit: 'share',
    means: 'Calls whose chat was longer than the context, so that its oldest turns were left out',
    of: (cell) => share(sumOf(cell, 'cutCalls'), sumOf(cell, 'calls')),
  },
  loreRate: {
    unit: 'share',
    means: 'Calls with an entry of a lorebook in the prompt',
    of: (cell) => share(sumOf(cell, 'loreCalls'), sumOf(cell, 'calls')),
  },
  loreTokens: {
    unit: 'tokens',
    means: 'Tokens of lorebooks in prompts',
    of: (cell) => sumOf(cell, 'loreTokens'),
  },
  searches: {
    unit: 'count',
    means: 'Calls for which documents were searched',
    of: (cell) => sumOf(cell, 'searches'),
  },
  knowledgeRate: {
    unit: 'share',
    means: 'Searches that brought a passage into the prompt',
    of: (cell) => share(sumOf(cell, 'passageCalls'), sumOf(cell, 'searches')),
  },
  toolCalls: { unit: 'count', means: 'Calls of tools in answers', of: (cell) => sumOf(cell, 'toolCalls') },
  cost: {
    unit: 'money',
    means:
      'By the table of prices, or by power where a model has no price; calls without either are left out',
    of: (cell) => sumOf(cell, 'costMicro') / 1e6,
  },
  pricedCalls: { unit: 'count', means: 'Calls with a price', of: (cell) => sumOf(cell, 'pricedCalls') },
  leastPeople: {
    unit: 'people',
    means:
      'There were at least so many different people (counted in a sketch of 256, so that no list of them is kept)',
    of: (cell) => leastPeople(cell),
  },
} as const satisfies Record<string, Measure>

export type MeasureName = keyof typeof MEASURES
