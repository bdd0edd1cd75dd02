import { expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { createEmbedder, EMBEDDING_BATCH, type EmbedTexts } from '#rag/embedder.ts'
import { fingerprintOf, modelOf, weightOf } from '#rag/fingerprint.ts'

const signal = new AbortController().signal

/** A model that takes so many characters, and tells a text by its first letter. */
function fakeModel(longest = 1_000) {
  const calls: string[][] = []
  const embed: EmbedTexts = (_model, texts) => {
    calls.push([...texts])
    if (texts.some((text) => text.length > longest))
      return Promise.reject(new AppError('context_length', 'too long'))
    return Promise.resolve(texts.map((text) => (text.includes('b') ? [0, 2] : [2, 0])))
  }
  return { calls, embed }
}

test('texts go in batches, in order, with what the model wants before them', async () => {
  const { calls, embed } = fakeModel()
  const embedder = createEmbedder(embed, 'nomic-embed-text:v1.5')
  const texts = Array.from({ length: EMBEDDING_BATCH + 1 }, (_, index) => (index === 1 ? 'bee' : 'x'))
  const vectors = await embedder.passages(texts, signal)
  expect(calls.map(({ length }) => length)).toEqual([EMBEDDING_BATCH, 1])
  expect(calls[0]?.slice(0, 2)).toEqual(['search_document: x', 'search_document: bee'])
  expect([...(vectors[0] ?? []), ...(vectors[1] ?? [])]).toEqual([1, 0, 0, 1])
  await embedder.question('why', signal)
  expect(calls.at(-1)).toEqual(['search_query: why'])
})

test('a text that is too long is put together from its halves, and nothing of it is left out', async () => {
  const { calls, embed } = fakeModel(200)
  const embedder = createEmbedder(embed, 'all-minilm')
  const text = `${'a '.repeat(100)}${'b '.repeat(100)}`
  const [vector, other] = await embedder.passages([text, 'x'], signal)
  expect(vector?.[0]).toBeCloseTo(Math.SQRT1_2, 1)
  expect(vector?.[1]).toBeCloseTo(Math.SQRT1_2, 1)
  expect([...(other ?? [])]).toEqual([1, 0])
  const taken = calls.filter((texts) => texts.length === 1 && (texts[0]?.length ?? 0) <= 200).flat()
  expect(taken.filter((part) => part !== 'x').join('')).toBe(text)
})

test('what the model does not take in small parts either is said, not guessed', async () => {
  const { embed } = fakeModel(10)
  expect(await createEmbedder(embed, 'm').passages(['y'.repeat(100)], signal)).toEqual([undefined])
})

test.each([
  ['another number of vectors', [[1, 0]]],
  ['vectors of different lengths', [[1, 0], [1]]],
  [
    'a vector of zeros',
    [
      [1, 0],
      [0, 0],
    ],
  ],
  [
    'what is no number',
    [
      [1, 0],
      [Number.NaN, 1],
    ],
  ],
])('an answer with %s is refused', async (_what, vectors) => {
  const embedder = createEmbedder(() => Promise.resolve(vectors), 'm')
  await expect(embedder.passages(['a', 'b'], signal)).rejects.toMatchObject({ code: 'upstream' })
})

test('a fingerprint names the model, its length and how it is asked', async () => {
  const { embed } = fakeModel()
  const fingerprint = await createEmbedder(embed, 'all-minilm').fingerprint(signal)
  expect(fingerprint).toBe(fingerprintOf('all-minilm', 2))
  expect(modelOf(fingerprint)).toBe('all-minilm')
  expect(fingerprint).not.toBe(fingerprintOf('all-minilm', 3))
  expect(fingerprint).not.toBe(fingerprintOf('nomic-embed-text', 2))
  expect(modelOf('nonsense')).toBeUndefined()
  expect(modelOf(JSON.stringify([1, 'e5-small', 2, 'other: ', 'prefixes: ']))).toBeUndefined()
})

test.each([
  ['hf.co/nomic-ai/Nomic-Embed-Text-v1.5-GGUF:Q8_0', 'What is it?', 'known'],
  ['intfloat/multilingual-e5-large', '灯塔在哪里？', 'known'],
  ['all-minilm', '灯塔在哪里？', 'unreadable'],
  ['all-minilm', 'Wo ist der Leuchtturm?', 'known'],
  ['somebody/something', 'What is it?', 'unknown'],
])('%s counts for "%s" as one that is %s', (model, text, kind) => {
  const weight = weightOf(fingerprintOf(model, 3), text)
  expect(weight >= 0.5 ? 'known' : weight > 0 ? 'unknown' : 'unreadable').toBe(kind)
})
