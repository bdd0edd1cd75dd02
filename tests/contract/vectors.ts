/** What every store of vectors must do; `vectors.test.ts` runs it on each engine, `tests/e2e/vector-stores.test.ts` on a real Chroma and a real pgvector. */
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

import type { Scope } from '#rag/scope.ts'
import type { VectorStore } from '#rag/vectors.ts'

export const unit = (...numbers: number[]) => {
  const length = Math.hypot(...numbers)
  return Float32Array.from(numbers, (number) => number / length)
}

export function describeVectorStore(open: () => Promise<VectorStore>): void {
  let store: VectorStore
  beforeAll(async () => {
    store = await open()
  })
  afterAll(() => store.close())

  const TOWN = { baseId: 'town', generation: 1 }
  const SHIPS = { baseId: 'ships', generation: 1 }
  const NEW_TOWN = { baseId: 'town', generation: 2 }
  beforeEach(async () => {
    for (const scope of [TOWN, SHIPS, NEW_TOWN]) await store.removeScope(scope)
  })

  const MODEL = 'a model'
  const item = (id: number, vector: Float32Array, documentId = 'd1') => ({ id, documentId, vector })
  const search = (
    vector: Float32Array,
    scopes: readonly Scope[] = [TOWN],
    { fingerprint = MODEL, limit = 10 } = {},
  ) => store.search({ fingerprint, scopes, vector, limit })
  const ids = async (...of: Parameters<typeof search>) => (await search(...of)).map(({ id }) => id)

  test('finds the nearest first, with its cosine', async () => {
    await store.put(MODEL, TOWN, [
      item(1, unit(1, 0, 0)),
      item(2, unit(1, 1, 0)),
      item(3, unit(-1, 0, 0)),
      item(4, unit(0, 0, 1)),
    ])
    const found = await search(unit(1, 0, 0))
    expect(found.map(({ id }) => id)).toEqual([1, 2, 4, 3])
    for (const [index, cosine] of [1, Math.SQRT1_2, 0, -1].entries())
      expect(found[index]?.similarity).toBeCloseTo(cosine, 5)
    expect(await ids(unit(1, 0, 0), [TOWN], { limit: 2 })).toEqual([1, 2])
  })

  test('never finds anything outside of the scopes that it was given', async () => {
    await store.put(MODEL, TOWN, [item(1, unit(1, 0, 0))])
    await store.put(MODEL, SHIPS, [item(2, unit(1, 0, 0))])
    await store.put(MODEL, NEW_TOWN, [item(3, unit(1, 0, 0))])
    expect(await ids(unit(1, 0, 0), [TOWN])).toEqual([1])
    expect(await ids(unit(1, 0, 0), [SHIPS])).toEqual([2])
    expect((await ids(unit(1, 0, 0), [SHIPS, NEW_TOWN])).toSorted()).toEqual([2, 3])
    expect(await ids(unit(1, 0, 0), [])).toEqual([])
    expect(await ids(unit(1, 0, 0), [{ baseId: 'nobody', generation: 1 }])).toEqual([])
  })

  test('holds scopes apart whatever they are called', async () => {
    const name = fc.string({ minLength: 1, maxLength: 20 })
    await fc.assert(
      fc.asyncProperty(name, name, async (one, other) => {
        fc.pre(one !== other)
        const scopes = [one, other].map((baseId) => ({ baseId, generation: 1 }))
        const [mine, theirs] = scopes
        if (mine === undefined || theirs === undefined) return
        await store.put(MODEL, mine, [item(11, unit(1, 0, 0))])
        await store.put(MODEL, theirs, [item(12, unit(1, 0, 0))])
        expect(await ids(unit(1, 0, 0), [mine])).toEqual([11])
        for (const scope of scopes) await store.removeScope(scope)
      }),
      { numRuns: 10 },
    )
  })

  test('compares vectors of one model only', async () => {
    await store.put(MODEL, TOWN, [item(1, unit(1, 0, 0))])
    await store.put('another model', TOWN, [item(1, unit(0, 1, 0, 0)), item(2, unit(1, 0, 0, 0))])
    expect(await ids(unit(1, 0, 0))).toEqual([1])
    expect(await ids(unit(1, 0, 0, 0), [TOWN], { fingerprint: 'another model' })).toEqual([2, 1])
    expect(await ids(unit(1, 0, 0), [TOWN], { fingerprint: 'nobody' })).toEqual([])
    expect([await store.count(MODEL, TOWN), await store.count('another model', TOWN)]).toEqual([1, 2])
    await store.removeScope(TOWN, 'another model')
    expect([await store.count(MODEL, TOWN), await store.count('another model', TOWN)]).toEqual([0, 2])
  })

  test('replaces by id, and moves what is put elsewhere', async () => {
    await store.put(MODEL, TOWN, [item(1, unit(1, 0, 0)), item(2, unit(0, 1, 0))])
    await store.put(MODEL, TOWN, [item(1, unit(0, 0, 1))])
    expect([await ids(unit(0, 0, 1), [TOWN], { limit: 1 }), await store.count(MODEL, TOWN)]).toEqual([[1], 2])
    await store.put(MODEL, SHIPS, [item(1, unit(0, 0, 1))])
    expect([await ids(unit(0, 0, 1)), await ids(unit(0, 0, 1), [SHIPS])]).toEqual([[2], [1]])
  })

  test('forgets a document under every model, and nothing else', async () => {
    await store.put(MODEL, TOWN, [item(1, unit(1, 0, 0)), item(2, unit(1, 0, 0), 'd2')])
    await store.put('another model', TOWN, [item(1, unit(1, 0, 0, 0))])
    await store.removeDocument('d1')
    expect(await ids(unit(1, 0, 0))).toEqual([2])
    expect(await store.count('another model', TOWN)).toBe(0)
    await store.removeDocument('nobody')
  })

  test('refuses vectors of another length than those that lie there, in a question as well', async () => {
    await store.put(MODEL, TOWN, [item(1, unit(1, 0, 0))])
    await expect(store.put(MODEL, TOWN, [item(2, unit(1, 0))])).rejects.toMatchObject({ code: 'invalid' })
    await expect(search(unit(1, 0))).rejects.toMatchObject({ code: 'invalid' })
    expect(await store.count(MODEL, TOWN)).toBe(1)
  })

  test('takes more than one call can carry, and counts it', async () => {
    const many = Array.from({ length: 450 }, (_, index) =>
      item(index + 1, unit(Math.cos(index), Math.sin(index), 0.1)),
    )
    await store.put(MODEL, TOWN, many)
    expect(await store.count(MODEL, TOWN)).toBe(450)
    expect((await search(many[41]?.vector ?? unit(1), [TOWN], { limit: 1 }))[0]?.similarity).toBeCloseTo(1, 4)
  })

  test('says that it is there', async () => {
    await expect(store.ping()).resolves.toBeUndefined()
  })
}
