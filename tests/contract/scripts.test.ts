/** Documents in scripts where a letter is a token: from a question to the prompt, at small windows. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import { lookUp } from '#chat/look-up.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import { messageText } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import { PASSAGE_SHARE } from '#prompt/passages.ts'
import { estimateTokens } from '#prompt/tokens.ts'
import { chunkDocument, plainBlocks } from '#rag/chunk.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { chance } from '../support/chance.ts'
import { sampleBase, sampleChunk, sampleDocument } from '../support/sample-knowledge.ts'
import { longChat, sampleAsk, sampleMaterials, user } from '../support/samples.ts'

interface Writing {
  /** First and last letter. */
  letters: readonly [number, number]
  gap: string
  end: string
}

const WRITINGS = {
  Chinese: { letters: [0x4e00, 0x5fff], gap: '', end: '。' },
  Japanese: { letters: [0x3042, 0x3093], gap: '', end: '。' },
  Thai: { letters: [0x0e01, 0x0e2e], gap: '', end: ' ' },
  Russian: { letters: [0x0430, 0x044f], gap: ' ', end: '. ' },
  Greek: { letters: [0x03b1, 0x03c9], gap: ' ', end: '. ' },
  English: { letters: [0x61, 0x7a], gap: ' ', end: '. ' },
} as const satisfies Record<string, Writing>
type Language = keyof typeof WRITINGS

/** Paragraphs: the smallest base, one that just fits into large windows, and one that fits into none. */
const SIZES = [4, 10, 80]
const ASKED = 2

/** Paragraphs of a few sentences without meaning, each with two words and a number that no other has. */
function paragraphsOf({ letters: [from, to], gap, end }: Writing, count: number): string[] {
  const numbers = chance(count)
  const pick = (least: number, most: number) =>
    least + Math.floor((numbers.next().value + 0.5) * (most - least + 1))
  const times = <T>(length: number, make: () => T) => Array.from({ length }, make)
  const word = () => String.fromCodePoint(...times(pick(3, 7), () => pick(from, to)))
  const sentence = () => times(pick(4, 9), word).join(gap) + end
  return times(count, () => '').map((_, at) =>
    `${String(7_000 + at)} ${String(90_000 + at)}${end}${times(5, sentence).join('')}`.trim(),
  )
}

let dir: string
let store: Store
let search: KnowledgeSearch
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-scripts-'))
  store = await openStore(`file:${path.join(dir, 'troupe.sqlite')}`)
  search = await openKnowledgeSearch({
    ...{ store, databaseUrl: `file:${path.join(dir, 'troupe.sqlite')}`, dataDir: dir, deployment: 'test' },
    ...{ embed: () => Promise.resolve([]), log: createLog('silent'), now: () => performance.now() },
  })
  for (const language of Object.keys(WRITINGS) as Language[])
    for (const size of SIZES) await addBase(language, size)
})
afterAll(async () => {
  await search.close()
  await store.close()
  await rm(dir, { recursive: true, force: true })
})

const baseOf = (language: Language, size: number) => `${language}-${String(size)}`

async function addBase(language: Language, size: number) {
  const id = baseOf(language, size)
  const blocks = plainBlocks(paragraphsOf(WRITINGS[language], size).join('\n\n'))
  const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
  await store.db.insert(knowledgeBases).values(sampleBase(id))
  await store.db.insert(knowledgeDocuments).values(sampleDocument(id, id))
  const rows = chunkDocument({ title: id, blocks }).map(
    ({ ordinal: number, charStart: startOffset, charEnd: endOffset, text, header }) =>
      sampleChunk({ baseId: id, documentId: id, number, text, header, startOffset, endOffset }),
  )
  await store.db.insert(knowledgeChunks).values(rows)
  const pieces = await store.db.select().from(knowledgeChunks)
  const scope = { baseId: id, generation: 1 }
  const own = pieces.filter(({ baseId }) => baseId === id)
  await search.index.add(scope, own, { signal: new AbortController().signal })
}

const QUESTION = `${String(7_000 + ASKED)} ${String(90_000 + ASKED)}?`

async function asked(
  baseId: string,
  profile: { contextTokens: number; tokenRatio: number },
  { card = {}, messages = [user(QUESTION)] } = {},
) {
  const ask = sampleAsk({ messages })
  const materials = sampleMaterials(card)
  const looked = await lookUp(ask, materials, profile, {
    basesOf: () => [baseId],
    retrieval: {
      retrieve: (question) => search.retrieve({ ...question, deadlineMs: 20_000 }),
    },
    guests: { ask: () => Promise.resolve([]) },
  })
  if (looked === undefined) throw new Error('Nothing was looked up')
  const { knowledge, trace } = looked
  const prompt = compose(ask, { ...materials, knowledge }, profile)
  return { prompt, knowledge, trace }
}

function expectWithinBudget({ prompt, knowledge }: Awaited<ReturnType<typeof asked>>) {
  const { messages, parts, passages, budget } = prompt
  const standing = parts.filter(({ kind, dropped }) => kind === 'passage' && !dropped)
  const cost = standing.reduce((sum, { tokens }) => sum + tokens, 0)
  expect(cost).toBeLessThanOrEqual(budget.promptTokens * PASSAGE_SHARE)
  const all = messages.reduce((sum, message) => sum + estimateTokens(messageText(message)), 0)
  expect(all).toBeLessThanOrEqual(budget.promptTokens)
  expect(passages.length).toBeGreaterThan(0)
  expect(passages.map(({ reference }) => reference)).toEqual(passages.map((_, at) => at + 1))
  const inPrompt = messages.map(messageText).join('\n')
  const fences = [...inPrompt.matchAll(/<passage id="(\d+)"/g)].map(([, id]) => Number(id))
  expect(fences).toEqual(passages.map(({ reference }) => reference))
  const texts = knowledge.passages.map(({ text }) => text.length)
  if (texts.length > 1) expect(texts.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(6_000)
}

const languages = Object.keys(WRITINGS) as Language[]
const cases = languages.flatMap((language) => SIZES.map((size) => [language, size] as const))

test.each(cases)('%s, %i paragraphs: what is found stands in the prompt at every window', async (...of) => {
  for (const contextTokens of [2_048, 4_096, 8_192, 16_384, 32_768])
    for (const tokenRatio of [1, 1.6]) {
      const answer = await asked(baseOf(...of), { contextTokens, tokenRatio })
      expectWithinBudget(answer)
      // What was chosen for this window has room there; nothing is found to be left out.
      const { parts, passages } = answer.prompt
      expect(parts.filter(({ kind, dropped }) => kind === 'passage' && dropped)).toEqual([])
      if (contextTokens >= 8_192)
        expect(passages.map(({ text }) => text).join()).toContain(String(7_000 + ASKED))
    }
})

test.each(cases)('%s, %i paragraphs: also behind a large persona and a long chat', async (...of) => {
  const card = { description: 'Keeps a lighthouse and says little. '.repeat(220), mes_example: '' }
  const messages = [...longChat(30).slice(0, -1), user(QUESTION)]
  expectWithinBudget(await asked(baseOf(...of), { contextTokens: 8_192, tokenRatio: 1 }, { card, messages }))
})

test.each(languages)(
  '%s: a short base stands there whole where it fits, and is searched where not',
  async (of) => {
    const large = await asked(baseOf(of, 10), { contextTokens: 32_768, tokenRatio: 1 })
    const small = await asked(baseOf(of, 10), { contextTokens: 2_048, tokenRatio: 1 })
    expect(large.knowledge.isWhole).toBe(true)
    expect(large.trace).toBeUndefined()
    expect(small.knowledge.isWhole).toBe(false)
    expect(small.trace?.gate?.passes).toBe(true)
  },
)
