/** From a turn to its passages, over a real store and the real indexes, with a model that is made of three words. */
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { eq } from 'drizzle-orm'
import type { Pool } from 'pg'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { AppError } from '#base/errors.ts'
import { createLog } from '#base/log.ts'
import { createEmbeddings } from '#knowledge/embeddings.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import { createRetrieval } from '#knowledge/retrieve.ts'
import { createSearchIndex } from '#knowledge/search-index.ts'
import type { EmbedTexts } from '#rag/embedder.ts'
import { whyNoPgvector } from '#rag/vectors.postgres.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { sampleBase, sampleChunk, sampleDocument } from '../support/sample-knowledge.ts'

const signal = new AbortController().signal
const log = createLog('silent')

let dir: string
let store: Store
let search: KnowledgeSearch
let embed: EmbedTexts

/** Light, ships, anything else: `lamp` and `lantern` mean the same to it. */
const meaning: EmbedTexts = (_model, texts) =>
  Promise.resolve(
    texts.map((text) => [
      Number(/lamp|lantern/i.test(text)) + 0.001,
      Number(/ship|boat/i.test(text)) + 0.001,
      Number(!/lamp|lantern|ship|boat/i.test(text)) + 0.001,
    ]),
  )

beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-retrieve-'))
  store = await openStore(`file:${path.join(dir, 'troupe.sqlite')}`)
  embed = meaning
  search = await open()
})
afterEach(async () => {
  await search.close()
  await store.close()
  await rm(dir, { recursive: true, force: true })
})

const open = (
  more: { embeddingModel?: string; chromaUrl?: string; rerank?: { url: string; model: string } } = {},
) =>
  openKnowledgeSearch({
    ...{ store, databaseUrl: `file:${path.join(dir, 'troupe.sqlite')}`, dataDir: dir, deployment: 'test' },
    embed: (...of) => embed(...of),
    embeddingModel: 'all-minilm',
    ...more,
    log,
    now: () => performance.now(),
  })

/** A base with one document of these pieces, none of which follow each other, as an ingest leaves it. */
async function addBase(id: string, texts: readonly string[], settings = {}) {
  const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
  await store.db.insert(knowledgeBases).values(sampleBase(id, { settings }))
  await store.db.insert(knowledgeDocuments).values(sampleDocument(`${id}-document`, id))
  const rows = texts.map((text, number) =>
    sampleChunk({ baseId: id, documentId: `${id}-document`, number: number * 2, text }),
  )
  await store.db.insert(knowledgeChunks).values(rows)
  return index(id)
}

async function index(id: string) {
  const { knowledgeBases, knowledgeChunks } = store.t
  const pieces = await store.db.select().from(knowledgeChunks).where(eq(knowledgeChunks.baseId, id))
  const { fingerprint } = await search.index.add({ baseId: id, generation: 1 }, pieces, { signal })
  await store.db.update(knowledgeBases).set({ fingerprint, revision: 2 }).where(eq(knowledgeBases.id, id))
  return pieces.map((piece) => piece.id)
}

const TOWN = [
  'Brakk sells brass lamps for three coins at the old market.',
  'Nobody fishes in the harbour during the feast of the moon.',
  'The mayor of the town is called Oswin and collects clocks.',
  'Rain is what the town is known for, from autumn to spring.',
]
const ask = (text: string, more: Partial<Parameters<KnowledgeSearch['retrieve']>[0]> = {}) =>
  search.retrieve({ text, baseIds: ['town'], deadlineMs: 5_000, ...more })

describe('a turn', () => {
  test('finds what answers it, by words and by meaning, and says how', async () => {
    await addBase('town', TOWN)
    const { passages, trace } = await ask('What do brass lamps cost?')
    expect(passages[0]).toMatchObject({
      text: TOWN[0],
      documentName: 'town-document.md',
      documentTitle: 'town-document',
      baseId: 'town',
    })
    expect(passages[0]?.similarity).toBeGreaterThan(0.9)
    expect(trace).toMatchObject({
      store: 'sqlite',
      gate: { passes: true, reason: 'both' },
      notes: [],
      isCached: false,
    })
    expect(trace.pieces[0]).toMatchObject({ words: { place: 1 }, meaning: { place: 1 }, fate: 'used' })
  })

  test('finds by meaning what has none of its words', async () => {
    await addBase('town', TOWN)
    const { passages, trace } = await ask('anything like a lantern')
    expect(passages[0]?.text).toBe(TOWN[0])
    expect(trace.gate).toMatchObject({ reason: 'meaning' })
  })

  test('that is small talk gets nothing, and the account says what it would have been', async () => {
    await addBase('town', TOWN)
    embed = (_model, texts) => Promise.resolve(texts.map(() => [0, 0, -1]))
    const { passages, trace } = await ask('hello, lovely rain today')
    expect(passages).toEqual([])
    expect(trace.gate).toMatchObject({ passes: false, reason: 'small talk' })
    expect(trace.pieces.map(({ fate }) => fate)).toContain('gate')
  })

  test('that leans on the one before is looked up with it', async () => {
    await addBase('town', TOWN)
    const alone = await ask('And who sells them?')
    const { passages, trace } = await ask('And who sells them?', { previous: 'Are there brass lamps here?' })
    expect(passages[0]?.text).toBe(TOWN[0])
    // The account tells how near it is to the message itself.
    const [first] = trace.pieces
    expect(first).toMatchObject({ fate: 'used', words: { place: 1 } })
    expect(first?.meaning?.similarity).toBe(
      alone.trace.pieces.find(({ id }) => id === first?.id)?.meaning?.similarity,
    )
    expect(passages[0]?.similarity).toBe(first?.meaning?.similarity)
    expect(alone.trace.lookups).toHaveLength(1)
  })

  test('tells of each piece what became of it, of those too many to be looked at as well', async () => {
    const lamps = Array.from(
      { length: 40 },
      (_, at) => `Lamp ${String(at)} of ${'street '.repeat(at)}the town.`,
    )
    await addBase('town', [...lamps, 'A boat at sea.'])
    const { trace } = await ask('Which lamp is in the town?', { budgetCharacters: 1_000 })
    const fates = new Set(trace.pieces.slice(0, 40).map(({ fate }) => fate))
    expect(fates).toContain('used')
    expect(trace.pieces.slice(30, 40).map(({ fate }) => fate)).toEqual(Array(10).fill('behind'))
    expect(trace.pieces[40]?.fate).toBe('far')
  })

  test('is answered from the cache until something in the base changes', async () => {
    const [id = 0] = await addBase('town', TOWN)
    const first = await ask('What do brass lamps cost?')
    const again = await ask('What do brass lamps cost?')
    expect(again.trace.isCached).toBe(true)
    expect(again.passages).toEqual(first.passages)
    const { knowledgeBases, knowledgeChunks } = store.t
    await store.db.update(knowledgeChunks).set({ isDisabled: true }).where(eq(knowledgeChunks.id, id))
    await store.db.update(knowledgeBases).set({ revision: 3 })
    const { passages } = await ask('What do brass lamps cost?')
    expect(passages.map(({ text }) => text)).not.toContain(TOWN[0])
  })
})

describe('what a character may not see', () => {
  test('is never answered: other bases, other generations, the trash, unready documents, disabled pieces', async () => {
    await addBase('town', ['A marker of the town lamp.'])
    await addBase('ships', ['A marker of the ships lamp.'])
    const texts = async (baseIds: string[]) => {
      const { passages } = await ask('the marker of the lamp', { baseIds })
      return passages.map(({ text }) => text)
    }
    expect(await texts(['town'])).toEqual(['A marker of the town lamp.'])
    expect(await texts(['ships'])).toEqual(['A marker of the ships lamp.'])
    expect((await texts(['town', 'ships'])).toSorted()).toHaveLength(2)
    expect(await texts([])).toEqual([])
    expect(await texts(['nobody'])).toEqual([])

    const { knowledgeBases, knowledgeDocuments } = store.t
    await store.db.update(knowledgeDocuments).set({ state: 'embedding' })
    await store.db.update(knowledgeBases).set({ revision: 9 })
    expect(await texts(['town', 'ships'])).toEqual([])
    await store.db.update(knowledgeDocuments).set({ state: 'ready' })
    await store.db.update(knowledgeBases).set({ revision: 10, deletedAtMs: 1 })
    expect(await texts(['town', 'ships'])).toEqual([])
    await store.db.update(knowledgeBases).set({ revision: 11, deletedAtMs: null, generation: 2 })
    expect(await texts(['town', 'ships'])).toEqual([])
  })

  test('stays out even where an index was told otherwise', async () => {
    await addBase('town', ['A marker of the town lamp.'])
    const [stray = 0] = await addBase('ships', ['A marker of the ships lamp.'])
    const entry = { id: stray, documentId: 'x', header: '', text: 'A marker of the ships lamp.' }
    await search.index.lexical.put({ baseId: 'town', generation: 1 }, [entry])
    const { passages } = await ask('the marker of the lamp')
    expect(passages.map(({ baseId }) => baseId)).toEqual(['town'])
  })
})

/** A PostgreSQL as it tells of its extension, or refuses it with this SQLSTATE. */
const poolThat = ({ version, code }: { version?: string; code?: string }) =>
  ({
    query: () =>
      code === undefined
        ? Promise.resolve({ rows: [{ version }] })
        : Promise.reject(Object.assign(new Error('refused'), { code })),
  }) as unknown as Pool

describe('when something is missing', () => {
  test('without a model words answer', async () => {
    await search.close()
    search = await openKnowledgeSearch({
      ...{ store, databaseUrl: `file:${path.join(dir, 'troupe.sqlite')}`, dataDir: dir, deployment: 'test' },
      ...{ embed: meaning, log, now: () => performance.now() },
    })
    await addBase('town', TOWN)
    const { passages, trace } = await ask('What do brass lamps cost?')
    expect(passages[0]).toMatchObject({ text: TOWN[0], similarity: null })
    expect(trace).toMatchObject({ gate: { reason: 'words' }, notes: [] })
    expect(await search.index.health()).toMatchObject({ words: { ok: true }, embedding: null })
  })

  test.each([
    [{ version: '0.8.0' }, undefined],
    [{ version: '0.10.1' }, undefined],
    [{ version: '1.0' }, undefined],
    [{ version: '0.7.4' }, /has pgvector 0\.7\.4.*0\.8 or newer.*alter extension vector update.*CHROMA_URL/],
    [{ code: '0A000' }, /has no pgvector.*CHROMA_URL/],
    [{ code: '42501' }, /does not let this role/],
  ])('a PostgreSQL with pgvector %j says why it cannot be used', async (has, why) => {
    const told = await whyNoPgvector(poolThat(has))
    if (why === undefined) expect(told).toBeUndefined()
    else expect(told).toMatch(why)
  })

  test('a PostgreSQL whose pgvector is too old is said where a model would make vectors', async () => {
    const whyNoVectors = await whyNoPgvector(poolThat({ version: '0.7.4' }))
    const parts = {
      ...{ store, lexical: search.index.lexical, vectors: undefined, log },
      ...(whyNoVectors !== undefined && { whyNoVectors }),
    }
    const health = (model?: string) =>
      createSearchIndex({
        ...parts,
        embeddings: createEmbeddings({ store, ...(model !== undefined && { model, embed: meaning }) }),
      }).health()
    expect((await health('meaning')).vectors).toMatchObject({
      ok: false,
      message: expect.stringMatching(/pgvector 0\.7\.4.*CHROMA_URL/),
    })
    expect((await health()).vectors).toBeNull()
  })

  test('a model server that is gone, or late, is said and done without', async () => {
    await addBase('town', TOWN)
    embed = () => Promise.reject(new AppError('unavailable', 'gone'))
    const without = await ask('What do brass lamps cost?')
    expect(without.passages[0]?.text).toBe(TOWN[0])
    expect(without.trace.notes).toEqual([{ code: 'unavailable', what: 'meaning', message: 'gone' }])

    embed = () => new Promise(() => undefined)
    const late = await ask('What do brass lamps cost now?', { deadlineMs: 3_000 })
    expect(late.passages[0]?.text).toBe(TOWN[0])
    expect(late.trace.notes).toEqual([{ code: 'late', what: 'meaning' }])
  })

  test('a Chroma that is away is said, words answer, and nothing that was added meanwhile is lost', async () => {
    await search.close()
    search = await open({ chromaUrl: 'http://127.0.0.1:9' })
    await addBase('town', TOWN)
    const { passages, trace } = await ask('What do brass lamps cost?')
    expect(passages[0]?.text).toBe(TOWN[0])
    expect(trace.notes).toMatchObject([{ code: 'unavailable', what: 'meaning' }])
    expect(await search.index.health()).toMatchObject({
      words: { ok: true },
      vectors: { ok: false, kind: 'chroma' },
    })

    await search.close()
    search = await open()
    await search.index.catchUp(signal)
    const after = await ask('anything like a lantern')
    expect(after.passages[0]?.text).toBe(TOWN[0])
  })

  test('lost index files are built again from the database, without embedding anything', async () => {
    await addBase('town', TOWN)
    await search.close()
    for (const name of ['words', 'vectors']) await rm(path.join(dir, `knowledge-${name}.sqlite`))
    embed = () => Promise.reject(new AppError('unavailable', 'nothing may be embedded'))
    search = await open()
    const progress: number[] = []
    const rebuilt = await search.index.rebuild({ signal, onProgress: (done) => progress.push(done) })
    expect([rebuilt, progress]).toEqual([{ pieces: 4, vectors: 4 }, [4]])
    embed = meaning
    expect((await ask('anything like a lantern')).passages[0]?.text).toBe(TOWN[0])
    await expect(search.index.rebuild({ baseId: 'nobody', signal })).rejects.toMatchObject({
      code: 'not_found',
    })
  })
})

test('a database that hangs holds no turn longer than its deadline, whatever was to be done', async () => {
  const hung: unknown = new Proxy(() => undefined, {
    get: (_, key) => (key === 'then' ? () => undefined : () => hung),
  })
  const db = { select: () => hung } as Store['db']
  const retrieval = createRetrieval({ store: { ...store, db }, index: search.index, now: () => 0 })
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  try {
    const answer = retrieval.retrieve({ text: 'Lamps?', baseIds: ['town'], wholeTokens: 10_000 })
    await vi.advanceTimersByTimeAsync(150)
    expect((await answer).trace.notes).toEqual([{ code: 'late', what: 'passages' }])
  } finally {
    vi.useRealTimers()
  }
})

describe('a reranker', () => {
  test('changes the order, and one that fails does not', async () => {
    const answers: unknown[] = [
      {
        results: [
          { index: 1, relevance_score: 0.9 },
          { index: 0, relevance_score: 0.1 },
        ],
      },
      'nonsense',
    ]
    const server = createServer((_request, response) => response.end(JSON.stringify(answers.shift())))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await search.close()
    search = await open({ rerank: { url: `http://127.0.0.1:${String(port)}`, model: 'r' } })
    await addBase('town', ['A brass lamp is here.', 'A brass lamp of the mayor.'])
    const blended = await ask('Where is a brass lamp?')
    expect(blended.trace.milliseconds.rerank).toBeGreaterThan(0)
    const failed = await ask('Where is the brass lamp?')
    expect(failed.trace.notes).toMatchObject([{ code: 'unavailable', what: 'rerank' }])
    expect(failed.passages).toHaveLength(2)
    server.close()
  })
})

describe('a base that is small', () => {
  test('goes in whole, in a fixed order, unless it is too long or does not allow it', async () => {
    await addBase('town', TOWN)
    const whole = async (baseIds: string[], budgetCharacters: number) =>
      (await ask('What is there?', { baseIds, budgetCharacters, wholeTokens: 10_000 })).whole
    const town = [{ documentId: 'town-document', text: TOWN.join('\n') }]
    expect(await whole(['town'], 1_000)).toMatchObject(town)
    expect(await whole(['town'], 100)).toBeUndefined()
    expect(await whole([], 100)).toBeUndefined()
    // Its 240 letters cost about 60 tokens, with what stands around them.
    expect((await ask('What is there?', { wholeTokens: 30 })).whole).toBeUndefined()
    expect((await ask('What is there?', { budgetCharacters: 1_000 })).whole).toBeUndefined()
    await addBase('ships', ['A ship.'], { wholeBase: 'never' })
    expect(await whole(['town', 'ships'], 1_000)).toBeUndefined()
    expect(await whole(['town'], 1_000)).toMatchObject(town)
  })

  test('is added up once, and again when something in it changes', async () => {
    await addBase('town', TOWN)
    const whole = async () =>
      (await ask('What is there?', { budgetCharacters: 1_000, wholeTokens: 10_000 })).whole
    const first = await whole()
    expect(await whole()).toBe(first)
    const { knowledgeBases, knowledgeChunks } = store.t
    await store.db.update(knowledgeChunks).set({ isDisabled: true }).where(eq(knowledgeChunks.number, 0))
    await store.db.update(knowledgeBases).set({ revision: 3 })
    expect((await whole())?.[0]?.text).toBe(TOWN.slice(1).join('\n'))
  })
})

test('bases of two models are found side by side: what is near for one is far for the other', async () => {
  // For the second model everything is near everything, as it is for the e5 family: 0.97 is far there.
  const crowded = (text: string) =>
    text.startsWith('search_query') ? [10, 0, text.includes('lantern') ? 2 : 1] : [10, 1, 0]
  embed = (model, texts, ...rest) =>
    model === 'all-minilm' ? meaning(model, texts, ...rest) : Promise.resolve(texts.map(crowded))
  await addBase('town', TOWN)
  await search.close()
  search = await open({ embeddingModel: 'nomic-embed-text' })
  await addBase('ships', ['Red sails.', 'Blue sails at sea.', 'A boat.', 'Nets and ropes.'])
  await search.calibrate(['town', 'ships'], signal)
  const { passages, trace } = await ask('anything like a lantern', { baseIds: ['town', 'ships'] })
  expect(trace.gate).toMatchObject({ passes: true, reason: 'meaning' })
  expect(passages.map(({ text }) => text)).toEqual([TOWN[0]])
  expect(trace.pieces.filter(({ meaning: near }) => near?.place === 1)).toHaveLength(2)
})

test('the model changes: the old vectors answer until the new ones are whole', async () => {
  await addBase('town', TOWN)
  await search.close()
  search = await open({ embeddingModel: 'nomic-embed-text' })
  expect((await ask('anything like a lantern')).passages[0]?.text).toBe(TOWN[0])
  const told: string[] = []
  const { fingerprint } = await search.index.embedBase('town', {
    signal,
    onEmbedded: (done, total) => told.push(`${String(done)}/${String(total)}`),
  })
  expect(told).toEqual(['4/4'])
  await store.db.update(store.t.knowledgeBases).set({ fingerprint, revision: 3 })
  await search.index.forgetOtherVectors('town')
  const { passages, trace } = await ask('anything like a lantern')
  expect(passages[0]?.text).toBe(TOWN[0])
  expect(trace.notes).toEqual([])
})
