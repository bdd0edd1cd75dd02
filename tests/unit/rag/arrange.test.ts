import fc from 'fast-check'
import { expect, test } from 'vitest'

import { passageTokens } from '#prompt/passages.ts'
import { arrange, continued, type RankedPiece } from '#rag/arrange.ts'

const piece = (id: number, differences: Partial<RankedPiece> = {}): RankedPiece => ({
  ...{ id, baseId: 'b', documentId: 'd', number: id * 10, header: '', page: null, similarity: null },
  ...{ text: `piece ${String(id)} has words of its own: w${String(id)} x${String(id)} y${String(id)}` },
  ...{ startOffset: id * 1_000, endOffset: id * 1_000 + 50, score: 1 / id },
  ...differences,
})

test('the best come first, as many as fit', () => {
  const { stretches, fates } = arrange([piece(1), piece(2), piece(3)], { characters: 110 })
  expect(stretches.map(({ ids }) => ids)).toEqual([[1], [2]])
  expect(fates.get(3)).toBe('budget')
})

test('a smaller piece takes the place of one that does not fit', () => {
  const { stretches } = arrange(
    [piece(1), piece(2, { text: 'long '.repeat(100) }), piece(3, { text: 'short' })],
    { characters: 100 },
  )
  expect(stretches.map(({ ids }) => ids)).toEqual([[1], [3]])
})

test('tokens count where they are told: a letter may be one', () => {
  const tokens = { most: 100, of: ({ text }: RankedPiece) => 2 * text.length }
  const { stretches, fates } = arrange([piece(1), piece(2), piece(3, { text: '短' })], {
    characters: 6_000,
    tokens,
  })
  expect(stretches.map(({ ids }) => ids)).toEqual([[1], [3]])
  expect(fates.get(2)).toBe('budget')
})

test('the best is chosen even where it is longer than all the room, and nothing beside it', () => {
  const { stretches } = arrange([piece(1, { text: 'long '.repeat(100) }), piece(2)], { characters: 100 })
  expect(stretches.map(({ ids }) => ids)).toEqual([[1]])
})

test('neighbours cost no more together than each by itself', () => {
  const words = fc.stringMatching(/^[a-zé灯塔 .]{1,80}$/)
  fc.assert(
    fc.property(words, words, fc.nat(40), (one, two, overlap) => {
      const again = one.slice(Math.max(0, one.length - overlap))
      const cost = (text: string) => passageTokens({ label: 'Log', text })
      const joined = continued(one, again + two, again.length)
      expect(cost(joined)).toBeLessThanOrEqual(cost(one) + cost(again + two))
    }),
  )
})

test('what says the same comes once', () => {
  const text =
    'The lamp costs three coins at the market of the old harbour on all days but feast days, says Brakk.'
  const { stretches, fates } = arrange(
    [
      piece(1, { text }),
      piece(2, { text: `${text} `, documentId: 'copy' }),
      piece(3, { documentId: 'other' }),
    ],
    { characters: 1_000 },
  )
  expect(stretches.map(({ ids }) => ids)).toEqual([[1], [3]])
  expect(fates.get(2)).toBe('duplicate')
})

test('in a script without spaces as well', () => {
  const text = '灯塔在港口的北边渔夫们夜里靠它回家每天晚上都会亮起来'
  const { fates } = arrange([piece(1, { text }), piece(2, { text: `${text}。` })], { characters: 1_000 })
  expect(fates.get(2)).toBe('duplicate')
})

test('the fourth piece of a document steps back behind what is as good elsewhere', () => {
  const same = [1, 2, 3, 4].map((id) => piece(id, { score: 1 - id / 100 }))
  const { stretches } = arrange([...same, piece(5, { documentId: 'e', score: 0.94 })], { characters: 180 })
  expect(stretches.flatMap(({ ids }) => ids).toSorted()).toEqual([1, 2, 3, 5])
})

test('neighbours become one stretch without their overlap, at the place of the better one', () => {
  const text = 'The lamp costs three coins. Brakk sells it. He lives at the harbour.'
  const cut = (id: number, number: number, from: number, to: number) =>
    piece(id, { number, text: text.slice(from, to), startOffset: from, endOffset: to })
  const { stretches } = arrange(
    [piece(9, { documentId: 'e', score: 0.9 }), cut(2, 1, 20, 68), cut(1, 0, 0, 44)],
    { characters: 1_000 },
  )
  expect(stretches[0]).toMatchObject({ ids: [1, 2], text, startOffset: 0, endOffset: 68, score: 1 })
  expect(stretches[1]).toMatchObject({ ids: [9] })
})

test('neighbours that were edited are set below each other', () => {
  const before = piece(1, { number: 0, text: 'edited', startOffset: 0, endOffset: 30 })
  const after = piece(2, { number: 1, text: 'untouched', startOffset: 20, endOffset: 60 })
  expect(arrange([before, after], { characters: 1_000 }).stretches[0]?.text).toBe('edited\nuntouched')
})
