/** The daily comparison with Open WebUI, over processes that come and go. */
import { beforeEach, describe, expect, test, vi } from 'vitest'

import { openMemoryKv } from '#kv/memory.ts'
import type { Kv } from '#kv/kv.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { openDesk, type Desk, type DeskParts } from '../../../sidecar/src/desk.ts'
import { readConfig } from '../../../sidecar/src/config.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../../support/fake-open-webui.ts'
import { silentLog } from '../../support/silent-log.ts'

const LOOK_MS = 5 * 60_000
const HOUR_MS = 3_600_000

let store: Store
let kv: Kv
let openWebUi: FakeOpenWebUi
let nowMs: number
let compared: number
let failed: number
let isAway: boolean
const desks: Desk[] = []

beforeEach(async () => {
  nowMs = 1_795_000_000_000
  ;[compared, failed, isAway] = [0, 0, false]
  store = await openStore('file::memory:')
  kv = openMemoryKv({ now: () => nowMs })
  openWebUi = await openFakeOpenWebUi()
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  return async () => {
    vi.useRealTimers()
    await stopAll()
    await Promise.all([store.close(), kv.close(), openWebUi.close()])
  }
})

async function stopAll(): Promise<void> {
  for (const desk of desks.splice(0)) await desk.close()
}

function start(): void {
  const reconcile = () => {
    if (isAway) failed += 1
    else compared += 1
    if (isAway) return Promise.reject(new Error('away'))
    return Promise.resolve({ erased: 0, refused: false })
  }
  const parts = {
    config: readConfig({ OPENWEBUI_URL: openWebUi.url, OPENWEBUI_API_KEY: openWebUi.adminKey }),
    library: { list: () => Promise.resolve([]), onChange: () => () => undefined },
    ...{ kv, characters: store, analytics: store, log: silentLog, now: () => nowMs },
    privacy: { reconcile },
  }
  const desk = openDesk(parts as unknown as DeskParts)
  if (desk !== undefined) desks.push(desk)
}

/** Timers go by; what they begin may take a moment longer. */
async function pass(ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= LOOK_MS) {
    nowMs += LOOK_MS
    vi.advanceTimersByTime(LOOK_MS)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

const expectCount = (of: () => number, count: number) =>
  vi.waitFor(() => expect(of()).toBe(count), { timeout: 10_000 })

describe('the comparison with the people of Open WebUI', () => {
  test('happens every day in a house that is restarted every night', async () => {
    for (const day of [1, 2, 3]) {
      start()
      await pass(HOUR_MS / 2)
      await expectCount(() => compared, day)
      // Not again while the day lasts, nor after a restart.
      await stopAll()
      start()
      await pass(HOUR_MS / 2)
      expect(compared).toBe(day)
      await stopAll()
      nowMs += 24 * HOUR_MS
    }
  })

  test('is made by one of several processes', async () => {
    for (let replica = 0; replica < 4; replica += 1) start()
    await pass(HOUR_MS / 2)
    await expectCount(() => compared, 1)
    nowMs += 24 * HOUR_MS
    await pass(HOUR_MS / 2)
    await expectCount(() => compared, 2)
  })

  test('that failed is made up for in an hour', async () => {
    start()
    isAway = true
    await pass(HOUR_MS / 2)
    await expectCount(() => failed, 1)
    isAway = false
    await pass(HOUR_MS / 4)
    expect(compared).toBe(0)
    nowMs += HOUR_MS
    await pass(HOUR_MS / 4)
    await expectCount(() => compared, 1)
    expect(failed).toBe(1)
  })
})
