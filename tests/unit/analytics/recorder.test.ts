import { expect, test } from 'vitest'

import { openRecorder } from '#analytics/recorder.ts'
import { openStore } from '#store/open.ts'

import { sampleRecord } from '../../support/sample-record.ts'

test('records of one moment share a commit, and each waits for its own', async () => {
  const store = await openStore('file::memory:')
  let commits = 0
  const append: typeof store.append = async (table, rows) => {
    commits += 1
    await store.append(table, rows)
  }
  const recorder = openRecorder({ store: { ...store, append } })
  await Promise.all(Array.from({ length: 250 }, (_, at) => recorder.add(sampleRecord({ id: String(at) }))))
  expect(await store.db.select().from(store.t.callRecords)).toHaveLength(250)
  expect(commits).toBeLessThanOrEqual(3)
  await recorder.close()
  await store.close()
})

test('a failed commit is told to everybody in it, and the next one works again', async () => {
  const store = await openStore('file::memory:')
  const recorder = openRecorder({ store })
  const broken = sampleRecord({ id: 'bad', status: null as never })
  await expect(
    Promise.all([recorder.add(broken), recorder.add(sampleRecord({ id: 'beside' }))]),
  ).rejects.toMatchObject({ code: 'unavailable' })
  await recorder.add(sampleRecord({ id: 'good' }))
  expect((await store.db.select().from(store.t.callRecords)).map(({ id }) => id)).toEqual(['good'])
  await store.close()
})

test('closing writes what is waiting', async () => {
  const store = await openStore('file::memory:')
  const recorder = openRecorder({ store })
  const added = recorder.add(sampleRecord())
  await recorder.close()
  await added
  expect(await store.db.select().from(store.t.callRecords)).toHaveLength(1)
  await store.close()
})
