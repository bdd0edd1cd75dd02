/** How well words alone find what answers, on sets with judgements, on both engines. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { arrange } from '#rag/arrange.ts'
import { fuse } from '#rag/fuse.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import { openPostgresLexicalIndex } from '#rag/lexical.postgres.ts'
import { openSqliteLexicalIndex } from '#rag/lexical.sqlite.ts'
import { queryWords } from '#rag/words.mjs'

import { cutChunkingSet } from '../support/chunking-set.ts'
import { openGate, unseenFollowUps, unseenSmallTalk } from '../support/gate.ts'
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
  { name: 'cranfield', folder: 'cranfield', read: readCranfield, chats: ['en', 'de', 'es'] },
  { name: 'XQuAD in English', folder: 'xquad', read: () => readXquad('en'), chats: ['en', 'de', 'es'] },
  { name: 'XQuAD in Chinese', folder: 'xquad', read: () => readXquad('zh'), chats: ['zh'] },
  { name: 'XQuAD in Thai', folder: 'xquad', read: () => readXquad('th'), chats: ['th'] },
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
  for (const { text } of set.queries) {
    const { hits } = await search(text)
    rankings.push(hits.map(({ id }) => set.documents[id - 1]?.id ?? ''))
  }
  return measureRankings(set.queries, rankings)
}

/** What passes the gate follows from what every engine answers alike: it is asked once. */
function describeSets(
  sets: readonly (typeof SETS)[number][],
  { open, withGate }: { open: () => Promise<LexicalIndex>; withGate: boolean },
) {
  let index: LexicalIndex
  beforeAll(async () => {
    index = await open()
  })
  afterAll(() => index.close())

  for (const { name, folder, read, chats } of sets) {
    test.skipIf(!hasSet(folder))(
      `${name} is answered, and small talk is not (skipped where the set is not beside the project)`,
      async () => {
        const set = read()
        const measured = await measure(index, set, name)
        for (const [measureName, least] of Object.entries(LEAST[name]))
          expect(measured[measureName as keyof Measured], measureName).toBeGreaterThanOrEqual(least)
        if (!withGate) return
        const passes = await openGate(index, name)
        const asked = set.queries.map(({ text }) => text)
        expect(await passes(asked), 'answerable questions that pass the gate').toBeGreaterThanOrEqual(0.95)
        for (const language of chats)
          expect(await passes(unseenSmallTalk(language)), `small talk: ${language}`).toBeLessThanOrEqual(0.05)
        const own = chats[0]
        const behind = asked.slice(0, 100)
        expect(
          await passes(unseenSmallTalk(own), behind),
          'small talk behind a question',
        ).toBeLessThanOrEqual(0.05)
        expect(await passes(unseenFollowUps(own), behind), 'follow-ups').toBeGreaterThanOrEqual(0.95)
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
      const ranked = fuse([{ hits, least: 0, weight: 1 }]).flatMap(({ id, score }) => {
        const piece = pieces[id - 1]
        if (piece === undefined) return []
        const { ordinal: number, charStart: startOffset, charEnd: endOffset } = piece
        const place = { baseId: 'chunking', documentId: piece.corpus, number, startOffset, endOffset }
        return [{ id, score, similarity: null, text: piece.text, header: piece.header, page: null, ...place }]
      })
      recalls.push(recallOf(query, arrange(ranked, { characters: 6_000 }).stretches))
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
  describeSets(SETS, {
    open: () => Promise.resolve(openSqliteLexicalIndex(path.join(dir, 'words.sqlite'))),
    withGate: true,
  })
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
    describeSets(IN_ENGLISH, { open: () => openPostgresLexicalIndex(pool), withGate: false })
  },
)
