/**
 * Times in fixed buckets whose bounds grow by a constant ratio: buckets of any two histograms can be added, and the
 * percentiles of the sum are those of all times together, which averaged percentiles never are.
 */
import type { Histogram } from '#store/cell.ts'

/** Bucket n holds times in (2^((n-1)/8), 2^(n/8)] ms: a percentile is told within 4.5 % of the true one. */
const BUCKETS_IN_OCTAVE = 8

/** All times up to a millisecond share the first one; 2^25 ms are more than nine hours. */
const LAST_BUCKET = 25 * BUCKETS_IN_OCTAVE

/** The most by which a percentile is off, as a share of the true one (above a millisecond and below nine hours). */
export const PERCENTILE_ERROR = 2 ** (1 / (2 * BUCKETS_IN_OCTAVE)) - 1

function bucketOf(ms: number): number {
  if (ms <= 1) return 0
  return Math.min(LAST_BUCKET, Math.ceil(Math.log2(ms) * BUCKETS_IN_OCTAVE))
}

/** The geometric middle: as far from both ends, as a ratio. */
const middleOf = (bucket: number): number => (bucket === 0 ? 1 : 2 ** ((bucket - 0.5) / BUCKETS_IN_OCTAVE))

/** Changes the histogram. */
export function addTime(histogram: Histogram, ms: number): void {
  const bucket = bucketOf(ms)
  histogram[bucket] = (histogram[bucket] ?? 0) + 1
}

/** Adds the second to the first. */
export function mergeInto(histogram: Histogram, other: Histogram): void {
  for (const bucket in other) histogram[bucket] = (histogram[bucket] ?? 0) + (other[bucket] ?? 0)
}

export const countOf = (histogram: Histogram): number =>
  Object.values(histogram).reduce((sum, count) => sum + count, 0)

/** The smallest time that a share of all times does not exceed, in milliseconds; null without times. `share` is in (0, 1]. */
export function percentile(histogram: Histogram, share: number): number | null {
  const buckets = Object.keys(histogram)
    .map(Number)
    .sort((a, b) => a - b)
  let left = Math.ceil(countOf(histogram) * share)
  for (const bucket of buckets) {
    left -= histogram[bucket] ?? 0
    if (left <= 0) return middleOf(bucket)
  }
  return null
}
