import { setTimeout as sleep } from 'node:timers/promises'

import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { hasRedis, mostInWindow, startRedis, watchGrants, type RedisServer } from '../support/redis.ts'
import { reliabilityTest } from '../support/reliability.ts'

const MOST = 20
const WINDOW_MS = 3_000
const REPLICAS = 4

const bin = await findPostgres()

let ollama: FakeOllama
let redis: RedisServer
let postgres: Awaited<ReturnType<typeof startPostgres>>
let replicas: TestApp[] = []
let nginx: Awaited<ReturnType<typeof startNginx>>
let mira: string

const hasParts = hasRedis && hasNginx && bin !== undefined

describe.skipIf(!hasParts)('four replicas over one PostgreSQL and one Redis, behind one nginx', () => {
  beforeAll(async () => {
    ollama = await openFakeOllama()
    ;[redis, postgres] = await Promise.all([startRedis(), startPostgres(bin ?? '')])
    const env = {
      OLLAMA_BASE_URL: ollama.origin,
      OPENWEBUI_URL: 'http://127.0.0.1:9',
      OPENWEBUI_JWT_SECRET: JWT_SECRET,
      DATABASE_URL: postgres.url,
      ANALYTICS_DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      TROUPE_REPLICAS: String(REPLICAS),
      TROUPE_PSEUDONYM_SECRET: 'pseudonyms-of-the-reliability-tests-9f2c',
      TROUPE_TURN_LIMIT: `${String(MOST)}/${String(WINDOW_MS / 1_000)}`,
      TROUPE_CALLS_PER_SECOND: '0',
      TROUPE_PARALLEL_CALLS: '100',
    }
    const first = await openTestApp(env)
    mira = await first.importCard({ name: 'Mira' })
    replicas = [first, ...(await Promise.all([1, 2, 3].map(() => openTestApp(env))))]
    nginx = await startNginx(replicas.map(({ url }) => url))
  })
  afterEach(() => redis.thaw())
  afterAll(async () => {
    await nginx.stop()
    await Promise.all(replicas.map((replica) => replica.close()))
    await Promise.all([ollama.close(), redis.stop(), postgres.stop()])
  })

  const ask = async (to: { url: string } | undefined, token: string) => {
    if (to === undefined) throw new Error('there are four')
    const answer = await fetch(`${to.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${CONNECTION_KEY}`,
        'content-type': 'application/json',
        'x-openwebui-user-jwt': token,
      },
      body: JSON.stringify({ model: mira, messages: [{ role: 'user', content: 'Hello' }] }),
    })
    await answer.arrayBuffer()
    return answer
  }

  const turnsOf = ({ logged }: TestApp) =>
    logged.filter(({ route, status }) => route === '/v1/chat/completions' && status === 200).length

  reliabilityTest(22, 'exact-hundred (HTTP, nginx)', async ({ counters, figures }) => {
    const token = await userToken('flooder')
    const grants = await watchGrants(redis.url)
    const before = ollama.chats().length
    let admitted = 0
    let refused = 0
    const endMs = performance.now() + 3 * WINDOW_MS
    await Promise.all(
      replicas.map(async () => {
        while (performance.now() < endMs) {
          const { status } = await ask(nginx, token)
          if (status === 200) admitted += 1
          else refused += 1
          await sleep(10)
        }
      }),
    )
    const timesUs = await grants()
    const most = mostInWindow(timesUs, WINDOW_MS * 1_000)
    counters.in += Math.max(0, most - MOST)
    // The model saw what was admitted, and nothing else.
    expect(ollama.chats().length - before).toBe(admitted)
    expect(timesUs).toHaveLength(admitted)
    expect(most).toBe(MOST)
    expect(refused).toBeGreaterThan(0)
    // It is a limit over all of them, and not of one that got everything.
    expect(Math.min(...replicas.map(turnsOf))).toBeGreaterThan(0)
    Object.assign(figures, { 'most in any window': most, limit: MOST, admitted, refused })

    // Whoever waits as long as they are told is let in.
    let honest = 0
    for (let round = 0; round < 3; round++) {
      let refusal = await ask(nginx, token)
      while (refusal.status === 200) refusal = await ask(nginx, token)
      await sleep(Number(refusal.headers.get('retry-after')) * 1_000)
      if ((await ask(nginx, token)).status === 200) honest += 1
    }
    expect(honest).toBe(3)
    figures['waits that were honest'] = honest
  })

  reliabilityTest(9, 'redis-kill, redis-flush, redis-freeze', async ({ counters, figures }) => {
    const share = Math.ceil(MOST / REPLICAS)
    const flood = async (name: string) => {
      const token = await userToken(name)
      const counts = await Promise.all(
        replicas.map(async (replica) => {
          let count = 0
          for (let at = 0; at < 2 * MOST; at++) if ((await ask(replica, token)).status === 200) count += 1
          return count
        }),
      )
      return counts
    }
    for (const [name, break_, mend] of [
      ['freeze', () => redis.freeze(), () => redis.thaw()],
      ['kill', () => redis.kill(), () => redis.restart()],
    ] as const) {
      await break_()
      const startedAtMs = performance.now()
      expect((await ask(replicas[0], await userToken(`first after ${name}`))).status).toBe(200)
      figures[`first answer after ${name}, ms`] = Math.round(performance.now() - startedAtMs)
      // Within one window, so that each count is of that window alone.
      const floodedAtMs = performance.now()
      const counts = await flood(`flooder ${name}`)
      const windows = Math.ceil((performance.now() - floodedAtMs) / WINDOW_MS)
      for (const count of counts) {
        counters.in += Math.max(0, count - share * windows)
        expect(count).toBeGreaterThan(0)
      }
      figures[`admitted by each while ${name}`] = counts.join(' ')
      await mend()
      const mendedAtMs = performance.now()
      const isShared = async () => {
        await ask(replicas[0], await userToken(`after ${name}`))
        const metrics = await replicas[0]?.request('GET', '/metrics')
        return (await metrics?.text())?.includes('troupe_limits_degraded 0')
      }
      await expect.poll(isShared, { timeout: 15_000, interval: 200 }).toBe(true)
      figures[`recovered from ${name} after ms`] = Math.round(performance.now() - mendedAtMs)
    }
    // Emptied: what was counted is gone, and nothing else happens.
    await redis.restart()
    await expect
      .poll(async () => (await ask(replicas[1], await userToken('after flush'))).status, { timeout: 10_000 })
      .toBe(200)
  })
})
