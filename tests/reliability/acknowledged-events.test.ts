/**
 * Row 1 at scale: what the recorder acknowledged is stored, once, however often the process and the database are killed. The
 * recorder, the outbox and the stores run as in the sidecar, in a process of their own and without HTTP: through answers, as
 * kill-sidecar asks for them, a million would take hours. `npm run reliability -- acknowledged --events=1000000`.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { asc, count, gt } from 'drizzle-orm'
import { beforeAll, expect, vi } from 'vitest'

import { openRecorder } from '#analytics/recorder.ts'
import { openStore } from '#store/open.ts'
import { openOutbox } from '#store/outbox.ts'
import type { Store } from '#store/store.ts'

import { buildChild } from '../support/built-child.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { DIGITS, type RecordingJob } from '../support/recording-job.ts'
import { eventsOr, missing, reliabilityTest, type Tally } from '../support/reliability.ts'
import { silentLog } from '../support/silent-log.ts'

/** On each of the two engines. */
const EVENTS = Math.ceil(eventsOr(10_000) / 2)
const KILLS = EVENTS < 100_000 ? 4 : 40
const MOST_ROUNDS = 4 * KILLS

/** Answers that end at the same time. */
const AT_ONCE = 300
const timeoutMs = 60_000 + EVENTS * 4

let child: string
beforeAll(async () => {
  child = await buildChild('recording-child')
})

interface Acknowledged {
  /** By number; 1 where it was acknowledged. */
  has: Uint8Array
  events: number
  kills: number
}

/** Process after process, each killed in the middle, until enough was acknowledged. */
async function recordUntilEnough(
  where: Pick<RecordingJob, 'url' | 'outboxDir'>,
  onRound: (round: number) => Promise<void> = () => Promise.resolve(),
): Promise<Acknowledged> {
  const perRound = Math.ceil(EVENTS / KILLS)
  const acknowledged = { has: new Uint8Array(perRound * MOST_ROUNDS), events: 0, kills: 0 }
  // A process may be through before a busy machine lets it be killed: then one more is.
  for (let round = 0; acknowledged.events < EVENTS || acknowledged.kills < KILLS / 2; round++) {
    expect(round).toBeLessThan(MOST_ROUNDS)
    const from = round * perRound
    const job: RecordingJob = { ...where, from, to: from + perRound, atOnce: AT_ONCE }
    const enough = acknowledged.events + Math.ceil(perRound * (0.5 + Math.random() / 2))
    const recording = spawn(process.execPath, [child, JSON.stringify(job)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(recording, 'close')
    const disturbing = onRound(round)
    for await (const line of createInterface(recording.stdout)) {
      // The kill may have cut the last one off.
      if (line.length < DIGITS) continue
      acknowledged.has[Number(line)] = 1
      acknowledged.events += 1
      if (acknowledged.events >= enough) recording.kill('SIGKILL')
    }
    const [, signal] = (await ended) as [number | null, string | null]
    if (signal === 'SIGKILL') acknowledged.kills += 1
    await disturbing
  }
  return acknowledged
}

async function compare(
  store: Store,
  { has, events, kills }: Acknowledged,
  { counters, figures }: Tally,
): Promise<void> {
  const { callRecords } = store.t
  const stored = new Uint8Array(has.length)
  let last = ''
  let rows = 0
  for (;;) {
    const piece = await store.db
      .select({ id: callRecords.id })
      .from(callRecords)
      .where(gt(callRecords.id, last))
      .orderBy(asc(callRecords.id))
      .limit(20_000)
    for (const { id } of piece) {
      const number = Number(id.slice('event-'.length))
      counters.duplicated += stored[number] ?? 1
      stored[number] = 1
      rows += 1
    }
    last = piece.at(-1)?.id ?? last
    if (piece.length === 0) break
  }
  has.forEach((isAcknowledged, number) => {
    if (isAcknowledged === 1 && stored[number] !== 1) counters.lost += 1
  })
  const [all] = await store.db.select({ rows: count() }).from(callRecords)
  expect(all?.rows).toBe(rows)
  Object.assign(figures, { acknowledged: events, kills, 'stored, not read as acknowledged': rows - events })
  expect(events).toBeGreaterThanOrEqual(EVENTS)
  expect(kills).toBeGreaterThanOrEqual(KILLS / 2)
}

reliabilityTest(
  1,
  'acknowledged-events (SQLite)',
  async (tally) => {
    const dir = await mkdtemp(path.join(tmpdir(), 'troupe-events-'))
    const url = `file:${path.join(dir, 'analytics.sqlite')}`
    const acknowledged = await recordUntilEnough({ url, outboxDir: undefined })
    const store = await openStore(url)
    await compare(store, acknowledged, tally)
    await store.close()
    await rm(dir, { recursive: true, force: true })
  },
  { timeoutMs },
)

const bin = await findPostgres()

reliabilityTest(
  1,
  'acknowledged-events (PostgreSQL)',
  async (tally) => {
    const server = await startPostgres(bin ?? '', { isDurable: true })
    const outboxDir = await mkdtemp(path.join(tmpdir(), 'troupe-events-'))
    let crashes = 0
    // Every other process meets a database that dies under it and comes back.
    const acknowledged = await recordUntilEnough({ url: server.url, outboxDir }, async (round) => {
      if (round % 2 === 0) return
      await server.crash()
      await server.restart()
      crashes += 1
    })
    const store = await openStore(server.url)
    // What the last process left behind is taken over and follows.
    const outbox = await openOutbox({ dir: outboxDir, mostBytes: 2 ** 30 })
    tally.figures['left in the outbox'] = outbox.state().pending
    const recorder = openRecorder({ store, outbox, log: silentLog, now: Date.now })
    await vi.waitFor(
      () => expect(recorder.state()).toMatchObject({ isSpilling: false, pending: 0 }),
      timeoutMs,
    )
    tally.figures['crashes of the database'] = crashes
    await compare(store, acknowledged, tally)
    await recorder.close()
    await outbox.close()
    await store.close()
    await server.stop()
    await rm(outboxDir, { recursive: true, force: true })
  },
  { timeoutMs, skip: missing({ PostgreSQL: bin !== undefined }) },
)
