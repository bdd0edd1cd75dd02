/** The cells of roll-ups: filled from calls, merged into larger ones. `packed-cells.ts` writes them down. */
import { bucketOf, mergeInto, type Histogram } from './histogram.ts'
import type { CallRecord } from './record.ts'

/** Their order is that of packed cells: add new ones at the end, and keep the place of one that is gone. */
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
  // Whole microseconds, so that the order in which calls are added changes nothing.
  'queueUs',
  'loadUs',
  'prefillUs',
  'decodeUs',
  'totalUs',
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

/** Their order is that of packed cells, as above. */
export const TIMES = ['firstToken', 'total', 'queue', 'load', 'prefill', 'decode'] as const
export type TimeName = (typeof TIMES)[number]

export interface Cell {
  /** In the order of COUNTERS. */
  readonly sums: number[]
  /** One histogram after the other, as they are counted; `timesOf` tells them apart. */
  readonly times: Histogram
  /** 256 bits in eight numbers; every person sets one. Enough to know that there were at least so many, and no list of who. */
  readonly people: number[]
  errors: Map<string, number> | undefined
}

const WORDS = 8
const BITS = 32

/** The buckets of one of TIMES are kept from a multiple of this on. */
const BUCKETS = 256

const placesOf = <T extends string>(names: readonly T[]) =>
  Object.fromEntries(names.map((name, at) => [name, at])) as Record<T, number>
const AT = placesOf(COUNTERS)
const TIME_AT = placesOf(TIMES)

/** What is read of a record, with what was said about it elsewhere. */
export interface CountedCall extends Pick<
  CallRecord,
  | 'kind'
  | 'person'
  | 'turn'
  | 'status'
  | 'errorCode'
  | 'promptTokens'
  | 'completionTokens'
  | 'reasoningTokens'
  | 'cachedTokens'
  | 'queueMs'
  | 'loadMs'
  | 'prefillMs'
  | 'decodeMs'
  | 'firstTokenMs'
  | 'totalMs'
  | 'cutTurns'
  | 'loreFired'
  | 'passages'
  | 'toolCalls'
  | 'costMicro'
> {
  loreTokens: number
  /** Another answer to the same message came before. */
  isRegeneration: boolean
  rating: number
}

export const noPeople = (): number[] => new Array<number>(WORDS).fill(0)

export const emptyCell = (): Cell => ({
  sums: new Array<number>(COUNTERS.length).fill(0),
  times: new Map(),
  people: noPeople(),
  errors: undefined,
})

/** A load of less is the server's bookkeeping. */
const COLD_MS = 100

/** Counts a call in. */
export function count(cell: Cell, call: CountedCall): void {
  const { sums, times, people } = cell
  const add = (name: Counter, by: number | null) => {
    if (by !== null) sums[AT[name]] = (sums[AT[name]] ?? 0) + by
  }
  add('calls', 1)
  add(call.status, 1)
  if (call.kind === 'turn' && call.turn === 1 && !call.isRegeneration) add('chats', 1)
  if (call.isRegeneration) add('regenerated', 1)
  for (const name of SUMMED) add(name, call[name])
  for (const [name, time] of TIMED) add(name, microseconds(call[time]))
  if (call.cachedTokens !== null) add('cacheableTokens', call.promptTokens)
  if (call.prefillMs !== null || call.decodeMs !== null) add('timedCalls', 1)
  if ((call.loadMs ?? 0) > COLD_MS) add('coldCalls', 1)
  if (call.cutTurns > 0) add('cutCalls', 1)
  if ((call.loreFired ?? 0) > 0) add('loreCalls', 1)
  add('loreTokens', call.loreTokens)
  if (call.passages !== null) add('searches', 1)
  if ((call.passages ?? 0) > 0) add('passageCalls', 1)
  if (call.costMicro !== null) add('pricedCalls', 1)
  if (call.rating > 0) add('up', 1)
  if (call.rating < 0) add('down', 1)
  if (call.errorCode !== null) mergeInto((cell.errors ??= new Map<string, number>()), [[call.errorCode, 1]])
  // Failures would make a slow server look quick.
  if (call.status === 'ok') addTimes(times, call)
  if (call.person !== null) addPerson(people, call.person)
}

const SUMMED = [
  'promptTokens',
  'completionTokens',
  'reasoningTokens',
  'cachedTokens',
  'toolCalls',
  'costMicro',
] as const satisfies (Counter & keyof CountedCall)[]

const TIMED = [
  ['queueUs', 'queueMs'],
  ['loadUs', 'loadMs'],
  ['prefillUs', 'prefillMs'],
  ['decodeUs', 'decodeMs'],
  ['totalUs', 'totalMs'],
] as const satisfies [Counter, keyof CountedCall][]

const microseconds = (ms: number | null) => (ms === null ? null : Math.round(ms * 1_000))

const HISTOGRAMS = [
  ['firstToken', 'firstTokenMs'],
  ['total', 'totalMs'],
  ['queue', 'queueMs'],
  ['load', 'loadMs'],
  ['prefill', 'prefillMs'],
  ['decode', 'decodeMs'],
] as const satisfies [TimeName, keyof CountedCall][]

function addTimes(times: Histogram, call: CountedCall): void {
  for (const [name, column] of HISTOGRAMS) {
    const ms = call[column]
    if (ms === null) continue
    const place = TIME_AT[name] * BUCKETS + bucketOf(ms)
    times.set(place, (times.get(place) ?? 0) + 1)
  }
}

/** Pseudonyms are as good as random, so their own characters choose the bit. Source of the hash: FNV-1a, 32 bits. */
export function addPerson(people: number[], person: string): void {
  let hash = 2_166_136_261
  for (let at = 0; at < person.length; at++) hash = Math.imul(hash ^ person.charCodeAt(at), 16_777_619)
  const bit = (hash ^ (hash >>> 16)) & (WORDS * BITS - 1)
  const word = bit >>> 5
  people[word] = ((people[word] ?? 0) | (1 << (bit & 31))) >>> 0
}

/** Adds the second to the first. */
export function mergeCell(cell: Cell, other: Cell): void {
  addAll(cell.sums, other.sums)
  mergeInto(cell.times, other.times)
  uniteAll(cell.people, other.people)
  if (other.errors !== undefined) mergeInto((cell.errors ??= new Map<string, number>()), other.errors)
}

export function addAll(sums: number[], others: readonly number[]): void {
  for (let at = 0; at < others.length; at++) sums[at] = (sums[at] ?? 0) + (others[at] ?? 0)
}

export function uniteAll(words: number[], others: readonly number[]): void {
  for (let at = 0; at < others.length; at++) words[at] = ((words[at] ?? 0) | (others[at] ?? 0)) >>> 0
}

export const sumOf = ({ sums }: Pick<Cell, 'sums'>, name: Counter): number => sums[AT[name]] ?? 0

export function timesOf({ times }: Pick<Cell, 'times'>, name: TimeName): Histogram {
  const from = TIME_AT[name] * BUCKETS
  const histogram: Histogram = new Map()
  for (const [place, calls] of times)
    if (place >= from && place < from + BUCKETS) histogram.set(place - from, calls)
  return histogram
}

/** There were at least so many people: two may share a bit, so it is never too high. */
export function leastPeople({ people }: Pick<Cell, 'people'>): number {
  let bits = 0
  for (const word of people) for (let rest = word; rest !== 0; rest = (rest & (rest - 1)) >>> 0) bits++
  return bits
}
