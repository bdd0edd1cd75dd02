/**
 * Times in fixed buckets whose bounds grow by a constant ratio: buckets of any two histograms can be added, and the
 * percentiles of the sum are those of all times together, which averaged percentiles never are.
 */

/** Numbers of buckets with the calls in each. */
export type Histogram = Map<number, number>

/** Bucket n holds times in (2^((n-1)/8), 2^(n/8)] ms: a percentile is told within 4.5 % of the true one. */
const BUCKETS_IN_OCTAVE = 8

/** All times up to a millisecond share the first one; 2^25 ms are more than nine hours. */
const LAST_BUCKET = 25 * BUCKETS_IN_OCTAVE

/** The most by which a percentile is off, as a share of the true one (above a millisecond and below nine hours). */
export const PERCENTILE_ERROR = 2 ** (1 / (2 * BUCKETS_IN_OCTAVE)) - 1

/** From 0 to 200. */
export function bucketOf(ms: number): number {
  if (ms <= 1) return 0
  return Math.min(LAST_BUCKET, Math.ceil(Math.log2(ms) * BUCKETS_IN_OCTAVE))
}

/** The geometric middle: as far from both ends, as a ratio. */
const middleOf = (bucket: number): number => (bucket === 0 ? 1 : 2 ** ((bucket - 0.5) / BUCKETS_IN_OCTAVE))

/** Changes the histogram. */
export function addTime(histogram: Histogram, ms: number): void {
  const bucket = bucketOf(ms)
  histogram.set(bucket, (histogram.get(bucket) ?? 0) + 1)
}

/** Adds the second to the first. */
export function mergeInto<K>(counts: Map<K, number>, other: Iterable<readonly [K, number]>): void {
  for (const [key, count] of other) counts.set(key, (counts.get(key) ?? 0) + count)
}

export function countOf(histogram: Histogram): number {
  let sum = 0
  for (const count of histogram.values()) sum += count
  return sum
}

/** The smallest time that a share of all times does not exceed, in milliseconds; null without times. `share` is in (0, 1]. */
export function percentile(histogram: Histogram, share: number): number | null {
  let left = Math.ceil(countOf(histogram) * share)
  for (const [bucket, count] of [...histogram].sort(([a], [b]) => a - b)) {
    left -= count
    if (left <= 0) return middleOf(bucket)
  }
  return null
}
