/** Records against a real PostgreSQL that dies, goes silent, gets slow and breaks off: nothing lost, nothing twice. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'

import pg from 'pg'
import { afterEach, beforeEach, describe, expect, vi } from 'vitest'

import { openRecorder, type Recorder } from '#analytics/recorder.ts'
import { openOutbox } from '#store/outbox.ts'
import { openStore } from '#store/open.ts'

import { openFaultProxy, type FaultProxy } from '../support/fault-proxy.ts'
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts'
import { isLong, missing, reliabilityTest, type Tally } from '../support/reliability.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

const bin = await findPostgres()
const skip = missing({ PostgreSQL: bin !== undefined })

/** Chats, by how long each waits before its next turn: from one that asks again at once to one of a slow reader. */
const PAUSES_MS = [5, 50, 100, 250, 500]

/** How long the database of the records is down. */
const DOWN_MS = isLong ? 60_000 : 3_000

/** From its return to the moment at which nothing waits beside it any more. */
const LONGEST_DRAIN_MS = isLong ? 30_000 : 3_000

/** Nobody waits longer for the end of an answer because of its record. */
const LONGEST_WAIT_MS = 1_000

/** Where a few bytes for the disk take longer than this, the disk or the machine holds everybody up. */
const STALL_MS = 100

/** Writes a few bytes to the disk all the time, and tells when that took long. */
const WATCH = `const { openSync, writeSync, fdatasyncSync } = require('node:fs')
const { parentPort, workerData: { file, stallMs } } = require('node:worker_threads')
const fd = openSync(file, 'w')
for (;;) {
  const fromMs = Date.now()
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20)
  writeSync(fd, 'x', 0)
  fdatasyncSync(fd)
  const untilMs = Date.now()
  if (untilMs - fromMs > stallMs) parentPort.postMessage({ fromMs, untilMs })
}`

/** In the time of `Date.now()`. */
interface Span {
  fromMs: number
  untilMs: number
}

interface DiskWatch {
  /** How long it took, less the stalls of the disk and of the machine meanwhile. */
  ownMs(span: Span): number
  close(): Promise<unknown>
}

/** On a thread of its own: what keeps ours busy is no stall. */
function watchDisk(dir: string): DiskWatch {
  const stalls: Span[] = []
  const workerData = { file: path.join(dir, 'watch'), stallMs: STALL_MS }
  const worker = new Worker(WATCH, { eval: true, workerData })
  worker.on('message', (stall: Span) => stalls.push(stall))
  const common = (a: Span, b: Span) =>
    Math.max(0, Math.min(a.untilMs, b.untilMs) - Math.max(a.fromMs, b.fromMs))
  return {
    ownMs: (span) => stalls.reduce((ms, stall) => ms - common(span, stall), span.untilMs - span.fromMs),
    close: () => worker.terminate(),
  }
}

interface Load {
  recorder: Recorder
  acknowledged: string[]
  waits: Span[]
  /** Stops asking, and waits for what is under way. */
  stop(): Promise<void>
  ping(): Promise<void>
  close(): Promise<void>
}

interface StoredTurn {
  id: string
  chat: string
}

/** In the order in which the database got them: that of the table, which nobody changes here. */
async function readAsTheyCame(url: string): Promise<StoredTurn[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows } = await client.query<StoredTurn>(
    'select id, chat from call_records order by recorded_at_ms, ctid',
  )
  await client.end()
  return rows
}

describe('records and a PostgreSQL that is not well', () => {
  let server: PostgresServer
  let proxy: FaultProxy
  let dir: string
  let disk: DiskWatch
  beforeEach(async () => {
    server = await startPostgres(bin ?? '', { isDurable: true })
    proxy = await openFaultProxy(server.port)
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-records-'))
    disk = watchDisk(dir)
  })
  afterEach(async () => {
    await disk.close()
    await proxy.close()
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  })

  /** Records that come all the time, through the proxy. */
  async function openLoad(): Promise<Load> {
    const store = await openStore(`postgres://postgres@127.0.0.1:${String(proxy.port)}/postgres`, {
      connections: 4,
    })
    const outbox = await openOutbox({ dir, mostBytes: 64 * 1_048_576 })
    const recorder = openRecorder({ store, outbox, log: silentLog, now: Date.now })
    const acknowledged: string[] = []
    const waits: Span[] = []
    let isOver = false
    let count = 0
    const chats = PAUSES_MS.map(async (pauseMs) => {
      while (!isOver) {
        const id = `r${String(count++).padStart(6, '0')}`
        const fromMs = Date.now()
        await recorder.add(sampleRecord({ id, chat: `chat-${String(pauseMs)}` }))
        acknowledged.push(id)
        waits.push({ fromMs, untilMs: Date.now() })
        await sleep(pauseMs)
      }
    })
    return {
      ...{ recorder, acknowledged, waits, ping: store.ping },
      async stop() {
        isOver = true
        await Promise.all(chats)
      },
      async close() {
        isOver = true
        await recorder.close()
        await outbox.close()
        await store.close()
      },
    }
  }

  async function checkStored({ acknowledged }: Load, { counters, figures }: Tally): Promise<void> {
    const rows = await readAsTheyCame(server.url)
    const stored = new Set(rows.map(({ id }) => id))
    counters.lost = acknowledged.filter((id) => !stored.has(id)).length
    counters.duplicated = rows.length - stored.size
    figures['acknowledged'] = acknowledged.length
    const last = new Map<string, string>()
    const isLate = ({ id, chat }: StoredTurn) => {
      const before = last.get(chat) ?? ''
      last.set(chat, id)
      return id < before
    }
    figures['later than the next turn of their chat'] = rows.filter(isLate).length
    expect(figures['later than the next turn of their chat']).toBe(0)
  }

  /** Nobody waited long, and all that was acknowledged is there. */
  async function endInTime(load: Load, tally: Tally): Promise<void> {
    await load.stop()
    const longestMs = Math.max(...load.waits.map((wait) => disk.ownMs(wait)))
    tally.figures['longest wait ms'] = longestMs
    expect(longestMs).toBeLessThan(LONGEST_WAIT_MS)
    await checkStored(load, tally)
    await load.close()
  }

  const drained = (recorder: Recorder) =>
    vi.waitFor(() => expect(recorder.state()).toMatchObject({ isSpilling: false, pending: 0 }), 30_000)

  reliabilityTest(
    2,
    'kill-postgres',
    async (tally) => {
      const load = await openLoad()
      await sleep(1_000)
      await server.crash()
      const before = load.acknowledged.length
      await sleep(DOWN_MS)
      expect(load.acknowledged.length).toBeGreaterThan(before + 20)
      expect(load.recorder.state().isSpilling).toBe(true)
      await server.restart()
      const fromMs = Date.now()
      await drained(load.recorder)
      const drainedAfterMs = disk.ownMs({ fromMs, untilMs: Date.now() })
      tally.figures['drained after ms'] = drainedAfterMs
      expect(drainedAfterMs).toBeLessThan(LONGEST_DRAIN_MS)
      await endInTime(load, tally)
    },
    { skip },
  )

  reliabilityTest(
    3,
    'pg-blackhole',
    async (tally) => {
      const load = await openLoad()
      await sleep(1_000)
      proxy.set({ kind: 'blackhole' })
      const before = load.acknowledged.length
      await sleep(4_000)
      expect(load.acknowledged.length).toBeGreaterThan(before + 40)
      proxy.set({ kind: 'none' })
      await drained(load.recorder)
      await endInTime(load, tally)
    },
    { skip },
  )

  reliabilityTest(
    4,
    'pg-slow',
    async (tally) => {
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
      await endInTime(load, tally)
    },
    { skip },
  )

  reliabilityTest(
    5,
    'pg-commit-unknown',
    async (tally) => {
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
    },
    { skip },
  )
})
