import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterEach, beforeEach, expect, test } from 'vitest'

import { createExams, type Exams } from '#knowledge/exam.ts'
import type { Retrieval } from '#knowledge/retrieval.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

let dataDir: string
let store: Store
let exams: Exams
let nowMs: number
/** What is found for a question, best first. */
let found: Record<string, string[]>
/** Questions that the search by meaning comes too late for. */
let late: Set<string>

const by = { actor: 'Tess' }
const signal = new AbortController().signal
const retrieve: Retrieval['retrieve'] = ({ text }) =>
  Promise.resolve({
    passages: (found[text] ?? []).map((passage) => ({ text: passage })),
    trace: { notes: late.has(text) ? [{ code: 'late', what: 'meaning' }] : [] },
  } as never)

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-exam-'))
  store = await openStore(`file:${path.join(dataDir, 'x.sqlite')}`)
  nowMs = 1_000
  found = {}
  late = new Set()
  exams = createExams({ store, retrieval: { retrieve }, index: { hasMeaning: false }, now: () => nowMs++ })
  await store.atomically((db) => [
    db.insert(store.t.knowledgeBases).values({
      ...{
        id: 'harbour',
        name: 'Harbour',
        note: null,
        settings: {},
        generation: 1,
        buildingGeneration: null,
      },
      ...{ fingerprint: null, revision: 1, createdAtMs: 0, updatedAtMs: 0 },
    } as typeof store.t.knowledgeBases.$inferInsert),
  ])
  await addDocument('log', 'log.md', LOG)
})
afterEach(async () => {
  await store.close()
  await rm(dataDir, { recursive: true, force: true })
})

type State = 'waiting' | 'ready' | 'failed'

/** A document with these passages, which overlap by nothing. */
async function addDocument(id: string, name: string, passages: readonly string[], state: State = 'ready') {
  const { knowledgeDocuments, knowledgeChunks } = store.t
  const document = { id, baseId: 'harbour', name, title: name, mediaType: 'text/plain', state, notes: [] }
  const counts = { sizeBytes: 1, pagesRead: 0, chunksEmbedded: 0, createdAtMs: 0, updatedAtMs: 0 }
  const chunks = passages.map((text, number) => ({
    ...{ baseId: 'harbour', documentId: id, generation: 1, number, header: '', text },
    ...{ startOffset: number, endOffset: number, textHash: text.slice(0, 9), isDisabled: false },
  }))
  await store.atomically((db) => [
    db.insert(knowledgeDocuments).values({ ...document, ...counts, originalHash: id, createdBy: 'Tess' }),
    ...chunks.map((chunk) => db.insert(knowledgeChunks).values(chunk)),
  ])
}

const LOG = ['The lamp was lit on 3 March.', 'It burns whale oil.', 'Mira keeps it, and this one.']

const add = (question: string, quote: string) =>
  exams.add({ baseId: 'harbour', question, quote, documentName: 'log.md' }, by)

test('tells for each question at which place its passage was found, and the figures over all', async () => {
  await add('When was it lit?', 'The lamp  was lit\non 3 March')
  await add('What burns?', 'whale oil')
  await add('Who keeps it?', 'Mira')
  found = {
    'When was it lit?': ['Rain.', 'At four the LAMP was lit on 3 March, for the fog came.'],
    'What burns?': ['It burns whale oil.'],
  }
  const run = await exams.run('harbour', signal)
  expect(run.questions.map(({ rank, rankBefore }) => [rank, rankBefore])).toEqual([
    [2, undefined],
    [1, undefined],
    [null, undefined],
  ])
  expect(run.hitRate).toBeCloseTo(2 / 3)
  // 1/log2(3), 1/log2(2) and nothing.
  expect(run.ndcg).toBeCloseTo((1 / Math.log2(3) + 1) / 3)
})

test('tells what changed since the last run', async () => {
  await add('What burns?', 'whale oil')
  found = { 'What burns?': ['It burns whale oil.'] }
  await exams.run('harbour', signal)
  found = {}
  expect((await exams.run('harbour', signal)).questions).toMatchObject([{ rank: null, rankBefore: 1 }])
  expect((await exams.run('harbour', signal)).questions).toMatchObject([{ rank: null, rankBefore: null }])
})

test('a question that a search came too late for is counted apart, and compared with the time before again', async () => {
  await add('What burns?', 'whale oil')
  await add('Who keeps it?', 'Mira')
  found = { 'What burns?': ['It burns whale oil.'], 'Who keeps it?': ['Mira does.'] }
  await exams.run('harbour', signal)
  found = { 'What burns?': ['It burns whale oil.'] }
  late = new Set(['What burns?', 'Who keeps it?'])
  const run = await exams.run('harbour', signal)
  // What was found in spite of it was found.
  expect(run).toMatchObject({ hitRate: 1, ndcg: 1, unanswered: 1 })
  expect(run.questions).toMatchObject([
    { rank: 1, isUnanswered: false },
    { rank: null, isUnanswered: true, rankBefore: 1 },
  ])
  late = new Set()
  expect((await exams.run('harbour', signal)).questions[1]).toMatchObject({ rank: null, rankBefore: 1 })
})

test('an exam of which nothing was answered in time has no figures', async () => {
  await add('What burns?', 'whale oil')
  late = new Set(['What burns?'])
  await expect(exams.run('harbour', signal)).rejects.toMatchObject({ code: 'unavailable' })
})

test('keeps of a long passage some words from its middle, which a new cut leaves together', async () => {
  const words = Array.from({ length: 200 }, (_, at) => `word${String(at)}`)
  await addDocument('words', 'words.md', [words.join(' ')])
  const wish = { baseId: 'harbour', question: 'Which?', quote: words.join(' '), documentName: 'words.md' }
  const { quote } = await exams.add(wish, by)
  expect(quote.length).toBeLessThanOrEqual(200)
  expect(words.join(' ')).toContain(quote)
  expect(quote).toMatch(/^word\d+ .* word\d+$/)
  expect(quote).toContain('word100')
})

test('an exam without questions, a question that is not there and an unknown base are told', async () => {
  await expect(exams.run('harbour', signal)).rejects.toMatchObject({ code: 'invalid' })
  await expect(exams.remove('harbour', 'nobody')).rejects.toMatchObject({ code: 'not_found' })
  await expect(
    exams.add({ baseId: 'no', question: 'a', quote: 'b', documentName: 'c' }, by),
  ).rejects.toMatchObject({
    code: 'not_found',
  })
  const { id } = await add('Which?', 'this one')
  await exams.remove('harbour', id)
  expect(await exams.questions('harbour')).toEqual([])
})

test('one that is stopped leaves no run behind', async () => {
  await add('What burns?', 'whale oil')
  await expect(exams.run('harbour', AbortSignal.abort())).rejects.toMatchObject({ code: 'cancelled' })
  found = { 'What burns?': ['It burns whale oil.'] }
  expect((await exams.run('harbour', signal)).questions[0]).not.toHaveProperty('rankBefore')
})

test('takes a quote across two passages, and of a document that is still being read', async () => {
  await add('What of it?', 'on 3 March. It burns')
  await addDocument('tides', 'tides.md', [], 'waiting')
  const wish = { baseId: 'harbour', question: 'When?', quote: 'at noon', documentName: 'tides.md' }
  await exams.add(wish, by)
  // What answers until the new file is read does not say it.
  await addDocument('newer', 'log.md', [], 'waiting')
  await add('Who is it?', 'Nobody any more')
  expect(await exams.questions('harbour')).toHaveLength(3)
})

test('refuses what could never be found, and says whether it is the document or the quote', async () => {
  const wish = { baseId: 'harbour', question: 'When?', quote: 'on 3 March' }
  await expect(exams.add({ ...wish, documentName: 'no.md' }, by)).rejects.toMatchObject({
    ...{ code: 'not_found', param: 'document', message: expect.stringContaining('"no.md"') as string },
  })
  await expect(add('When?', 'on 4 March')).rejects.toMatchObject({ code: 'invalid', param: 'quote' })
  await addDocument('scan', 'scan.pdf', [], 'failed')
  await expect(exams.add({ ...wish, documentName: 'scan.pdf' }, by)).rejects.toMatchObject({
    ...{ code: 'invalid', param: 'document', message: expect.stringContaining('not read') as string },
  })
  await store.atomically((db) => [db.update(store.t.knowledgeChunks).set({ isDisabled: true })])
  await expect(add('When?', 'on 3 March')).rejects.toMatchObject({ param: 'quote' })
  expect(await exams.questions('harbour')).toEqual([])
})
