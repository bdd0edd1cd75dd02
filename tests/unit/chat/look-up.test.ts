import { describe, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import { createGuestSources, type GuestRetriever } from '#chat/guest-sources.ts'
import { lookUp, type SourceParts } from '#chat/look-up.ts'
import type { Retrieval, WholeDocument } from '#knowledge/retrieval.ts'

import { assistant, sampleAsk, sampleMaterials, user } from '../../support/samples.ts'

type Found = Awaited<ReturnType<Retrieval['retrieve']>>
type Given = Parameters<Retrieval['retrieve']>[0]

const PROFILE = { contextTokens: 8_192, tokenRatio: 1 }
const trace = {} as Found['trace']

const piece = (over: Partial<Found['passages'][number]> = {}): Found['passages'][number] => ({
  chunkIds: [1],
  baseId: 'harbour',
  documentId: 'd1',
  documentName: 'log.md',
  documentTitle: 'Log',
  header: 'Log',
  text: 'The lamp was lit on 3 March.',
  page: null,
  startOffset: 0,
  endOffset: 10,
  score: 1,
  similarity: 0.7,
  ...over,
})

function parts(
  found: Partial<Found>,
  bases: readonly string[] = ['harbour'],
  guests: SourceParts['guests'] = NO_GUESTS,
  whole?: readonly WholeDocument[],
) {
  const asked: Given[] = []
  const on: SourceParts = {
    basesOf: () => bases,
    retrieval: {
      retrieve(question) {
        asked.push(question)
        const isWhole = whole !== undefined && question.wholeTokens !== undefined
        return Promise.resolve({ passages: [], trace, ...found, ...(isWhole && { whole }) })
      },
    },
    guests,
  }
  return { on, asked }
}
const NO_GUESTS: SourceParts['guests'] = { ask: () => Promise.resolve([]) }
const look = (on: SourceParts, messages = [user('When was it lit?')], sources: readonly string[] = []) =>
  lookUp(sampleAsk({ messages }), sampleMaterials({ extensions: { troupe: { sources } } }), PROFILE, on)

describe('looking up', () => {
  test('a character without documents asks nobody', async () => {
    const { on, asked } = parts({}, [])
    expect(await look(on)).toBeUndefined()
    expect(asked).toEqual([])
  })

  test('asks for the last words and hands over those before, for a question that leans on them', async () => {
    const { on, asked } = parts({})
    await look(on, [user('Who lit the lamp?'), assistant('Ada.'), user('And when?')])
    expect(asked).toMatchObject([{ text: 'And when?', previous: 'Who lit the lamp?', baseIds: ['harbour'] }])
  })

  test('numbers passages in their order, and gives two of one place two labels', async () => {
    const { on } = parts({
      passages: [
        piece({ page: 3 }),
        piece({ page: 3, text: 'Another.' }),
        piece({ documentTitle: '', text: 'Third.' }),
      ],
    })
    const found = await look(on)
    expect(found?.knowledge.passages.map(({ reference, label }) => [reference, label])).toEqual([
      [1, 'Log, page 3'],
      [2, 'Log, page 3 (2)'],
      [3, 'log.md'],
    ])
  })

  test('counts after the sources of Open WebUI, and leaves out what it brought itself', async () => {
    const told =
      'The lamp was lit on 3 March by Ada, who had carried the oil up all one hundred steps before the storm came.'
    const question = `### Task:\nRespond\n<context>\n<source id="1" name="Log">Before. ${told} After.</source>\n</context>\n\nWhen?`
    const { on, asked } = parts({ passages: [piece({ text: told }), piece({ text: 'Whale oil was used.' })] })
    const found = await look(on, [user(question)])
    expect(asked[0]?.text).toBe('When?')
    // "Log" is taken by Open WebUI's own source, which has number 1.
    expect(found?.knowledge.passages).toMatchObject([
      { reference: 2, label: 'Log (2)', text: 'Whale oil was used.' },
    ])
    expect(found?.knowledge.twice).toMatchObject([{ text: told }])
  })

  test('asks for less where the context of the model is small, or its tokens are', async () => {
    const { on, asked } = parts({})
    const tokens = async (contextTokens: number, tokenRatio = 1) => {
      await lookUp(sampleAsk(), sampleMaterials(), { contextTokens, tokenRatio }, on)
      return asked.at(-1)?.budgetTokens ?? 0
    }
    const small = await tokens(1_024)
    // A quarter of what is left beside the answer, without the sentence before the passages.
    expect(small).toBeLessThan(192)
    expect(await tokens(32_768)).toBeGreaterThan(30 * small)
    expect(await tokens(32_768, 2)).toBeLessThan((await tokens(32_768)) / 2)
    expect(new Set(asked.map(({ budgetCharacters }) => budgetCharacters))).toEqual(new Set([6_000]))
  })

  test('lets documents stand there whole only in the room that the persona leaves', async () => {
    const { on, asked } = parts({})
    const profile = { contextTokens: 4_096, tokenRatio: 1 }
    for (const words of [10, 1_500, 3_000])
      await lookUp(sampleAsk(), sampleMaterials({ description: 'word '.repeat(words) }), profile, on)
    const [alone = 0, beside = 0, none] = asked.map(({ wholeTokens }) => wholeTokens)
    expect(alone).toBeGreaterThan(500)
    expect(beside).toBeLessThan(alone)
    expect(none).toBe(0)
  })
})

describe('documents that are short enough to stand there always', () => {
  const whole = [
    {
      baseId: 'harbour',
      documentId: 'd1',
      documentName: 'log.md',
      documentTitle: 'Log',
      text: 'Lit on 3 March.',
    },
    {
      baseId: 'harbour',
      documentId: 'd2',
      documentName: 'tides.md',
      documentTitle: '',
      text: 'High at six.',
    },
  ]

  test('are all told, and no trace says that anything was searched', async () => {
    const { on } = parts({}, ['harbour'], NO_GUESTS, whole)
    const found = await look(on)
    expect(found?.trace).toBeUndefined()
    expect(found?.knowledge).toMatchObject({
      isWhole: true,
      passages: [
        { reference: 1, label: 'Log', text: 'Lit on 3 March.' },
        { reference: 2, label: 'tides.md' },
      ],
    })
  })

  test('are searched beside sources of others, whose number would change theirs', async () => {
    const { on, asked } = parts({}, ['harbour'], NO_GUESTS, whole)
    await look(on, [user('When?')], ['wiki'])
    await look(on, [user('<context><source id="1" name="a">b</source></context>\nWhen?')])
    expect(asked.map(({ wholeTokens }) => wholeTokens)).toEqual([undefined, undefined])
  })
})

describe('a source of a plugin', () => {
  const log = createLog('silent')
  const guests = (retrievers: Record<string, GuestRetriever>) =>
    createGuestSources({
      retrievers: new Map(Object.entries(retrievers)),
      clean: (text) => text.replaceAll('\u200B', ''),
      log,
      deadlineMs: 20,
    })
  const answer =
    (...documents: unknown[]): GuestRetriever =>
    () =>
      Promise.resolve(documents)

  test("brings LangChain's documents, cleaned, behind the character's own", async () => {
    const brought = guests({
      wiki: answer({ pageContent: 'Oil\u200B.', metadata: { source: 'w1', title: 'Oil' } }),
    })
    const { on } = parts({ passages: [piece()] }, ['harbour'], brought)
    const found = await look(on, [user('Oil?')], ['wiki', 'unknown'])
    expect(found?.knowledge.passages).toMatchObject([
      { reference: 1, label: 'Log' },
      { reference: 2, label: 'Oil', text: 'Oil.', documentId: 'wiki:w1' },
    ])
  })

  test.each<[string, GuestRetriever]>([
    ['late', () => new Promise(() => undefined)],
    ['broken', () => Promise.reject(new Error('no'))],
    ['no list', () => Promise.resolve('text')],
    ['of another shape', () => Promise.resolve([{ text: 'x' }])],
    [
      'throwing at once',
      () => {
        throw new Error('no')
      },
    ],
  ])('that is %s gives nothing and fails nothing', async (_, retriever) => {
    const { on } = parts({ passages: [piece()] }, ['harbour'], guests({ wiki: retriever }))
    const found = await look(on, [user('Oil?')], ['wiki'])
    expect(found?.knowledge.passages).toHaveLength(1)
  })

  test('gets no more room than a document', async () => {
    const { on } = parts(
      {},
      [],
      guests({ wiki: answer({ pageContent: 'a'.repeat(5_000) }, { pageContent: 'b'.repeat(5_000) }) }),
    )
    expect((await look(on, [user('Oil?')], ['wiki']))?.knowledge.passages).toHaveLength(1)
  })
})
