import { expect, test } from 'vitest'

import { createAudit } from '#library/audit.ts'
import { openStore } from '#store/open.ts'
import { eventsWithin } from '#webhooks/events.ts'

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
