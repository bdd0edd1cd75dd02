/** Several processes behind one port, over a real PostgreSQL and a real Redis. */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test, vi } from 'vitest'

import { ADMIN_KEY, CONNECTION_KEY, importCard, readEvents } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { createGate } from '../support/fake-server.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { hasRedis, startRedis, type RedisServer } from '../support/redis.ts'

const WORKERS = 2
const STREAMS = 20

const bin = await findPostgres()
const hasStores = bin !== undefined && hasRedis

let postgres: Awaited<ReturnType<typeof startPostgres>>
let redis: RedisServer
let ollama: FakeOllama
let dataDir: string
let sidecar: SidecarProcess

beforeAll(async () => {
  if (bin === undefined) return
  postgres = await startPostgres(bin)
  redis = await startRedis()
  ollama = await openFakeOllama()
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-workers-'))
  sidecar = await startSidecar({
    TROUPE_WORKERS: String(WORKERS),
    TROUPE_DATA_DIR: dataDir,
    TROUPE_ADMIN_KEY: ADMIN_KEY,
    TROUPE_CONNECTION_KEY: CONNECTION_KEY,
    TROUPE_PSEUDONYM_SECRET: 'pseudonym-secret-of-the-test-0123456789',
    TROUPE_PARALLEL_CALLS: '100',
    TROUPE_CALLS_PER_SECOND: '0',
    TROUPE_WARM_CHARACTERS: '0',
    DATABASE_URL: postgres.url,
    ANALYTICS_DATABASE_URL: postgres.url,
    REDIS_URL: redis.url,
    OLLAMA_BASE_URL: ollama.origin,
  })
  await allServe()
  await everybodyKnowsMira()
})
afterAll(async () => {
  if (bin === undefined) return
  await sidecar.stop()
  await Promise.all([ollama.close(), redis.stop(), postgres.stop()])
  await rm(dataDir, { recursive: true, force: true })
})

const allServe = () =>
  vi.waitFor(async () => expect(await figure('troupe_processes')).toBe(WORKERS), { timeout: 20_000 })

const childrenOf = (pid = 0): number[] =>
  readFileSync(`/proc/${String(pid)}/task/${String(pid)}/children`, 'utf8')
    .split(' ')
    .filter((each) => each !== '')
    .map(Number)

/** Each on a connection of its own, so that the workers take turns. */
const call = (
  method: string,
  where: string,
  { key = ADMIN_KEY, body }: { key?: string; body?: BodyInit } = {},
) =>
  fetch(`${sidecar.url}${where}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      connection: 'close',
      ...(typeof body === 'string' && { 'content-type': 'application/json' }),
    },
    ...(body !== undefined && { body }),
  })

const ask = () =>
  call('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    body: JSON.stringify({ model: 'mira', stream: true, messages: [{ role: 'user', content: 'Hi' }] }),
  })

/** All workers know her: so many questions in a row reach each of them. */
async function everybodyKnowsMira(): Promise<void> {
  await importCard(sidecar.url, { name: 'Mira' })
  const sees = async () => {
    const lists = await Promise.all(
      Array.from({ length: 8 }, async () =>
        (await call('GET', '/v1/models', { key: CONNECTION_KEY })).text(),
      ),
    )
    return lists.every((list) => list.includes('"mira"'))
  }
  await vi.waitFor(async () => expect(await sees()).toBe(true), { timeout: 10_000, interval: 200 })
}

async function figure(name: string): Promise<number> {
  const text = await (await call('GET', '/metrics')).text()
  const lines = text.split('\n').filter((line) => line.split(/[{ ]/, 1)[0] === name)
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

test.skipIf(!hasStores)('share what is imported, and add up their figures', async () => {
  for (let at = 0; at < 6; at++) expect((await readEvents(await ask())).at(-1)).toBe('[DONE]')
  expect(await figure('troupe_model_calls_total')).toBe(6)
})

test.skipIf(!hasStores)('one that dies takes no other with it, and another one takes its place', async () => {
  const before = ollama.chats().length
  const gate = createGate()
  for (let at = 0; at < STREAMS; at++) ollama.enqueue({ chunks: ['One ', 'two'], beforeChunk: gate })
  const ends = Array.from({ length: STREAMS }, () =>
    ask()
      .then(readEvents)
      .then(
        (events) => events.at(-1),
        () => 'broken',
      ),
  )
  await expect.poll(() => ollama.chats().length, { timeout: 10_000 }).toBe(before + STREAMS)
  const [victim = 0] = childrenOf(sidecar.child.pid)
  process.kill(victim, 'SIGKILL')
  await expect.poll(() => childrenOf(sidecar.child.pid)).not.toContain(victim)
  await allServe()
  gate.open()
  const done = (await Promise.all(ends)).filter((end) => end === '[DONE]').length
  process.stdout.write(`${String(done)} of ${String(STREAMS)} answers outlived a worker that was killed\n`)
  expect(done).toBeGreaterThan(0)
  expect(done).toBeLessThan(STREAMS)
  const answers = await Promise.all(
    Array.from({ length: 8 }, async () => (await readEvents(await ask())).at(-1)),
  )
  expect(answers).toEqual(Array.from({ length: 8 }, () => '[DONE]'))
})
