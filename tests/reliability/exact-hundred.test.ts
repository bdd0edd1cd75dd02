import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect } from 'vitest'

import { openRedisKv } from '#kv/redis.ts'

import { hasRedis, startRedis, type RedisServer } from '../support/redis.ts'
import { reliabilityTest } from '../support/reliability.ts'

const MOST = 100
const WINDOW_MS = 2_000

let redis: RedisServer

describe.skipIf(!hasRedis)('limits over replicas', () => {
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  reliabilityTest(22, 'exact-hundred (store)', async ({ counters, figures }) => {
    const grants = await watchGrants(redis.url)
    const replicas = await Promise.all(
      [0, 0, 0, 600_000].map((skewMs) => openRedisKv({ url: redis.url, now: () => Date.now() + skewMs })),
    )
    const rule = { kind: 'window' as const, key: 'person', most: MOST, windowMs: WINDOW_MS }
    const endMs = performance.now() + 3 * WINDOW_MS
    let refused = 0
    await Promise.all(
      replicas.map(async (kv, replica) => {
        for (let at = 0; performance.now() < endMs; at++) {
          const { outcome } = await kv.claim(`${String(replica)}-${String(at)}`, [rule])
          if (outcome === 'refused') refused++
          await sleep(1)
        }
      }),
    )
    await Promise.all(replicas.map((kv) => kv.close()))
    const timesUs = await grants()
    const most = mostInWindow(timesUs, WINDOW_MS * 1_000)
    counters.in += Math.max(0, most - MOST)
    Object.assign(figures, { 'most in any window': most, granted: timesUs.length, refused })
    expect(most).toBe(MOST)
  })
})

/** The moments of all grants by Redis's own clock, as its monitor tells them. */
async function watchGrants(url: string): Promise<() => Promise<number[]>> {
  const observer = new Redis(url)
  const monitor = await observer.monitor()
  const timesUs: number[] = []
  monitor.on('monitor', (_time: string, [command, , score]: string[]) => {
    if (command?.toUpperCase() === 'ZADD') timesUs.push(Number(score))
  })
  return async () => {
    await sleep(50)
    monitor.disconnect()
    observer.disconnect()
    return timesUs
  }
}

/** The most that any half-open stretch of `windowUs` holds. */
function mostInWindow(timesUs: readonly number[], windowUs: number): number {
  let most = 0
  let from = 0
  timesUs.forEach((timeUs, at) => {
    while ((timesUs[from] ?? 0) <= timeUs - windowUs) from++
    most = Math.max(most, at - from + 1)
  })
  return most
}
