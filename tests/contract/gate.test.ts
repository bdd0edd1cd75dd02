/** What the gate makes of small talk and of questions that it was never tuned on. Larger bases: `retrieval-sets.test.ts`. */
import { readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type { Embeddings } from '#knowledge/embeddings.ts'
import { createFloors, type Census } from '#knowledge/floors.ts'
import { CHUNK_OPTIONS } from '#rag/chunk.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import { openSqliteLexicalIndex } from '#rag/lexical.sqlite.ts'
import { prepareDocument } from '#rag/prepare.ts'
import type { VectorStore } from '#rag/vectors.ts'

import { handbookFile, openGate, unseenFollowUps, unseenQuestions, unseenSmallTalk } from '../support/gate.ts'

const BENNO = path.join(import.meta.dirname, '../../characters/benno/knowledge')

let dir: string
let index: LexicalIndex
let nextId = 1
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-gate-'))
  index = openSqliteLexicalIndex(path.join(dir, 'words.sqlite'))
})
afterAll(async () => {
  await index.close()
  await rm(dir, { recursive: true, force: true })
})

async function addBase(baseId: string, files: readonly string[]) {
  for (const file of files) {
    const name = path.basename(file)
    const reading = { name, bytes: await readFile(file), progress: () => undefined }
    const { chunks } = await prepareDocument(reading, CHUNK_OPTIONS)
    const entries = chunks.map(({ header, text }) => ({ id: nextId++, documentId: name, header, text }))
    await index.put({ baseId, generation: 1 }, entries)
  }
  return openGate(index, baseId)
}

/**
 * Bounds as measured, not as wished: bases this small say little about which words are rare. They fit into the prompt and stand
 * in it whole, unless that was turned off.
 */
test.each([
  ['en', readdirSync(BENNO).map((name) => path.join(BENNO, name)), 0.83, 0.03],
  ['de', [handbookFile('de')], 0.92, 0.08],
  ['es', [handbookFile('es')], 1, 0.04],
] as const)(
  'a small base answers questions and not small talk, nor behind a question, but what goes on with it (%s)',
  async (language, files, kept, chatted) => {
    const passes = await addBase(language, files)
    const questions = unseenQuestions(language)
    expect(await passes(questions)).toBeGreaterThanOrEqual(kept)
    expect(await passes(unseenSmallTalk(language))).toBeLessThanOrEqual(chatted)
    const answered: string[] = []
    for (const question of questions) if ((await passes([question])) === 1) answered.push(question)
    expect(await passes(unseenSmallTalk(language), answered)).toBeLessThanOrEqual(chatted + 0.05)
    expect(await passes(unseenFollowUps(language), answered)).toBeGreaterThanOrEqual(0.95)
  },
)

test('a base that hardly changed is not tried again, and one that did is, of like size or not', async () => {
  const base = { id: 'grown', generation: 1, fingerprint: null }
  const scope = { baseId: base.id, generation: 1 }
  const ids: number[] = []
  const pieces = (count: number, text: string, documentId = 'd') =>
    Array.from({ length: count }, () => {
      ids.push(nextId)
      return { id: nextId++, documentId, header: '', text }
    })
  const census: Census = (_scope, after) =>
    Promise.resolve({
      pieces: ids.length,
      newest: Math.max(...ids),
      since: ids.filter((id) => id > after).length,
    })
  await index.put(scope, pieces(8, 'Lamps and boats.'))
  let searches = 0
  const lexical: LexicalIndex = {
    ...index,
    search: (search) => {
      searches++
      return index.search(search)
    },
  }
  const floors = createFloors({ lexical, census, vectors: undefined, now: () => 0 })
  const calibrated = async (revision: number) => {
    const before = searches
    await floors.calibrate({ ...base, revision }, new AbortController().signal)
    return searches - before
  }
  expect(floors.chance({ ...base, revision: 1 }, 'hello')).toBeUndefined()
  expect(await calibrated(1)).toBeGreaterThan(100)
  expect(await calibrated(1)).toBe(0)
  await index.put(scope, pieces(1, 'My kitchen smells of bread, the whole house is wonderful.'))
  expect(await calibrated(2)).toBe(0)
  expect(floors.chance({ ...base, revision: 2 }, 'I am baking bread')).toBeDefined()
  await index.put(scope, pieces(3, 'More of them.'))
  expect(await calibrated(3)).toBeGreaterThan(100)
  await index.removeDocument('d')
  ids.length = 0
  await index.put(scope, pieces(12, 'Something else altogether, of the same size.', 'e'))
  expect(await calibrated(4)).toBeGreaterThan(100)
})

describe('how near small talk comes to a base by its meaning', () => {
  const vectorsNear = (similarity: () => number): VectorStore =>
    ({ search: () => Promise.resolve([{ id: 1, similarity: similarity() }]) }) as unknown as VectorStore
  const embeddings = { question: () => Promise.resolve(new Float32Array(1)) } as unknown as Embeddings
  const census: Census = () => Promise.resolve({ pieces: 1, newest: 1, since: 0 })
  const base = { id: 'near', generation: 1, fingerprint: 'm', revision: 1 }
  const { signal } = new AbortController()

  test('is remembered while the base changes, until it was tried again', async () => {
    let similarity = 0.8
    const floors = createFloors({
      ...{ lexical: index, census, embeddings, now: () => 0 },
      vectors: vectorsNear(() => similarity),
    })
    await floors.calibrate(base, signal)
    expect(floors.nearness(base)).toBe(0.8)
    similarity = 0.6
    const changed = { ...base, revision: 2 }
    expect(floors.nearness(changed)).toBe(0.8)
    await floors.calibrate(changed, signal)
    expect(floors.nearness(changed)).toBe(0.6)
    expect(floors.nearness({ ...base, fingerprint: 'other' })).toBeLessThan(0.6)
  })

  test('is learnt also where words cannot be tried, and the other way round', async () => {
    const fails = () => Promise.reject(new Error('away'))
    const on = { census, embeddings, now: () => 0 }
    const withoutWords = createFloors({ ...on, lexical: { search: fails }, vectors: vectorsNear(() => 0.8) })
    await expect(withoutWords.calibrate(base, signal)).rejects.toThrow('away')
    expect(withoutWords.nearness(base)).toBe(0.8)
    const withoutVectors = createFloors({
      ...{ ...on, lexical: index },
      vectors: { ...vectorsNear(() => 0.8), search: fails },
    })
    await expect(withoutVectors.calibrate(base, signal)).rejects.toThrow('away')
    expect(withoutVectors.chance(base, 'hello there')).toBeDefined()
  })
})
