/** How well words alone find what answers, on sets with judgements, on both engines. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { arrange } from '#rag/arrange.ts'
import { fuse } from '#rag/fuse.ts'
import { decide } from '#rag/gate.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import { openPostgresLexicalIndex } from '#rag/lexical.postgres.ts'
import { openSqliteLexicalIndex } from '#rag/lexical.sqlite.ts'
import { queryWords } from '#rag/words.mjs'

import { cutChunkingSet } from '../support/chunking-set.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import {
  hasSet,
  measureRankings,
  readCranfield,
  readXquad,
  type Measured,
  type RetrievalSet,
} from '../support/retrieval-sets.ts'

const SETS = [
  { name: 'cranfield', folder: 'cranfield', read: readCranfield },
  { name: 'XQuAD in English', folder: 'xquad', read: () => readXquad('en') },
  { name: 'XQuAD in Chinese', folder: 'xquad', read: () => readXquad('zh') },
  { name: 'XQuAD in Thai', folder: 'xquad', read: () => readXquad('th') },
] as const

/** At least so much, on both engines; the other scripts are cut into words in the same way on both. */
const LEAST: Record<(typeof SETS)[number]['name'], Partial<Measured>> = {
  cranfield: { ndcg10: 0.38 },
  'XQuAD in English': { hit1: 0.94, hit4: 0.985 },
  'XQuAD in Chinese': { ndcg10: 0.95 },
  'XQuAD in Thai': { ndcg10: 0.95 },
}
const IN_ENGLISH = SETS.slice(0, 2)

async function fill(index: LexicalIndex, set: RetrievalSet, name: string) {
  const scope = { baseId: name, generation: 1 }
  const entries = set.documents.map(({ title, text }, at) => ({
    ...{ id: at + 1, documentId: name, header: title, text },
  }))
  await index.removeScope(scope)
  for (let start = 0; start < entries.length; start += 64)
    await index.put(scope, entries.slice(start, start + 64))
  return (text: string) => index.search({ scopes: [scope], words: queryWords(text), limit: 30 })
}

async function measure(index: LexicalIndex, set: RetrievalSet, name: string) {
  const search = await fill(index, set, name)
  const rankings: string[][] = []
  let passed = 0
  for (const { text } of set.queries) {
    const found = await search(text)
    rankings.push(found.hits.map(({ id }) => set.documents[id - 1]?.id ?? ''))
    if (decide({ text, words: queryWords(text), lexical: found }).passes) passed++
  }
  return { ...measureRankings(set.queries, rankings), passed: passed / set.queries.length, search }
}

const smallTalk = (await readFile(path.join(import.meta.dirname, '../fixtures/small-talk.txt'), 'utf8'))
  .trim()
  .split('\n')

function describeSets(sets: readonly (typeof SETS)[number][], open: () => Promise<LexicalIndex>) {
  let index: LexicalIndex
  beforeAll(async () => {
    index = await open()
  })
  afterAll(() => index.close())

  for (const { name, folder, read } of sets) {
    test.skipIf(!hasSet(folder))(
      `${name} is answered, and small talk is not (skipped where the set is not beside the project)`,
      async () => {
        const { passed, search, ...measured } = await measure(index, read(), name)
        for (const [measureName, least] of Object.entries(LEAST[name]))
          expect(measured[measureName as keyof Measured], measureName).toBeGreaterThanOrEqual(least)
        expect(passed, 'answerable questions that the gate lets through').toBeGreaterThanOrEqual(0.95)
        let chatted = 0
        for (const text of smallTalk) {
          const lexical = await search(text)
          if (decide({ text, words: queryWords(text), lexical }).passes) chatted++
        }
        expect(chatted / smallTalk.length, 'small talk that the gate lets through').toBeLessThanOrEqual(0.05)
      },
      180_000,
    )
  }
}

test.skipIf(!hasSet('chunking'))(
  'within 6,000 characters, what is cut and found holds what answers (skipped where the set is not beside the project)',
  async () => {
    const { pieces, queries, recallOf } = cutChunkingSet()
    const dir = await mkdtemp(path.join(tmpdir(), 'troupe-sets-'))
    const index = openSqliteLexicalIndex(path.join(dir, 'words.sqlite'))
    const scope = { baseId: 'chunking', generation: 1 }
    for (let start = 0; start < pieces.length; start += 64)
      await index.put(
        scope,
        pieces
          .slice(start, start + 64)
          .map(({ corpus, header, text }, at) => ({ id: start + at + 1, documentId: corpus, header, text })),
      )
    const recalls: number[] = []
    for (const query of queries) {
      const { hits } = await index.search({ scopes: [scope], words: queryWords(query.text), limit: 30 })
      const ranked = fuse([{ ids: hits.map(({ id }) => id), weight: 1 }]).flatMap(({ id, score }) => {
        const piece = pieces[id - 1]
        if (piece === undefined) return []
        const { ordinal: number, charStart: startOffset, charEnd: endOffset } = piece
        const place = { baseId: 'chunking', documentId: piece.corpus, number, startOffset, endOffset }
        return [{ id, score, similarity: null, text: piece.text, header: piece.header, page: null, ...place }]
      })
      recalls.push(recallOf(query, arrange(ranked, 6_000).stretches))
    }
    await index.close()
    await rm(dir, { recursive: true, force: true })
    const recall = recalls.reduce((sum, one) => sum + one, 0) / recalls.length
    expect(recall).toBeGreaterThanOrEqual(0.92)
  },
  180_000,
)

describe('SQLite', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-sets-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  describeSets(SETS, () => Promise.resolve(openSqliteLexicalIndex(path.join(dir, 'words.sqlite'))))
})

const bin = await findPostgres()

describe.skipIf(bin === undefined)(
  'PostgreSQL (skipped where Debian has no postgresql package installed)',
  () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    let pool: pg.Pool
    beforeAll(async () => {
      server = await startPostgres(bin ?? '')
      pool = new pg.Pool({ connectionString: server.url })
    })
    afterAll(async () => {
      await pool.end()
      await server.stop()
    })
    describeSets(IN_ENGLISH, () => openPostgresLexicalIndex(pool))
  },
)
