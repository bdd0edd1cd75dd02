import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { openSqliteVectorStore } from '#rag/vectors.sqlite.ts'

import { chance } from '../support/chance.ts'
import { describeVectorStore, unit } from './vectors.ts'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-vectors-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))
const open = (name: string, isNative: boolean) =>
  openSqliteVectorStore(path.join(dir, `${name}.sqlite`), { isNative })

describe('SQLite with sqlite-vec', () => describeVectorStore(() => Promise.resolve(open('native', true))))
describe('SQLite without it', () => describeVectorStore(() => Promise.resolve(open('plain', false))))

const SCOPE = { baseId: 'large', generation: 1 }
const DIMENSIONS = 64
const PIECES = 6_000

test.each([true, false])(
  'in a large base the signs choose, and hardly anything near is missed (native: %s)',
  async (isNative) => {
    const numbers = chance(7)
    const random = () => unit(...Array.from({ length: DIMENSIONS }, () => numbers.next().value))
    const items = Array.from({ length: PIECES }, (_, index) => ({
      id: index + 1,
      documentId: 'd',
      vector: random(),
    }))
    const store = open(`large-${String(isNative)}`, isNative)
    for (let start = 0; start < PIECES; start += 1_000)
      await store.put('m', SCOPE, items.slice(start, start + 1_000))
    let found = 0
    for (let round = 0; round < 20; round++) {
      // A question lies near what answers it; in all other directions it is chance.
      const near = items[round * 97]?.vector ?? random()
      const noise = random()
      const vector = unit(...near.map((value, at) => value + 0.7 * (noise[at] ?? 0)))
      const cosine = (other: Float32Array) =>
        other.reduce((sum, value, at) => sum + value * (vector[at] ?? 0), 0)
      const exact = items
        .map(({ id, vector: other }) => ({ id, similarity: cosine(other) }))
        .sort((a, b) => b.similarity - a.similarity)
        .slice(0, 10)
      const hits = await store.search({ fingerprint: 'm', scopes: [SCOPE], vector, limit: 30 })
      expect(hits[0]?.id).toBe(exact[0]?.id)
      found += exact.filter(({ id }) => hits.some((hit) => hit.id === id)).length
    }
    expect(found / 200).toBeGreaterThan(0.8)
    await store.close()
  },
)
