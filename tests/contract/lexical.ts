/** What every index of words must do; `lexical.test.ts` runs it on each engine. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

import type { LexicalIndex } from '#rag/lexical.ts'
import type { Scope } from '#rag/scope.ts'
import { queryWords } from '#rag/words.mjs'

export function describeLexicalIndex(
  open: () => Promise<LexicalIndex>,
  reopen?: () => Promise<LexicalIndex>,
): void {
  let index: LexicalIndex
  beforeAll(async () => {
    index = await open()
  })
  afterAll(() => index.close())

  const TOWN = { baseId: 'town', generation: 1 }
  const SHIPS = { baseId: 'ships', generation: 1 }
  const SCOPES = [TOWN, { ...TOWN, generation: 2 }, SHIPS]
  beforeEach(async () => {
    for (const scope of SCOPES) await index.removeScope(scope)
  })

  const entry = (id: number, text: string, { header = '', documentId = 'd1' } = {}) => ({
    id,
    documentId,
    header,
    text,
  })
  const search = (text: string, scopes: readonly Scope[] = [TOWN], limit = 10) =>
    index.search({ scopes, words: queryWords(text), limit })
  const ids = async (...of: Parameters<typeof search>) => (await search(...of)).hits.map(({ id }) => id)

  test('finds by words, the rarer ones first, in header and text', async () => {
    await index.put(TOWN, [
      entry(1, 'The market opens at dawn.'),
      entry(2, 'Brakk sells lamps at the market.', { header: 'Handbook › Traders' }),
      entry(3, 'The market is closed on feast days, says Brakk.'),
      entry(4, 'Nobody fishes here.'),
    ])
    expect(await ids('Who sells lamps?')).toEqual([2])
    expect(await ids('traders')).toEqual([2])
    expect((await ids('Brakk and his lamps at the market')).slice(0, 2)).toEqual([2, 3])
    expect(await ids('elephants')).toEqual([])
  })

  test('says how rare the words are, and which of them the first hits have', async () => {
    await index.put(TOWN, [entry(1, 'a lamp and a rope'), entry(2, 'a rope'), entry(3, 'nothing')])
    const found = await index.search({ scopes: [TOWN], words: ['lamp', 'rope', 'eleph'], limit: 10 })
    expect(found).toMatchObject({ total: 3, counts: [1, 2, 0] })
    expect(found.hits.map(({ id, has }) => ({ id, has }))).toEqual([
      { id: 1, has: [0, 1] },
      { id: 2, has: [1] },
    ])
  })

  test('never finds anything outside of the scopes that it was given', async () => {
    await index.put(TOWN, [entry(1, 'the secret lamp')])
    await index.put(SHIPS, [entry(2, 'the secret lamp')])
    await index.put({ ...TOWN, generation: 2 }, [entry(3, 'the secret lamp')])
    expect(await ids('secret lamp', [TOWN])).toEqual([1])
    expect(await ids('secret lamp', [SHIPS])).toEqual([2])
    expect((await ids('secret lamp', [TOWN, SHIPS])).toSorted()).toEqual([1, 2])
    expect(await search('secret lamp', [])).toEqual({ hits: [], counts: [], total: 0 })
    expect(await search('secret lamp', [{ baseId: 'nobody', generation: 1 }])).toMatchObject({
      hits: [],
      total: 0,
    })
    expect(await search('secret lamp', [TOWN])).toMatchObject({ counts: [1, 1], total: 1 })
  })

  test('holds its scopes apart whatever the texts and the questions are', async () => {
    await index.put(TOWN, [entry(1, 'marker alpha')])
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 60 }), async (text) => {
        await index.put(SHIPS, [entry(2, `marker ${text}`, { header: text })])
        const found = await ids(`marker ${text}`, [TOWN])
        expect(found).toEqual([1])
        expect(await ids(`marker ${text} town 1 scope:"x" OR *`, [SHIPS])).toEqual([2])
      }),
      { numRuns: 40 },
    )
  })

  test('replaces by id, and moves what is put elsewhere', async () => {
    await index.put(TOWN, [entry(1, 'lamp')])
    await index.put(TOWN, [entry(1, 'rope')])
    expect([await ids('lamp'), await ids('rope'), await index.count(TOWN)]).toEqual([[], [1], 1])
    await index.put(SHIPS, [entry(1, 'rope')])
    expect([await ids('rope'), await ids('rope', [SHIPS])]).toEqual([[], [1]])
    expect([await index.count(TOWN), await index.count(SHIPS)]).toEqual([0, 1])
    expect(await search('rope', [SHIPS])).toMatchObject({ counts: [1], total: 1 })
  })

  test('forgets a document, and a generation, and nothing else', async () => {
    await index.put(TOWN, [entry(1, 'lamp'), entry(2, 'lamp', { documentId: 'd2' })])
    await index.put(SHIPS, [entry(3, 'lamp', { documentId: 'd3' })])
    await index.removeDocument('d1')
    expect(await ids('lamp', [TOWN, SHIPS])).toEqual([2, 3])
    await index.removeScope(TOWN)
    expect([await ids('lamp', [TOWN, SHIPS]), await index.count(TOWN)]).toEqual([[3], 0])
    expect(await search('lamp', [TOWN, SHIPS])).toMatchObject({ counts: [1], total: 1 })
  })

  test.each([
    ['Chinese', '灯塔在港口的北边，渔夫们夜里靠它回家。', '灯塔在哪里？'],
    ['Thai', 'ประภาคารอยู่ทางเหนือของท่าเรือ', 'ประภาคารอยู่ที่ไหน'],
    ['Japanese', '灯台は港の北にあります。', '灯台はどこですか'],
    ['German', 'Der Leuchtturm steht nördlich des Hafens.', 'Wo steht der LEUCHTTURM?'],
    ['Russian', 'Маяк стоит к северу от гавани.', 'Где стоит маяк?'],
    ['accents', 'Le café de Zoë est fermé.', 'cafe ZOE'],
  ])('finds %s', async (_name, text, question) => {
    await index.put(TOWN, [entry(1, 'something else entirely'), entry(2, text)])
    expect((await ids(question))[0]).toBe(2)
  })

  test.runIf(reopen !== undefined)('still has everything after it was opened again', async () => {
    await index.put(TOWN, [entry(1, 'lamp')])
    const again = await reopen?.()
    expect(await again?.count(TOWN)).toBe(1)
    await again?.close()
  })
}
