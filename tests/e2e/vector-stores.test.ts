/** The stores of vectors that are servers, over the real ones: a Chroma, and a PostgreSQL with pgvector. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { createLog } from '#base/log.ts'
import { runCli } from '#cli/run.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import type { EmbedTexts } from '#rag/embedder.ts'
import { openChroma } from '#rag/vectors.chroma.ts'
import { openPgvector, whyNoPgvector } from '#rag/vectors.postgres.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { startChroma } from '../../scripts/setup/chroma.mjs'
import { installPgvector } from '../../scripts/setup/pgvector.mjs'
import { freePort } from '../../scripts/setup/ports.mjs'
import { describeVectorStore } from '../contract/vectors.ts'
import { ADMIN_KEY, CONNECTION_KEY, openTestApp } from '../support/app.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { createGate, FAKE_MODEL } from '../support/fake-server.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { readHere } from '../support/read-here.ts'
import { sampleBase, sampleChunk, sampleDocument } from '../support/sample-knowledge.ts'

let dir: string
let port: number
let chroma: Awaited<ReturnType<typeof startChroma>>
let postgres: Awaited<ReturnType<typeof startPostgres>>
let pool: pg.Pool

const start = () =>
  startChroma({ port, dataDir: path.join(dir, 'chroma'), logFile: path.join(dir, 'chroma.log') })

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-vectors-'))
  port = await freePort()
  chroma = await start()
  postgres = await startPostgres(await installPgvector())
  pool = new pg.Pool({ connectionString: postgres.url })
})
afterAll(async () => {
  await pool.end()
  await Promise.all([chroma.stop(), postgres.stop()])
  await rm(dir, { recursive: true, force: true })
})

describe('a real Chroma', () =>
  describeVectorStore(() => Promise.resolve(openChroma({ url: chroma.url, deployment: 'contract' }))))

describe('a real PostgreSQL with pgvector', () =>
  describeVectorStore(async () => {
    expect(await whyNoPgvector(pool)).toBeUndefined()
    return openPgvector(pool)
  }))

test('a PostgreSQL without pgvector is one where words alone answer', async () => {
  const plain = await startPostgres((await findPostgres()) ?? '')
  const own = new pg.Pool({ connectionString: plain.url })
  expect(await whyNoPgvector(own)).toMatch(/has no pgvector/)
  await own.end()
  await plain.stop()
})

describe('retrieval over a Chroma that is killed', () => {
  const signal = new AbortController().signal
  const embed: EmbedTexts = (_model, texts) =>
    Promise.resolve(texts.map((text) => [Number(/lamp|lantern/.test(text)) + 0.01, 0.01, 0.1]))
  let store: Store
  let search: KnowledgeSearch

  beforeAll(async () => {
    const databaseUrl = `file:${path.join(dir, 'troupe.sqlite')}`
    store = await openStore(databaseUrl)
    search = await openKnowledgeSearch({
      ...{ store, databaseUrl, dataDir: dir, deployment: 'killed', chromaUrl: chroma.url, embed },
      ...{ embeddingModel: 'all-minilm', log: createLog('silent'), now: () => performance.now() },
    })
    await store.db.insert(store.t.knowledgeBases).values(sampleBase('town'))
    await addDocument('d1', 'The brass lamps cost three coins.')
  })
  afterAll(async () => {
    await search.close()
    await store.close()
  })

  async function addDocument(documentId: string, text: string) {
    const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
    await store.db.insert(knowledgeDocuments).values(sampleDocument(documentId, 'town'))
    await store.db
      .insert(knowledgeChunks)
      .values(sampleChunk({ baseId: 'town', documentId, number: 0, text }))
    const all = await store.db.select().from(knowledgeChunks)
    const pieces = all.filter((piece) => piece.documentId === documentId)
    const { fingerprint } = await search.index.add({ baseId: 'town', generation: 1 }, pieces, { signal })
    await store.db.update(knowledgeBases).set({ fingerprint, revision: all.length + 1 })
  }
  const ask = (text: string) => search.retrieve({ text, baseIds: ['town'], deadlineMs: 5_000 })

  test('goes on with words, says so, and has everything again when Chroma is back', async () => {
    const before = await ask('a lantern, please')
    expect(before.trace).toMatchObject({ store: 'chroma', gate: { reason: 'meaning' }, notes: [] })

    process.kill(-chroma.pid, 'SIGKILL')
    await chroma.ended
    const during = await ask('What do brass lamps cost?')
    expect(during.passages[0]?.text).toBe('The brass lamps cost three coins.')
    expect(during.trace.notes).toMatchObject([{ code: 'unavailable', what: 'meaning' }])
    expect(await search.index.health()).toMatchObject({ vectors: { ok: false, kind: 'chroma' } })
    await addDocument('d2', 'A lantern hangs at the pier.')

    chroma = await start()
    expect(await search.index.catchUp(signal)).toEqual({ rebuilt: ['town'] })
    const after = await ask('any lamp or lantern')
    expect(after.passages.map(({ similarity }) => (similarity ?? 0) > 0.9)).toEqual([true, true])
    expect(await search.index.health()).toMatchObject({ vectors: { ok: true } })
  })

  test('that lost all its data is filled again from the database', async () => {
    await chroma.stop()
    await rm(path.join(dir, 'chroma'), { recursive: true, force: true })
    chroma = await start()
    const lost = await ask('lanterns of any kind?')
    expect(lost.trace.pieces.every(({ meaning }) => meaning === null)).toBe(true)
    expect(await search.index.rebuild({ signal })).toEqual({ pieces: 2, vectors: 2 })
    await store.db.update(store.t.knowledgeBases).set({ revision: 99 })
    const found = await ask('lanterns of any kind?')
    expect(found.trace.pieces.filter(({ meaning }) => meaning !== null)).toHaveLength(2)
  })
})

test('a chat whose Chroma is killed in the middle goes on and its record says so; an empty one is filled by a command', async () => {
  const chromaDir = path.join(dir, 'chat')
  const at = await freePort()
  const begin = () => startChroma({ port: at, dataDir: chromaDir, logFile: path.join(dir, 'chat.log') })
  let own = await begin()
  const embedder = { name: 'fake-embed', contextTokens: 4_096, capabilities: ['embedding'] }
  const model = await openFakeOpenAi({ models: [FAKE_MODEL, embedder] })
  const troupe = await openTestApp(
    {
      ...{ OPENAI_API_BASE_URLS: model.url, DEFAULT_MODEL: FAKE_MODEL.name, EMBEDDING_MODEL: embedder.name },
      ...{ CHROMA_URL: own.url, TROUPE_LOOKUP_MS: '10000' },
    },
    { readDocument: readHere },
  )
  const get = async <T>(where: string) => (await (await troupe.request('GET', where)).json()) as T
  const chat = (content: string) =>
    troupe.request('POST', '/v1/chat/completions', {
      key: CONNECTION_KEY,
      body: { model: 'mira', stream: true, messages: [{ role: 'user', content }] },
    })
  const lookedUp = async (answer: Response) => {
    const id = answer.headers.get('x-request-id') ?? ''
    return (await get<{ anatomy: { knowledge: unknown } }>(`/troupe/api/requests/${id}`)).anatomy.knowledge
  }
  const vectors = async () =>
    (await get<{ checks: Record<string, { ok: boolean }> }>('/readyz')).checks['knowledge vectors chroma']?.ok

  await troupe.importCard({ name: 'Mira' })
  const base = { name: 'Shop', characterIds: ['mira'], settings: { wholeBase: 'never' } }
  await troupe.request('POST', '/troupe/api/knowledge/bases', { body: base })
  const form = new FormData()
  form.append('files', new Blob(['The brass lamps of Skerry Point cost three coins.']), 'lamps.md')
  await troupe.request('POST', '/troupe/api/knowledge/bases/shop/documents', { body: form })
  await vi.waitUntil(
    async () =>
      (await get<{ documents: { ready: number } }>('/troupe/api/knowledge/bases/shop')).documents.ready === 1,
    { timeout: 30_000, interval: 50 },
  )

  const gate = createGate()
  model.enqueue({ chunks: ['Three ', 'coins.'], beforeChunk: gate })
  gate.open(1)
  const running = await chat('What do the brass lamps cost?')
  process.kill(-own.pid, 'SIGKILL')
  await own.ended
  gate.open()
  expect(await running.text()).toMatch(/coins\.[^]*\[DONE\]/)
  expect(await lookedUp(running)).toMatchObject({ store: 'chroma', notes: [] })

  const during = await chat('And what do brass lamps of Skerry Point cost?')
  expect(during.status).toBe(200)
  expect(await during.text()).not.toContain('"error"')
  expect(JSON.stringify(model.chats().at(-1)?.body['messages'])).toContain('cost three coins')
  expect(await lookedUp(during)).toMatchObject({ notes: [{ code: 'unavailable', what: 'meaning' }] })
  expect(await vectors()).toBe(false)

  await rm(chromaDir, { recursive: true, force: true })
  own = await begin()
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  const silent = () => new Writable({ write: (_chunk, _encoding, done) => done() })
  expect(await runCli(['knowledge', 'rebuild'], { env, out: silent(), err: silent() })).toBe(0)
  expect(await vectors()).toBe(true)
  const after = await chat('Tell me what the brass lamps of Skerry Point cost.')
  expect(await after.text()).not.toContain('"error"')
  expect(await lookedUp(after)).toMatchObject({
    notes: [],
    pieces: [{ meaning: expect.any(Number) as number }],
  })
  await troupe.close()
  await Promise.all([model.close(), own.stop()])
}, 120_000)
