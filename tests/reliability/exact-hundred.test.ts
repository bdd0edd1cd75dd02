import { setTimeout as sleep } from 'node:timers/promises'

import { afterAll, beforeAll, describe, expect } from 'vitest'

import { toAppError } from '#base/errors.ts'
import type { Kv } from '#kv/kv.ts'
import { openRedisKv } from '#kv/redis.ts'

import { hasRedis, mostInWindow, startRedis, watchGrants, type RedisServer } from '../support/redis.ts'
import { missing, reliabilityTest } from '../support/reliability.ts'

const MOST = 100
const WINDOW_MS = 2_000

let redis: RedisServer

describe('limits over replicas', () => {
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  reliabilityTest(
    22,
    'exact-hundred (store)',
    async ({ counters, figures }) => {
      const grants = await watchGrants(redis.url)
      const replicas = await Promise.all(
        [0, 0, 0, 600_000].map((skewMs) => openRedisKv({ url: redis.url, now: () => Date.now() + skewMs })),
      )
      const rule = { kind: 'window' as const, key: 'person', most: MOST, windowMs: WINDOW_MS }
      const endMs = performance.now() + 3 * WINDOW_MS
      let refused = 0
      let unanswered = 0
      // On a busy machine Redis may answer too late; what it granted all the same, its monitor tells.
      const claim = (kv: Kv, id: string) =>
        kv.claim(id, [rule]).then(
          ({ outcome }) => outcome,
          (thrown: unknown) => {
            if (toAppError(thrown).code !== 'unavailable') throw thrown
            return 'unanswered' as const
          },
        )
      await Promise.all(
        replicas.map(async (kv, replica) => {
          for (let at = 0; performance.now() < endMs; at++) {
            const outcome = await claim(kv, `${String(replica)}-${String(at)}`)
            if (outcome === 'refused') refused++
            if (outcome === 'unanswered') unanswered++
            await sleep(1)
          }
        }),
      )
      await Promise.all(replicas.map((kv) => kv.close()))
      const timesUs = await grants()
      const most = mostInWindow(timesUs, WINDOW_MS * 1_000)
      counters.in += Math.max(0, most - MOST)
      Object.assign(figures, { 'most in any window': most, granted: timesUs.length, refused, unanswered })
      expect(most).toBe(MOST)
    },
    { skip: missing({ Redis: hasRedis }) },
  )
})
