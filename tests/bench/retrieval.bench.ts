/**
 * How well questions find what answers them, with all-MiniLM in a real Ollama: `npm run bench -- retrieval`. The vectors are
 * kept in the cache folder; the first run makes them, for some minutes. `-- retrieval --only=cranfield` measures one set.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { eq, sql } from 'drizzle-orm'

import { createLog } from '#base/log.ts'
import { openKnowledgeSearch, type KnowledgeSearch } from '#knowledge/open.ts'
import { fingerprintOf, weightOf } from '#rag/fingerprint.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import type { Report, Row } from '../../scripts/bench.mjs'
import { cacheDir } from '../../scripts/setup/cache.mjs'
import { MINILM } from '../../scripts/setup/embedding-model.mjs'
import { cutChunkingSet } from '../support/chunking-set.ts'
import { unseenSmallTalk, type Language } from '../support/gate.ts'
import {
  addPieces,
  addSet,
  measureRecall,
  measureRetrieval,
  shareThatPasses,
  type MeasuredRetrieval,
} from '../support/measure-retrieval.ts'
import { startRealEmbeddings } from '../support/real-embeddings.ts'
import { hasSet, readCranfield, readXquad, type RetrievalSet } from '../support/retrieval-sets.ts'

const DIMENSIONS = 384

interface Wanted {
  name: string
  folder: 'cranfield' | 'xquad'
  read: () => RetrievalSet
  least?: number
  chats: readonly Language[]
}

const SETS: readonly Wanted[] = [
  { name: 'xquad-en', folder: 'xquad', read: () => readXquad('en'), least: 0.97, chats: ['en', 'de', 'es'] },
  { name: 'cranfield', folder: 'cranfield', read: readCranfield, least: 0.42, chats: ['en', 'de', 'es'] },
  { name: 'xquad-zh', folder: 'xquad', read: () => readXquad('zh'), chats: ['zh'] },
  { name: 'xquad-th', folder: 'xquad', read: () => readXquad('th'), chats: ['th'] },
]

export async function measure(options: readonly string[]): Promise<Report> {
  const only = options.find((option) => option.startsWith('--only='))?.slice('--only='.length)
  const dir = mkdtempSync(path.join(tmpdir(), 'troupe-retrieval-'))
  const models = await startRealEmbeddings(dir)
  const databaseUrl = `file:${path.join(cacheDir(), 'retrieval-bench.sqlite')}`
  const store = await openStore(databaseUrl)
  const search = await openKnowledgeSearch({
    ...{ store, databaseUrl, dataDir: dir, deployment: 'bench', embed: models.embed, embeddingModel: MINILM },
    ...{ log: createLog('warn'), now: () => performance.now() },
  })
  const rows: Row[] = []
  try {
    for (const { name, folder, read, least, chats } of SETS) {
      if (!hasSet(folder) || (only !== undefined && only !== name)) continue
      const set = read()
      const ids = await addSet({ store, search }, name, set)
      const asked = [...set.queries.map(({ text }) => text), ...chats.flatMap(unseenSmallTalk)]
      // What the model cannot read it is not asked.
      await models.ahead(asked.filter((text) => weightOf(fingerprintOf(MINILM, DIMENSIONS), text) > 0))
      const measured = await measureRetrieval(search, name, { set, ids })
      rows.push(...rowsOf(name, measured, least))
      for (const language of chats) {
        const chatted = await shareThatPasses(search, name, unseenSmallTalk(language))
        const title = `${name}: small talk (${language}) that passes, in 100`
        rows.push({ name: title, value: 100 * chatted, unit: '', most: 5 })
      }
    }
    if (hasSet('chunking') && (only === undefined || only === 'chunking'))
      rows.push(...(await measureChunking({ store, search, ahead: models.ahead })))
  } finally {
    await search.close()
    await store.close()
    await models.close()
    rmSync(dir, { recursive: true, force: true })
  }
  return { title: 'Retrieval: nDCG@10 in thousandths, all-MiniLM in Ollama', rows }
}

/** Whole documents, cut as we cut them, and what 6,000 characters of passages hold of what answers. */
async function measureChunking({
  ahead,
  ...on
}: {
  store: Store
  search: KnowledgeSearch
  ahead: (texts: readonly string[]) => Promise<void>
}): Promise<Row[]> {
  const set = cutChunkingSet()
  const pieces = set.pieces.map(({ corpus, header, text, charStart: startOffset, charEnd: endOffset }) => ({
    ...{ documentId: corpus, header, text, startOffset, endOffset },
  }))
  await addPieces(on, 'chunking', pieces)
  await ahead(set.queries.map(({ text }) => text))
  const both = await measureRecall(on.search, 'chunking', set)
  // Without a fingerprint nothing is compared with the vectors; the next revision has no answers in the cache.
  const { knowledgeBases } = on.store.t
  await on.store.db
    .update(knowledgeBases)
    .set({ fingerprint: null, revision: sql`${knowledgeBases.revision} + 1` })
    .where(eq(knowledgeBases.id, 'chunking'))
  const words = await measureRecall(on.search, 'chunking', set)
  const row = { unit: '' as const }
  return [
    { name: 'chunking: words, recall in 6,000 characters', value: thousandths(words), ...row },
    {
      name: 'chunking: both, recall in 6,000 characters',
      value: thousandths(both),
      least: thousandths(words),
      ...row,
    },
  ]
}

const thousandths = (share: number) => Math.round(1_000 * share)

function rowsOf(name: string, { words, meaning, both, passed }: MeasuredRetrieval, least = 0): Row[] {
  return [
    { name: `${name}: words`, value: thousandths(words.ndcg10), unit: '' },
    { name: `${name}: meaning`, value: thousandths(meaning.ndcg10), unit: '' },
    {
      name: `${name}: both`,
      value: thousandths(both.ndcg10),
      unit: '',
      least: thousandths(Math.max(least, words.ndcg10)),
    },
    {
      name: `${name}: both, first hit`,
      value: thousandths(both.hit1),
      unit: '',
      least: thousandths(words.hit1),
    },
    { name: `${name}: questions that pass, in 100`, value: Math.floor(100 * passed), unit: '', least: 95 },
  ]
}
