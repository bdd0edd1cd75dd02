/** Figures out of many measurements, and the moments at which requests are sent. Pure. */

export interface Percentiles {
  count: number
  p50: number
  p95: number
  p99: number
}

export function toPercentiles(values: readonly number[]): Percentiles {
  const sorted = Float64Array.from(values).sort()
  return {
    count: sorted.length,
    p50: percentile(sorted, 0.5),
    p95: percentile(sorted, 0.95),
    p99: percentile(sorted, 0.99),
  }
}

/** The least value that is not exceeded by `share` of all values (nearest rank); NaN of none. */
export function percentile(sorted: ArrayLike<number>, share: number): number {
  const rank = Math.ceil(share * sorted.length)
  return sorted[Math.max(rank, 1) - 1] ?? NaN
}

/** Between the two middle values when their number is even; NaN of none. */
export function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort()
  const lower = sorted[Math.floor((sorted.length - 1) / 2)] ?? NaN
  const upper = sorted[Math.floor(sorted.length / 2)] ?? NaN
  return (lower + upper) / 2
}

/** When people who know nothing of each other ask, in milliseconds from the start: the same moments for a seed. */
export function poissonSchedule({
  perSecond,
  durationMs,
  seed,
}: {
  perSecond: number
  durationMs: number
  seed: number
}): number[] {
  const draw = createDice(seed)
  const moments: number[] = []
  for (let atMs = 0; ;) {
    atMs += (-Math.log(1 - draw()) * 1_000) / perSecond
    if (atMs >= durationMs) return moments
    moments.push(atMs)
  }
}

/** Mulberry32: numbers from 0 up to, but without, 1. */
function createDice(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
