/** Records against a real PostgreSQL that dies, goes silent, gets slow and breaks off: nothing lost, nothing twice. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { afterEach, beforeEach, describe, expect, vi } from 'vitest'

import { openRecorder, type Recorder } from '#analytics/recorder.ts'
import { openOutbox } from '#store/outbox.ts'
import { openStore } from '#store/open.ts'

import { openFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts'
import { reliabilityTest, type Tally } from '../support/reliability.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

const bin = await findPostgres()

/** Twenty turns a second, as in a busy house. */
const EVERY_MS = 50

/** Nobody waits longer for the end of an answer because of its record. */
const LONGEST_WAIT_MS = 1_000

interface Load {
  recorder: Recorder
  acknowledged: string[]
  waits: number[]
  /** Stops asking, and waits for what is under way. */
  stop(): Promise<void>
}

describe.skipIf(bin === undefined)('records and a PostgreSQL that is not well', () => {
  let server: PostgresServer
  let proxy: FaultProxy
  let dir: string
  beforeEach(async () => {
    server = await startPostgres(bin ?? '', { isDurable: true })
    proxy = await openFaultProxy(server.port)
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-records-'))
  })
  afterEach(async () => {
    await proxy.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })

  /** Records that come all the time, through the proxy. */
  async function openLoad(): Promise<Load & { ping(): Promise<void>; close(): Promise<void> }> {
    const store = await openStore(`postgres://postgres@127.0.0.1:${String(proxy.port)}/postgres`, {
      connections: 4,
    })
    const outbox = await openOutbox({ dir, mostBytes: 64 * 1_048_576 })
    const recorder = openRecorder({ store, outbox, log: silentLog, now: Date.now })
    const acknowledged: string[] = []
    const waits: number[] = []
    const underWay = new Set<Promise<void>>()
    let count = 0
    const timer = setInterval(() => {
      const id = `r${String(count++).padStart(6, '0')}`
      const askedAtMs = performance.now()
      const adding = recorder.add(sampleRecord({ id, chat: `chat-${String(count % 5)}` })).then(() => {
        acknowledged.push(id)
        waits.push(performance.now() - askedAtMs)
      })
      underWay.add(adding)
      void adding.finally(() => underWay.delete(adding)).catch(() => undefined)
    }, EVERY_MS)
    return {
      ...{ recorder, acknowledged, waits, ping: store.ping },
      async stop() {
        clearInterval(timer)
        await Promise.all(underWay)
      },
      async close() {
        clearInterval(timer)
        await recorder.close()
        await outbox.close()
        await store.close()
      },
    }
  }

  async function checkStored({ acknowledged }: Load, { counters, figures }: Tally): Promise<void> {
    const store = await openStore(server.url)
    const rows = await store.db.select({ id: store.t.callRecords.id }).from(store.t.callRecords)
    await store.close()
    const stored = new Set(rows.map(({ id }) => id))
    counters.lost = acknowledged.filter((id) => !stored.has(id)).length
    counters.duplicated = rows.length - stored.size
    figures['acknowledged'] = acknowledged.length
  }

  const drained = (recorder: Recorder) =>
    vi.waitFor(() => expect(recorder.state()).toMatchObject({ isSpilling: false, pending: 0 }), 30_000)

  reliabilityTest(2, 'kill-postgres', async (tally) => {
    const load = await openLoad()
    await sleep(1_000)
    await server.crash()
    const before = load.acknowledged.length
    await sleep(3_000)
    expect(load.acknowledged.length).toBeGreaterThan(before + 20)
    expect(load.recorder.state().isSpilling).toBe(true)
    await server.restart()
    const backAtMs = performance.now()
    await drained(load.recorder)
    tally.figures['drained after ms'] = Math.round(performance.now() - backAtMs)
    await load.stop()
    tally.figures['longest wait ms'] = Math.round(Math.max(...load.waits))
    expect(Math.max(...load.waits)).toBeLessThan(LONGEST_WAIT_MS)
    await checkStored(load, tally)
    await load.close()
  })

  reliabilityTest(3, 'pg-blackhole', async (tally) => {
    const load = await openLoad()
    await sleep(1_000)
    proxy.set({ kind: 'blackhole' })
    const before = load.acknowledged.length
    await sleep(4_000)
    expect(load.acknowledged.length).toBeGreaterThan(before + 40)
    proxy.set({ kind: 'none' })
    await drained(load.recorder)
    await load.stop()
    tally.figures['longest wait ms'] = Math.round(Math.max(...load.waits))
    expect(Math.max(...load.waits)).toBeLessThan(LONGEST_WAIT_MS)
    await checkStored(load, tally)
    await load.close()
  })

  reliabilityTest(4, 'pg-slow', async (tally) => {
    const load = await openLoad()
    await sleep(500)
    proxy.set({ kind: 'slow', ms: 2_000 })
    await sleep(5_000)
    // What /readyz asks is answered soon, one way or the other.
    const askedAtMs = performance.now()
    await load.ping().catch(() => undefined)
    expect(performance.now() - askedAtMs).toBeLessThan(3_000)
    proxy.set({ kind: 'none' })
    await drained(load.recorder)
    await load.stop()
    tally.figures['longest wait ms'] = Math.round(Math.max(...load.waits))
    expect(Math.max(...load.waits)).toBeLessThan(LONGEST_WAIT_MS)
    await checkStored(load, tally)
    await load.close()
  })

  reliabilityTest(5, 'pg-commit-unknown', async (tally) => {
    const load = await openLoad()
    for (let round = 0; round < 10; round++) {
      proxy.set({ kind: 'cut-answer', to: 'insert into' })
      await vi.waitFor(() => expect(proxy.cuts()).toBeGreaterThan(round), 10_000)
      proxy.set({ kind: 'none' })
      await drained(load.recorder)
    }
    await load.stop()
    tally.figures['answers cut'] = proxy.cuts()
    expect(proxy.cuts()).toBeGreaterThanOrEqual(10)
    await checkStored(load, tally)
    await load.close()
  })
})
