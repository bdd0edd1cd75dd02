/** What was used up, on its way into the table and out of it. */
import { beforeEach, expect, test, vi } from 'vitest'

import { openUsage, type Usage } from '#gateway/usage.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { silentLog } from '../../support/silent-log.ts'

const DAY_MS = 86_400_000

let store: Store
let usage: Usage
let nowMs: number
beforeEach(async () => {
  nowMs = 1_795_000_000_000
  store = await openStore('file::memory:')
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  usage = openUsage({ store, log: silentLog, now: () => nowMs })
  return async () => {
    vi.useRealTimers()
    await usage.close()
    await store.close()
  }
})

const keys = async () => (await store.db.select().from(store.t.usageSums)).map(({ key }) => key)

test('more sums than a statement takes are written, each once', async () => {
  const many = Array.from({ length: 25_000 }, (_, at) => `used:key:${String(at)}:turns:2026-11`)
  for (const key of many) usage.add(key, 1, nowMs + DAY_MS)
  await usage.flush()
  await usage.flush()
  expect(await keys()).toHaveLength(many.length)
  expect([...(await usage.read(many.slice(4_999, 5_002))).values()]).toEqual([1, 1, 1])
})

test('a sum goes a week after its period, while the process runs', async () => {
  usage.add('used:key:old:turns:2026-11-20', 1, nowMs)
  usage.add('used:key:new:turns:2026-11-27', 1, nowMs + 7 * DAY_MS)
  await usage.flush()
  nowMs += 7 * DAY_MS
  const look = async (left: readonly string[]) => {
    vi.advanceTimersByTime(5_000)
    await vi.waitFor(async () => expect(await keys()).toEqual(left), 10_000)
  }
  await look(['used:key:old:turns:2026-11-20', 'used:key:new:turns:2026-11-27'])
  nowMs += 3_600_000
  await look(['used:key:new:turns:2026-11-27'])
})
