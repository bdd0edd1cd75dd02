/**
 * What may be shown to those who may see groups, but not the people in them. Two rules: no figure about fewer than k people,
 * and no count that is exact, so that the difference of two figures tells of no small group either.
 */
import { COUNTERS, emptyCell, leastPeople, mergeCell, sumOf, type Cell, type Counter } from './cell.ts'

export interface Group<T> {
  key: T
  cell: Cell
}

export interface Sorted<T> {
  shown: Group<T>[]
  /** All that are too small, together; undefined when there are none, or when even together they are too few. */
  others: Cell | undefined
  /** How many groups are not told of one by one. */
  hidden: number
}

/**
 * Puts groups of fewer than `k` people together. If those are still fewer than `k`, the smallest of the large groups joins
 * them: else the total less all that is shown would be the figure that is hidden.
 */
export function hideSmall<T>(groups: readonly Group<T>[], k: number): Sorted<T> {
  const isSmall = ({ cell }: Group<T>) => leastPeople(cell) < k
  const others = emptyCell()
  const small = groups.filter(isSmall)
  for (const { cell } of small) mergeCell(others, cell)
  if (small.length === 0) return { shown: [...groups], others: undefined, hidden: 0 }
  const bySize = groups
    .filter((group) => !isSmall(group))
    .sort((a, b) => leastPeople(a.cell) - leastPeople(b.cell))
  const joined = new Set<Group<T>>()
  while (leastPeople(others) < k && joined.size < bySize.length) {
    const next = bySize[joined.size]
    if (next === undefined) break
    joined.add(next)
    mergeCell(others, next.cell)
  }
  const shown = groups.filter((group) => !isSmall(group) && !joined.has(group))
  const hidden = small.length + joined.size
  return { shown, others: leastPeople(others) < k ? undefined : others, hidden }
}

/** To the nearest multiple of k: a difference of two of them is then compatible with no group at all, or with one of k. */
export const roundCount = (count: number, k: number): number => Math.round(count / k) * k

/** Sums of something else than calls: `k` calls of the average size are one step. */
const NOT_COUNTS = new Set<Counter>([
  'promptTokens',
  'completionTokens',
  'reasoningTokens',
  'cachedTokens',
  'cacheableTokens',
  'queueUs',
  'loadUs',
  'prefillUs',
  'decodeUs',
  'totalUs',
  'loreTokens',
  'costMicro',
])

/** The cell with every count rounded, and every sum in proportion. Times stay: they are shares of all, in coarse steps. */
export function roundCell(cell: Cell, k: number): Cell {
  const calls = sumOf(cell, 'calls')
  const rounded = COUNTERS.map((name) =>
    NOT_COUNTS.has(name)
      ? roundCount(calls, k) * significant(sumOf(cell, name) / Math.max(1, calls))
      : roundCount(sumOf(cell, name), k),
  )
  return {
    sums: rounded,
    errors: new Map([...(cell.errors ?? [])].map(([code, failures]) => [code, roundCount(failures, k)])),
    times: cell.times,
    people: cell.people,
  }
}

/** Two digits. */
const significant = (value: number): number => Number(value.toPrecision(2))
