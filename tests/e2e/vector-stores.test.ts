/** The stores of vectors that are servers, over the real ones: a Chroma, and a PostgreSQL with pgvector. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import type { EmbedTexts } from '#rag/embedder.ts'
import { openChroma } from '#rag/vectors.chroma.ts'
import { hasPgvector, openPgvector } from '#rag/vectors.postgres.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { startChroma } from '../../scripts/setup/chroma.mjs'
import { installPgvector } from '../../scripts/setup/pgvector.mjs'
import { freePort } from '../../scripts/setup/ports.mjs'
import { describeVectorStore } from '../contract/vectors.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
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
    expect(await hasPgvector(pool)).toBe(true)
    return openPgvector(pool)
  }))

test('a PostgreSQL without pgvector is one where words alone answer', async () => {
  const plain = await startPostgres((await findPostgres()) ?? '')
  const own = new pg.Pool({ connectionString: plain.url })
  expect(await hasPgvector(own)).toBe(false)
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
