import { expect, test } from 'vitest'

import { openRecorder } from '#analytics/recorder.ts'
import { openStore } from '#store/open.ts'

import { sampleRecord } from '../../support/sample-record.ts'
import { silentLog } from '../../support/silent-log.ts'

const on = { log: silentLog, now: Date.now }

test('records of one moment share a commit, and each waits for its own', async () => {
  const store = await openStore('file::memory:')
  let commits = 0
  const append: typeof store.append = async (batch) => {
    commits += 1
    await store.append(batch)
  }
  const recorder = openRecorder({ ...on, store: { ...store, append } })
  await Promise.all(Array.from({ length: 250 }, (_, at) => recorder.add(sampleRecord({ id: String(at) }))))
  expect(await store.db.select().from(store.t.callRecords)).toHaveLength(250)
  expect(commits).toBeLessThanOrEqual(3)
  await recorder.close()
  await store.close()
})

test('a record that the database refuses takes no other with it', async () => {
  const store = await openStore('file::memory:')
  const recorder = openRecorder({ ...on, store })
  const broken = sampleRecord({ id: 'bad', status: null as never })
  const [bad, beside] = await Promise.allSettled([
    recorder.add(broken),
    recorder.add(sampleRecord({ id: 'beside' })),
  ])
  expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } })
  expect(beside.status).toBe('fulfilled')
  expect((await store.db.select().from(store.t.callRecords)).map(({ id }) => id)).toEqual(['beside'])
  expect(recorder.state().isFailing).toBe(false)
  await recorder.close()
  await store.close()
})

test('closing writes what is waiting', async () => {
  const store = await openStore('file::memory:')
  const recorder = openRecorder({ ...on, store })
  const added = recorder.add(sampleRecord())
  await recorder.close()
  await added
  expect(await store.db.select().from(store.t.callRecords)).toHaveLength(1)
  await store.close()
})
