/** Row 10: a process that is told to stop sends newcomers away, finishes what it can, and says so to the rest. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterEach, beforeEach, expect, test } from 'vitest'

import { openStore } from '#store/open.ts'

import { ADMIN_KEY, CONNECTION_KEY, importCard, readEvents } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { createGate, type Gate } from '../support/fake-server.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { hasRedis, startRedis } from '../support/redis.ts'
import { missing, reliabilityTest, type Tally } from '../support/reliability.ts'

const STREAMS = 50
/** Long enough for all that is asked in it, on a busy machine too. */
const WINDOW_SECONDS = 6

const bin = await findPostgres()

/** What the answer to a question waits for after its first word. */
type Kind = 'in time' | 'too late'
let gates: Record<Kind, Gate[]>
let ollama: FakeOllama
let dataDir: string

beforeEach(async () => {
  gates = { 'in time': [], 'too late': [] }
  ollama = await openFakeOllama({
    answer({ body }) {
      const gate = createGate()
      gate.open(1)
      const said = JSON.stringify(body['messages'])
      gates[said.includes('in time') ? 'in time' : 'too late'].push(gate)
      return { chunks: ['One ', 'two'], beforeChunk: gate }
    },
  })
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-drain-'))
})
afterEach(async () => {
  await ollama.close()
  await rm(dataDir, { recursive: true, force: true })
})

const start = (env: Record<string, string> = {}) =>
  startSidecar({
    TROUPE_DATA_DIR: dataDir,
    TROUPE_ADMIN_KEY: ADMIN_KEY,
    TROUPE_CONNECTION_KEY: CONNECTION_KEY,
    TROUPE_DRAIN_SECONDS: String(WINDOW_SECONDS),
    TROUPE_WARM_CHARACTERS: '0',
    TROUPE_PARALLEL_CALLS: '100',
    TROUPE_CALLS_PER_SECOND: '0',
    OLLAMA_BASE_URL: ollama.origin,
    ...env,
  })

/** Each on a connection of its own, as new clients come. */
const ask = ({ url }: SidecarProcess, content: string, stream = true) =>
  fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${CONNECTION_KEY}`,
      'content-type': 'application/json',
      connection: 'close',
    },
    body: JSON.stringify({ model: 'mira', stream, messages: [{ role: 'user', content }] }),
  })

interface Ended {
  id: string
  status: number
  events: unknown[]
}

async function listen(asking: Promise<Response>): Promise<Ended> {
  const answer = await asking
  const id = answer.headers.get('x-request-id') ?? ''
  return { id, status: answer.status, events: await readEvents(answer) }
}

const isWhole = ({ events }: Ended) =>
  events.at(-1) === '[DONE]' && JSON.stringify(events).includes('"finish_reason":"stop"')
const isExplained = ({ events }: Ended) =>
  events.at(-1) === '[DONE]' && JSON.stringify(events.at(-2)).includes('is being stopped')

async function stopUnderLoad(sidecar: SidecarProcess, analyticsUrl: string, tally: Tally): Promise<void> {
  const { counters, figures } = tally
  const half = STREAMS / 2
  const listening = (kind: Kind) => Array.from({ length: half }, () => listen(ask(sidecar, kind)))
  const [inTime, tooLate] = [listening('in time'), listening('too late')]
  const [wholeInTime, wholeTooLate] = [ask(sidecar, 'in time', false), ask(sidecar, 'too late', false)]
  await expect.poll(() => ollama.chats().length, { timeout: 20_000 }).toBe(STREAMS + 2)

  const exit = once(sidecar.child, 'exit')
  const stoppedAtMs = performance.now()
  sidecar.child.kill('SIGTERM')
  const readiness = async () => (await fetch(`${sidecar.url}/readyz`)).status
  await expect.poll(readiness, { interval: 5, timeout: 1_000 }).toBe(503)
  figures['ms to 503 at /readyz'] = Math.round(performance.now() - stoppedAtMs)
  expect((await fetch(`${sidecar.url}/livez`)).status).toBe(200)
  const refusals = await Promise.all(Array.from({ length: 8 }, () => ask(sidecar, 'too late')))
  for (const refusal of refusals) {
    expect(refusal.status).toBe(503)
    expect(Number(refusal.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await refusal.json()).toMatchObject({ error: { code: 'unavailable' } })
  }
  expect(ollama.chats()).toHaveLength(STREAMS + 2)

  for (const gate of gates['in time']) gate.open()
  const finished = await Promise.all(inTime)
  expect(finished.filter(isWhole)).toHaveLength(half)
  expect((await wholeInTime).status).toBe(200)
  const ended = await Promise.all(tooLate)
  const endedAfterMs = performance.now() - stoppedAtMs
  expect(ended.filter(isExplained)).toHaveLength(half)
  const late = await wholeTooLate
  expect([late.status, late.headers.has('retry-after')]).toEqual([503, true])
  expect(await exit).toEqual([0, null])
  expect(endedAfterMs).toBeGreaterThan(WINDOW_SECONDS * 1_000 - 100)
  figures['ms to the exit'] = Math.round(performance.now() - stoppedAtMs)

  const store = await openStore(analyticsUrl)
  const { id, status, errorCode } = store.t.callRecords
  const rows = await store.db.select({ id, status, errorCode }).from(store.t.callRecords)
  await store.close()
  const recorded = new Map(rows.map((row) => [row.id, `${row.status} ${String(row.errorCode)}`]))
  const lost = (answers: readonly { id: string }[], as: string) =>
    answers.filter((answer) => recorded.get(answer.id) !== as).length
  counters.lost += lost(finished, 'ok null') + lost(ended, 'failed unavailable')
  counters.duplicated += rows.length - recorded.size
  // Two were whole answers; nobody who was sent away left a record.
  expect(rows).toHaveLength(STREAMS + 2)
  Object.assign(figures, { streams: STREAMS, 'ended whole': half, 'ended with an error chunk': half })
}

reliabilityTest(10, 'sigterm-drain', async (tally) => {
  const sidecar = await start()
  await importCard(sidecar.url, { name: 'Mira' })
  await stopUnderLoad(sidecar, `file:${path.join(dataDir, 'analytics.sqlite')}`, tally)
})

test('a second signal ends running answers at once', async () => {
  const sidecar = await start({ TROUPE_DRAIN_SECONDS: '600' })
  await importCard(sidecar.url, { name: 'Mira' })
  const answer = listen(ask(sidecar, 'too late'))
  await expect.poll(() => ollama.chats().length, { timeout: 20_000 }).toBe(1)
  const exit = once(sidecar.child, 'exit')
  sidecar.child.kill('SIGTERM')
  const again = setInterval(() => sidecar.child.kill('SIGTERM'), 200)
  expect(isExplained(await answer)).toBe(true)
  clearInterval(again)
  expect(await exit).toEqual([0, null])
})

reliabilityTest(
  10,
  'sigterm-drain (workers)',
  async (tally) => {
    const [postgres, redis] = await Promise.all([startPostgres(bin ?? ''), startRedis()])
    try {
      const env = {
        DATABASE_URL: postgres.url,
        ANALYTICS_DATABASE_URL: postgres.url,
        REDIS_URL: redis.url,
        TROUPE_PSEUDONYM_SECRET: 'pseudonym-secret-of-the-test-0123456789',
      }
      // Imported by a process before, so that both workers know her from their start.
      const before = await start(env)
      await importCard(before.url, { name: 'Mira' })
      await before.stop()
      const sidecar = await start({ ...env, TROUPE_WORKERS: '2' })
      const bothServe = async () =>
        /^troupe_processes 2$/m.test(await (await fetch(`${sidecar.url}/metrics`)).text())
      await expect.poll(bothServe, { timeout: 20_000, interval: 100 }).toBe(true)
      await stopUnderLoad(sidecar, postgres.url, tally)
    } finally {
      await Promise.all([postgres.stop(), redis.stop()])
    }
  },
  { skip: missing({ PostgreSQL: bin !== undefined, Redis: hasRedis }) },
)
