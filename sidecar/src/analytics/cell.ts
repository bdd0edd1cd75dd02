/** The cells of roll-ups: filled from records, merged into larger ones. */
import type { Cell, Counter, TimeName } from '#store/cell.ts'

import { addTime, mergeInto } from './histogram.ts'
import type { CallRecord } from './record.ts'

const WORDS = 8
const BITS = 32

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

export const emptyCell = (): Cell => ({ sums: {}, times: {}, people: [] })

/** A load of less is the server's bookkeeping. */
const COLD_MS = 100

/** Counts a call in. */
export function count(cell: Cell, call: CountedCall): void {
  const add = (name: Counter, by: number | null | undefined) => {
    if (by) cell.sums[name] = (cell.sums[name] ?? 0) + by
  }
  add('calls', 1)
  add(call.status, 1)
  if (call.kind === 'turn' && call.turn === 1 && !call.isRegeneration) add('chats', 1)
  if (call.isRegeneration) add('regenerated', 1)
  for (const name of SUMMED) add(name, call[name])
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
  if (call.errorCode !== null) {
    cell.errors ??= {}
    cell.errors[call.errorCode] = (cell.errors[call.errorCode] ?? 0) + 1
  }
  if (call.status === 'ok') addTimes(cell, call)
  if (call.person !== null) addPerson(cell.people, call.person)
}

const SUMMED = [
  'promptTokens',
  'completionTokens',
  'reasoningTokens',
  'cachedTokens',
  'queueMs',
  'loadMs',
  'prefillMs',
  'decodeMs',
  'totalMs',
  'toolCalls',
  'costMicro',
] as const satisfies (Counter & keyof CountedCall)[]

/** Failures would make a slow server look quick. */
function addTimes(cell: Cell, call: CountedCall): void {
  const add = (name: TimeName, ms: number | null) => {
    if (ms !== null) addTime((cell.times[name] ??= {}), ms)
  }
  add('firstToken', call.firstTokenMs)
  add('total', call.totalMs)
  add('queue', call.queueMs)
  add('load', call.loadMs)
  add('prefill', call.prefillMs)
  add('decode', call.decodeMs)
}

/** Pseudonyms are as good as random, so their own characters choose the bit. */
function addPerson(people: number[], person: string): void {
  let hash = 2_166_136_261
  for (let at = 0; at < person.length; at++) hash = Math.imul(hash ^ person.charCodeAt(at), 16_777_619)
  const bit = (hash ^ (hash >>> 16)) & (WORDS * BITS - 1)
  while (people.length < WORDS) people.push(0)
  const word = bit >>> 5
  people[word] = ((people[word] ?? 0) | (1 << (bit & 31))) >>> 0
}

/** Adds the second to the first. */
export function mergeCell(cell: Cell, other: Cell): void {
  for (const name in other.sums)
    cell.sums[name as Counter] = (cell.sums[name as Counter] ?? 0) + (other.sums[name as Counter] ?? 0)
  for (const name in other.times)
    mergeInto((cell.times[name as TimeName] ??= {}), other.times[name as TimeName] ?? {})
  for (const code in other.errors) {
    cell.errors ??= {}
    cell.errors[code] = (cell.errors[code] ?? 0) + (other.errors[code] ?? 0)
  }
  other.people.forEach((word, at) => {
    cell.people[at] = ((cell.people[at] ?? 0) | word) >>> 0
  })
}

export const sumOf = (cell: Cell, name: Counter): number => cell.sums[name] ?? 0

/** There were at least so many people: two may share a bit, so it is never too high. */
export function leastPeople({ people }: Pick<Cell, 'people'>): number {
  let bits = 0
  for (const word of people) for (let rest = word; rest !== 0; rest = (rest & (rest - 1)) >>> 0) bits++
  return bits
}
