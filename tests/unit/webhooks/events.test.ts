import { expect, test } from 'vitest'

import { openUsage } from '#gateway/usage.ts'
import { createAudit } from '#library/audit.ts'
import { openStore } from '#store/open.ts'
import { eventsWithin } from '#webhooks/events.ts'

import { silentLog } from '../../support/silent-log.ts'
import { sampleBase, sampleDocument } from '../../support/sample-knowledge.ts'

test('a document that could not be read is told once, without a word of it, and again when it fails again', async () => {
  const store = await openStore('file::memory:')
  const { knowledgeBases, knowledgeDocuments: documents } = store.t
  await store.db.insert(knowledgeBases).values(sampleBase('town'))
  const failure = { code: 'invalid', message: 'It begins with "Dear Tess"' }
  const failed = sampleDocument('d1', 'town', { state: 'failed', failure, updatedAtMs: 500 })
  await store.db.insert(documents).values([failed, sampleDocument('d2', 'town', { updatedAtMs: 500 })])
  const told = async (fromMs: number, untilMs: number) =>
    (await eventsWithin(store, { fromMs, untilMs })).events
  const [event, ...others] = await told(400, 600)
  expect(event).toEqual({
    ...{ id: 'document_d1_500', type: 'document.failed', atMs: 500 },
    data: { documentId: 'd1', baseId: 'town', code: 'invalid' },
  })
  expect(others).toEqual([])
  expect(await told(501, 600)).toEqual([])
  await store.db.update(documents).set({ updatedAtMs: 700 })
  expect((await told(400, 800)).map(({ id }) => id)).toEqual(['document_d1_700'])
  await store.close()
})

test('of the audit what concerns characters is told, and nothing that bears its kind in front', async () => {
  const store = await openStore('file::memory:')
  const audit = createAudit(store, () => 500)
  for (const target of ['mira', 'lorebook realm', 'knowledge law', 'model small', 'the library'])
    await audit.row(store.db, { actor: 'Tess', action: 'edit', target })
  const { events } = await eventsWithin(store, { fromMs: 400, untilMs: 600 })
  expect(events.map(({ type, data }) => [type, data['characterId']])).toEqual([['character.edited', 'mira']])
  await store.close()
})

test('that a quota is used up is told once for each person or key and period, and names nobody', async () => {
  const store = await openStore('file::memory:')
  let nowMs = 500
  const usage = openUsage({ store, log: silentLog, now: () => nowMs })
  const tom = 'used:person:lasting-name-of-tom:tokens:2026-11'
  const key = 'used:key:abc:budget:2026-11'
  const told = async () => {
    await usage.flush()
    const { events } = await eventsWithin(store, { fromMs: 400, untilMs: nowMs })
    return events.map(({ atMs, data }) => [atMs, data])
  }
  usage.add(tom, 60, 9_000, 100)
  usage.add(key, 0, 9_000, 2_000_000)
  expect(await told()).toEqual([])
  nowMs = 600
  usage.add(tom, 50, 9_000, 100)
  const used = { quota: 'tokens', period: '2026-11', used: 110, limit: 100 }
  const person = expect.stringMatching(/^[0-9a-f]{16}$/) as string
  expect(await told()).toEqual([[600, { person, ...used }]])
  nowMs = 700
  usage.add(tom, 5, 9_000, 100)
  usage.refused(tom, 9_000, 100)
  usage.refused(key, 9_000, 2_000_000)
  const all = await told()
  expect(all).toEqual([
    [600, { person, ...used, used: 115 }],
    [700, { keyId: 'abc', quota: 'budget', period: '2026-11', used: 0, limit: 2 }],
  ])
  expect(JSON.stringify(all)).not.toContain('tom')
  const { events } = await eventsWithin(store, { fromMs: 400, untilMs: nowMs })
  expect(new Set(events.map(({ id }) => id)).size).toBe(2)
  await usage.close()
  await store.close()
})
