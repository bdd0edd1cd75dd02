/** What a small real model adds to words: a part of a set in English. The whole sets: `npm run bench -- retrieval`. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { MINILM } from '../../scripts/setup/embedding-model.mjs'
import { unseenSmallTalk } from '../support/gate.ts'
import { addSet, measureRetrieval, shareThatPasses } from '../support/measure-retrieval.ts'
import { startRealEmbeddings } from '../support/real-embeddings.ts'
import { hasSet, readXquad, type RetrievalSet } from '../support/retrieval-sets.ts'

/** Half a minute of a free core. */
const DOCUMENTS = 40
const QUESTIONS = 120

let dir: string
let models: Awaited<ReturnType<typeof startRealEmbeddings>>
let store: Store
let search: KnowledgeSearch

beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-retrieval-'))
  models = await startRealEmbeddings(dir)
  const databaseUrl = `file:${path.join(dir, 'troupe.sqlite')}`
  store = await openStore(databaseUrl)
  search = await openKnowledgeSearch({
    ...{ store, databaseUrl, dataDir: dir, deployment: 'e2e', embed: models.embed, embeddingModel: MINILM },
    ...{ log: createLog('silent'), now: () => performance.now() },
  })
})
afterAll(async () => {
  await search.close()
  await store.close()
  await models.close()
  await rm(dir, { recursive: true, force: true })
})

function partOfXquad(): RetrievalSet {
  const { documents, queries } = readXquad('en')
  const kept = documents.slice(0, DOCUMENTS)
  const ids = new Set(kept.map(({ id }) => id))
  const of = queries.filter(({ relevant }) => [...relevant].some((id) => ids.has(id)))
  return { documents: kept, queries: of.slice(0, QUESTIONS) }
}

test.skipIf(!hasSet('xquad'))(
  'words and meaning find more than words, and small talk still gets nothing (skipped where the set is not beside the project)',
  async () => {
    const set = partOfXquad()
    const ids = await addSet({ store, search }, 'xquad-en', set)
    const smallTalk = unseenSmallTalk('en').filter((_, at) => at % 2 === 0)
    await models.ahead([...set.queries.map(({ text }) => text), ...smallTalk])
    const { words, both, passed } = await measureRetrieval(search, 'xquad-en', { set, ids })
    expect(both.ndcg10).toBeGreaterThanOrEqual(Math.max(0.97, words.ndcg10))
    expect(both.hit1).toBeGreaterThanOrEqual(words.hit1)
    expect(passed).toBeGreaterThanOrEqual(0.95)
    const chatted = await shareThatPasses(search, 'xquad-en', smallTalk)
    expect(chatted).toBeLessThanOrEqual(0.05)
  },
  600_000,
)
