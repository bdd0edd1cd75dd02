import fc from 'fast-check'
import { expect, test } from 'vitest'

import { fuse, sideBySide, type Ranking } from '#rag/fuse.ts'

const hits = (...scores: readonly (readonly [id: number, score: number])[]) =>
  scores.map(([id, score]) => ({ id, score }))

test('what one ranking is sure of stays before what two find middling', () => {
  const words = { hits: hits([1, 30], [2, 9], [3, 8]), least: 0, weight: 1 }
  const meaning = { hits: hits([3, 0.5], [2, 0.49], [4, 0.3]), least: 0.3, weight: 0.5 }
  expect(fuse([words, meaning]).map(({ id }) => id)).toEqual([1, 2, 3, 4])
})

test('what all have first counts one, what none has counts nothing', () => {
  const words = { hits: hits([1, 12], [2, 3]), least: 3, weight: 1 }
  const meaning = { hits: hits([1, 0.9], [2, 0.1]), least: 0.1, weight: 0.5 }
  expect(fuse([words, meaning])).toEqual(hits([1, 1], [2, 0]))
})

test('a ranking that failed changes nothing of the order of the other', () => {
  const words = { hits: hits([7, 5], [8, 4], [9, 4]), least: 0, weight: 1 }
  expect(fuse([words, { hits: [], least: 0, weight: 0.5 }]).map(({ id }) => id)).toEqual([7, 8, 9])
})

test('scores lie between nothing and one, whatever the rankings hold', () => {
  const ranking = fc
    .record({
      hits: fc.uniqueArray(
        fc.record({ id: fc.nat(20), score: fc.double({ min: -1, max: 40, noNaN: true }) }),
        {
          selector: ({ id }) => id,
          maxLength: 12,
        },
      ),
      weight: fc.double({ min: 0, max: 2, noNaN: true }),
    })
    .map(({ hits: of, weight }): Ranking => {
      const sorted = of.toSorted((a, b) => b.score - a.score)
      return { hits: sorted, least: sorted.at(-1)?.score ?? 0, weight }
    })
  fc.assert(
    fc.property(fc.array(ranking, { maxLength: 4 }), (rankings) => {
      for (const { score } of fuse(rankings)) {
        expect(score).toBeGreaterThanOrEqual(0)
        expect(score).toBeLessThanOrEqual(1 + 1e-9)
      }
    }),
  )
})

test('rankings of models whose scores cannot be compared stand side by side, each by its own first', () => {
  const hits = (...scores: [id: number, score: number][]) => scores.map(([id, score]) => ({ id, score }))
  const low = { hits: hits([1, 0.6], [2, 0.2]), least: 0.2, weight: 0.5 }
  const high = { hits: hits([3, 0.99], [4, 0.98], [5, 0.97]), least: 0.97, weight: 0.25 }
  const joined = sideBySide([low, high])
  expect(joined).toMatchObject({ least: 0, weight: 0.5 })
  expect(joined.hits.map(({ id }) => id)).toEqual([1, 3, 4, 2, 5])
  expect(joined.hits[2]?.score).toBeCloseTo(0.25)
  expect(sideBySide([]).hits).toEqual([])
})

test('one ranking alone counts as it did', () => {
  const words = { hits: [{ id: 1, score: 7 }], least: 0, weight: 1 }
  const near = { hits: [0.9, 0.7, 0.4].map((score, at) => ({ id: at + 1, score })), least: 0.4, weight: 0.5 }
  expect(fuse([words, sideBySide([near])])).toEqual(fuse([words, near]))
})
