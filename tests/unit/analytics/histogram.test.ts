import fc from 'fast-check'
import { expect, test } from 'vitest'

import {
  addTime,
  countOf,
  mergeInto,
  percentile,
  PERCENTILE_ERROR,
  type Histogram,
} from '#analytics/histogram.ts'

const histogramOf = (times: readonly number[]): Histogram => {
  const histogram: Histogram = new Map()
  for (const time of times) addTime(histogram, time)
  return histogram
}

/** From a warm small model to a call that hung for hours. */
const times = fc.array(fc.double({ min: 1, max: 2 ** 24, noNaN: true }), { maxLength: 300 })

test('two histograms merged are the histogram of all times together, in any order', () => {
  fc.assert(
    fc.property(times, times, (some, others) => {
      const merged = histogramOf(some)
      mergeInto(merged, histogramOf(others))
      const turned = histogramOf(others)
      mergeInto(turned, histogramOf(some))
      expect(merged).toEqual(histogramOf([...others, ...some]))
      expect(turned).toEqual(merged)
      expect(countOf(merged)).toBe(some.length + others.length)
    }),
  )
})

test('a percentile is within its bound of the true one', () => {
  fc.assert(
    fc.property(
      times.filter((some) => some.length > 0),
      fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1),
      (some, share) => {
        const sorted = [...some].sort((a, b) => a - b)
        const truth = sorted[Math.ceil(sorted.length * share) - 1] ?? Number.NaN
        const told = percentile(histogramOf(some), share) ?? Number.NaN
        expect(Math.abs(told / truth - 1)).toBeLessThanOrEqual(PERCENTILE_ERROR + 1e-9)
      },
    ),
  )
  expect(PERCENTILE_ERROR).toBeLessThan(0.045)
})

test('a merged percentile is right where an average of percentiles is not', () => {
  const quick = histogramOf(Array.from({ length: 99 }, () => 100))
  const slow = histogramOf([10_000])
  const average = ((percentile(quick, 0.5) ?? 0) + (percentile(slow, 0.5) ?? 0)) / 2
  mergeInto(quick, slow)
  expect(percentile(quick, 0.5)).toBeLessThan(110)
  expect(average).toBeGreaterThan(5_000)
})

test('no time, and times out of range, are told', () => {
  expect(percentile(new Map(), 0.5)).toBeNull()
  expect(histogramOf([0, -5, 0.2])).toEqual(new Map([[0, 3]]))
  expect(countOf(histogramOf([Number.MAX_SAFE_INTEGER]))).toBe(1)
})
