/** What every store must do; `store.test.ts` runs it on each engine. */
import { Readable } from 'node:stream'

import { eq, sql } from 'drizzle-orm'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

import { findLoads } from '#analytics/loads.ts'
import { findRecord, recentCharacters } from '#analytics/queries.ts'
import { openRecorder } from '#analytics/recorder.ts'
import { loadDump, openDump, type DumpedRow } from '#store/dump.ts'
import { rowsOf, type Store } from '#store/store.ts'
import { openStore } from '#store/open.ts'

import { sampleCard } from '../support/samples.ts'
import { sampleBase, sampleChunk, sampleDocument } from '../support/sample-knowledge.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

export function describeStore(url: () => string): void {
  let store: Store
  beforeAll(async () => {
    store = await openStore(url())
  })
  afterAll(() => store.close())
  beforeEach(async () => {
    for (const table of [
      store.t.characters,
      store.t.callRecords,
      store.t.ratings,
      store.t.apiKeys,
      store.t.loreHits,
    ])
      await store.db.delete(table)
  })

  const character = (id: string) => ({
    id,
    name: id,
    publishedVersion: 1,
    latestVersion: 1,
    groups: ['Club'],
    deletedAtMs: null,
    createdAtMs: 1_795_000_000_123,
    updatedAtMs: 2,
  })
  const version = (characterId: string, number = 1) => ({
    characterId,
    number,
    card: sampleCard({ name: 'Zoë 灯台 🗼' }),
    originalHash: 'a',
    originalName: 'x.png',
    pictureHash: null,
    notes: [{ code: 'c', path: 'p', message: 'm' }],
    summary: { tagline: 'Ä', tags: ['x'], greetings: [], promptTokens: 3 },
    contentHash: 'b',
    note: null,
    createdBy: 'Tess',
    createdAtMs: 5,
    publishedAtMs: null,
  })

  test('gives back what was written: texts of any script, large times, nulls, JSON and booleans', async () => {
    await store.db.insert(store.t.characters).values(character('mira'))
    await store.db.insert(store.t.characterVersions).values(version('mira'))
    const record = {
      ...sampleRecord({ streamed: true, firstTokenMs: 1.5, groups: ['Club'] }),
      recordedAtMs: 6,
    }
    await store.append([rowsOf(store.t.callRecords, [record])])
    expect(await store.db.select().from(store.t.characters)).toEqual([character('mira')])
    expect(await store.db.select().from(store.t.characterVersions)).toEqual([version('mira')])
    expect(await store.db.select().from(store.t.callRecords)).toEqual([record])
  })

  test('runs all writes of a transaction or none', async () => {
    await store.atomically((db) => [
      db.insert(store.t.characters).values(character('a')),
      db.insert(store.t.characterVersions).values(version('a')),
    ])
    const broken = store.atomically((db) => [
      db.insert(store.t.characters).values(character('b')),
      db.insert(store.t.characters).values(character('a')),
    ])
    await expect(broken).rejects.toSatisfy((error) => store.isDuplicate(error))
    expect((await store.db.select().from(store.t.characters)).map(({ id }) => id)).toEqual(['a'])
  })

  test('adds rows among the changes of a transaction, bytes too, and leaves out those whose key is taken', async () => {
    const { personSets } = store.t
    const set = (dayMs: number, ...members: number[]) => ({
      ...{ dayMs, characterId: 'mira', groupName: '*', members: Buffer.from(members) },
    })
    await store.db.insert(personSets).values([set(1, 0, 255, 92), set(2, 2)])
    await store.atomically((db) => [
      db.delete(personSets).where(eq(personSets.dayMs, 1)),
      rowsOf(personSets, [set(1, 7, 0, 200), set(2, 9)]),
      rowsOf(personSets, []),
    ])
    const rows = await store.db.select().from(personSets).orderBy(personSets.dayMs)
    expect(rows.map(({ members }) => [...members])).toEqual([[7, 0, 200], [2]])
    await store.db.delete(personSets)
  })

  test('a database that was put back goes on counting where it was', async () => {
    const { people } = store.t
    const person = (name: string) => ({ person: name, firstDayMs: 1, lastDayMs: 1 })
    await store.db.insert(people).values(['ann', 'bob'].map(person))
    const dump = await openDump(url())
    const rows: DumpedRow[] = []
    // As from a database that has counted further than this one.
    for await (const row of dump.rows('people')) rows.push({ ...row, number: Number(row['number']) + 1_000 })
    await dump.close()
    await loadDump(url(), Readable.from([{ table: 'people', rows }]))
    await store.db.insert(people).values(person('cyd'))
    const numbers = (await store.db.select().from(people)).map(({ number }) => number)
    const last = Math.max(...rows.map((row) => Number(row['number'])))
    expect(Math.max(...numbers)).toBe(last + 1)
    await store.db.delete(people)
  })

  test('tells a taken key from other faults', async () => {
    expect(store.isDuplicate(new Error('other'))).toBe(false)
    const orphan = store.db.insert(store.t.characterVersions).values(version('nobody'))
    await expect(orphan).rejects.toSatisfy((error) => !store.isDuplicate(error))
  })

  test('counts pieces of knowledge up without giving a number twice, and keeps vectors byte for byte', async () => {
    const { knowledgeBases, knowledgeDocuments, knowledgeChunks, embeddings } = store.t
    await store.db.delete(knowledgeBases)
    await store.db.delete(embeddings)
    await store.db.insert(knowledgeBases).values(sampleBase('handbook'))
    await store.db.insert(knowledgeDocuments).values(sampleDocument('d1', 'handbook'))
    const add = async (...numbers: number[]) => {
      const rows = numbers.map((number) => sampleChunk({ documentId: 'd1', baseId: 'handbook', number }))
      await store.db.insert(knowledgeChunks).values(rows)
      return (await store.db.select().from(knowledgeChunks)).map(({ id }) => id)
    }
    const first = await add(0, 1)
    await store.db.delete(knowledgeChunks)
    const [again] = await add(0)
    expect(again).toBeGreaterThan(Math.max(...first))

    const vector = Buffer.from(new Float32Array([0.6, -0.8]).buffer)
    await store.db.insert(embeddings).values({ fingerprint: 'f', textHash: 'h', vector })
    expect(await store.db.select().from(embeddings)).toEqual([{ fingerprint: 'f', textHash: 'h', vector }])

    await store.db.delete(knowledgeBases)
    expect(await store.db.select().from(knowledgeDocuments)).toEqual([])
    expect(await store.db.select().from(knowledgeChunks)).toEqual([])
  })

  test('deletes the versions with their character', async () => {
    await store.db.insert(store.t.characters).values(character('mira'))
    await store.db.insert(store.t.characterVersions).values([version('mira', 1), version('mira', 2)])
    await store.db.delete(store.t.characters).where(eq(store.t.characters.id, 'mira'))
    expect(await store.db.select().from(store.t.characterVersions)).toEqual([])
  })

  test('updates under a condition and says what it changed', async () => {
    await store.db.insert(store.t.characters).values(character('mira'))
    const set = { latestVersion: sql`${store.t.characters.latestVersion} + 1` }
    const changed = await store.db
      .update(store.t.characters)
      .set(set)
      .where(eq(store.t.characters.id, 'mira'))
      .returning({ latest: store.t.characters.latestVersion })
    const missed = await store.db
      .update(store.t.characters)
      .set(set)
      .where(eq(store.t.characters.id, 'nobody'))
      .returning({ latest: store.t.characters.latestVersion })
    expect([changed, missed]).toEqual([[{ latest: 2 }], []])
  })

  test('opens a second time on the same tables', async () => {
    const second = await openStore(url())
    await second.ping()
    await second.close()
  })

  test('keeps each record once, however often it is sent, and finds it with its newest rating', async () => {
    const recorder = openRecorder({ store, log: silentLog, now: () => 7 })
    const record = sampleRecord({ id: 'r1', message: 'answer-1' })
    const passages = [
      { document: 'd2', chunk: '7,8', score: 0.5, isUsed: true },
      { document: 'd1', chunk: '3', score: 0.6, isUsed: false },
    ]
    await Promise.all([
      recorder.add(record, { passages }),
      recorder.add(record, { passages }),
      recorder.add(sampleRecord({ id: 'r2', message: null })),
    ])
    await recorder.addRating({ id: 'f1', message: 'answer-1', value: -1, atMs: 1 })
    await recorder.addRating({ id: 'f1', message: 'answer-1', value: 1, atMs: 2 })
    expect(await findRecord(store, 'r1')).toEqual({
      ...record,
      ...{ recordedAtMs: 7, rating: 1, passageHits: passages },
    })
    expect(await findRecord(store, 'r2')).toMatchObject({ rating: null, passageHits: [] })
    expect(await findRecord(store, 'r3')).toBeUndefined()
    await recorder.deleteRating('f1')
    expect(await findRecord(store, 'r1')).toMatchObject({ rating: null })
    await recorder.close()
    expect(await store.db.select().from(store.t.callRecords)).toHaveLength(2)
  })

  test('tells the loads of models and their causes, a load that several waited for once', async () => {
    const recorder = openRecorder({ store, log: silentLog, now: () => 7 })
    const upstream = 'http://loading'
    const call = (
      id: string,
      startedAtMs: number,
      contextTokens: number,
      loadMs: number | null = 1,
      kind: 'turn' | 'warm_up' = 'turn',
    ) =>
      recorder.add(sampleRecord({ id, kind, upstream, startedAtMs, contextTokens, loadMs, totalMs: 5_000 }))
    const beginMs = 1_800_000_000_000
    await call('first', beginMs, 4_096, 3_000)
    await call('waits for the same', beginMs + 1_000, 4_096, 2_000)
    await call('warm', beginMs + 10_000, 4_096)
    await call('another window', beginMs + 20_000, 8_192, 3_000)
    await call('after a break', beginMs + 400_000, 8_192, 3_000, 'warm_up')
    await call('silent server', beginMs + 409_000, 8_192, null)
    await call('another program', beginMs + 410_000, 8_192, 3_000)
    const loads = await findLoads(store, beginMs)
    expect(loads.map(({ requestId, cause, surface }) => [requestId, cause, surface])).toEqual([
      ['another program', 'elsewhere', 'api'],
      ['after a break', 'idle', null],
      ['another window', 'window', 'api'],
      ['first', 'first', 'api'],
    ])
    expect(await findLoads(store, beginMs + 405_000)).toHaveLength(1)
    await recorder.close()
  })

  test('knows who was talked to last', async () => {
    const recorder = openRecorder({ store, log: silentLog, now: () => 7 })
    const turns: [string | null, number, 'turn' | 'task'][] = [
      ['old', 1, 'turn'],
      ['new', 3, 'turn'],
      ['task only', 4, 'task'],
      [null, 5, 'turn'],
      ['old', 2, 'turn'],
    ]
    for (const [at, [characterId, afterMs, kind]] of turns.entries()) {
      const startedAtMs = 1_900_000_000_000 + afterMs
      await recorder.add(sampleRecord({ id: `talk-${String(at)}`, characterId, startedAtMs, kind }))
    }
    expect(await recentCharacters(store, 2)).toEqual(['new', 'old'])
    await recorder.close()
  })

  test('adds rows to several tables in one commit, or to none', async () => {
    const { callRecords, loreHits } = store.t
    const hit = (position: number) => ({
      ...{ recordId: 'r1', position, startedAtMs: 1, characterId: 'mira' },
      ...{ entry: 'The lamp "\0', tokens: 4, isDropped: false },
    })
    await store.append([
      rowsOf(callRecords, [sampleRecord({ id: 'r1' })]),
      rowsOf(loreHits, [hit(0), hit(1)]),
    ])
    const broken = store.append([
      rowsOf(callRecords, [sampleRecord({ id: 'r2' })]),
      rowsOf(loreHits, [{ ...hit(2), entry: null as never }]),
    ])
    await expect(broken).rejects.toMatchObject({ code: 'invalid' })
    expect((await store.db.select().from(callRecords)).map(({ id }) => id)).toEqual(['r1'])
    expect((await store.db.select().from(loreHits)).map(({ position }) => position)).toEqual([0, 1])
  })
}
