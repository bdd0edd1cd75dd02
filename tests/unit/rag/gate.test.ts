import { expect, test } from 'vitest'

import { decide, isAsking } from '#rag/gate.ts'
import { queryWords } from '#rag/words.mjs'

/** A base of 100 pieces in which each word of the text stands so often, and the best piece has those that are named. */
function asked(
  text: string,
  has: Readonly<Record<string, number>>,
  more: { similarity?: number; floor?: number; chance?: number } = {},
) {
  const words = queryWords(text)
  const counts = words.map((word) => has[word] ?? 0)
  const hit = { id: 1, score: 1, has: [...words.keys()].filter((index) => (counts[index] ?? 0) > 0) }
  const hits = hit.has.length === 0 ? [] : [hit]
  return decide({ text, words, lexical: { hits, counts, total: 100 }, ...more })
}

test.each([
  ['nothing is found', 'hello', {}, 'nothing found'],
  [
    'words of conversation are in every handbook',
    'I had a rough day at work',
    { dai: 5, work: 8 },
    'small talk',
  ],
  ['one rare word may be chance', 'My cat is on the keyboard', { keyboard: 1 }, 'small talk'],
])('%s: "%s" injects nothing', (_why, text, has, reason) => {
  expect(asked(text, has)).toMatchObject({ passes: false, reason })
})

test.each([
  ['several rare words', 'the price of brass lamps here', { price: 4, brass: 2, lamp: 6 }],
  ['a question about somebody who stands on many pages', 'Who is Brakk?', { brakk: 40 }],
  ['a question about somebody who stands on all pages', 'Who is Brakk?', { brakk: 100 }],
])('%s are asked for: "%s"', (_why, text, has) => {
  expect(asked(text, has)).toMatchObject({ passes: true, reason: 'words' })
})

test('nearness lets a question through that has other words', () => {
  const text = 'where do I get a light'
  expect(asked(text, {}, { similarity: 0.5, floor: 0.35 })).toMatchObject({ passes: true, reason: 'meaning' })
  expect(asked(text, {}, { similarity: 0.2, floor: 0.35 })).toMatchObject({ passes: false })
})

test.each(['hello', 'ok, cool', 'thanks!', 'good night'])(
  '"%s" asks for nothing, however near it is to a piece',
  (text) => {
    expect(asked(text, {}, { similarity: 0.5, floor: 0.35 }).passes).toBe(false)
  },
)

test('shared words count less when nothing is near', () => {
  const has = { lamp: 3, brass: 3 }
  const text = 'a brass lamp'
  expect(asked(text, has).passes).toBe(true)
  expect(asked(text, has, { similarity: 0.3, floor: 0.35 }).passes).toBe(true)
  expect(asked(text, has, { similarity: 0, floor: 0.35 }).passes).toBe(false)
})

test('a turn must share more with a base than small talk does there', () => {
  const has = { harbour: 1, pilot: 4 }
  const text = 'my uncle was a pilot in the harbour'
  expect(asked(text, has, { chance: 1.2 }).passes).toBe(true)
  expect(asked(text, has, { chance: 1.9 }).passes).toBe(false)
})

test('where small talk finds nothing at all, one word that is not of conversation is enough', () => {
  expect(asked('can you repair my kettle', { kettl: 5 }, { chance: 0 }).passes).toBe(true)
  expect(asked('you look lovely today', { today: 1 }, { chance: 0 }).passes).toBe(false)
})

test.each([
  ['German', 'ich war da und habe die alle gesehen', { war: 1, die: 1, alle: 1 }],
  ['Spanish', 'no sé si son de aquí o no', { son: 1, no: 1 }],
])('what holds a sentence together says nothing in %s either', (_language, text, has) => {
  expect(asked(text, has)).toMatchObject({ passes: false })
})

test('a word is not taken for one of another language', () => {
  expect(asked('When did the war end?', { war: 30, end: 20 }).passes).toBe(true)
})

test('a sentence that tells is no question because "was" is in it', () => {
  expect(asked('That was a close shave with a barber', { barber: 40 }, { chance: 1 }).passes).toBe(false)
  expect(asked('Where is the barber', { barber: 40 }, { chance: 1 }).passes).toBe(true)
})

test.each([
  ['Wo ist das?', true],
  ['你是谁', true],
  ['เธอทำอะไรอยู่', true],
  ['tell me of the ferry', true],
  ['It was close.', false],
  ['我很好', false],
])('"%s" asks: %s', (text, asks) => {
  expect(isAsking(text)).toBe(asks)
})
