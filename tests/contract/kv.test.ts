import { setTimeout as sleep } from 'node:timers/promises'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { openMemoryKv } from '#kv/memory.ts'
import { openRedisKv } from '#kv/redis.ts'

import { openFaultProxy } from '../support/fault-proxy.ts'
import { hasRedis, startRedis, type RedisServer } from '../support/redis.ts'
import { describeKv } from './kv.ts'

describe('memory', () => {
  describeKv(() => {
    let nowMs = 0
    const advance = (ms: number) => {
      nowMs += ms
      return Promise.resolve()
    }
    return Promise.resolve({ kv: openMemoryKv({ now: () => nowMs }), advance })
  })

  test('gives up the oldest keys when there are too many', async () => {
    const kv = openMemoryKv({ now: () => 0, mostKeys: 3 })
    for (const key of ['a', 'b', 'c', 'd']) await kv.set(key, key, 1)
    expect([await kv.get('a'), await kv.get('d')]).toEqual([undefined, 'd'])
  })
})

describe.skipIf(!hasRedis)('Redis (skipped where Debian has no redis-server package installed)', () => {
  let redis: RedisServer
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis.stop())

  describeKv(async () => {
    await redis.restart()
    const kv = await openRedisKv({ url: redis.url, now: Date.now })
    let meantMs = performance.now()
    const advance = (ms: number) => {
      meantMs += ms
      return sleep(ms)
    }
    return { kv, advance, lateMs: () => performance.now() - meantMs }
  }, 5)

  test('two connections share claims, and hear each other', async () => {
    const [here, there] = await Promise.all([1, 2].map(() => openRedisKv({ url: redis.url, now: Date.now })))
    if (here === undefined || there === undefined) throw new Error('two were opened')
    const heard: string[] = []
    there.subscribe('news', (text) => heard.push(text))
    const rule = { kind: 'window' as const, key: 'shared', most: 1, windowMs: 60_000 }
    expect((await here.claim('a', [rule])).outcome).toBe('granted')
    expect((await there.claim('b', [rule])).outcome).toBe('refused')
    await expect
      .poll(async () => {
        await here.publish('news', 'revoked')
        return heard
      })
      .toContain('revoked')
    await Promise.all([here.close(), there.close()])
  })

  test.each([
    ['a wrong password', (url: URL) => Object.assign(url, { password: 'wrong' })],
    ['no password', (url: URL) => url],
    [
      'a database that there is not',
      (url: URL) => Object.assign(url, { password: 'right', pathname: '/99' }),
    ],
  ])('one that refuses us for %s is told at the start', async (_name, change) => {
    const operator = new Redis(redis.url)
    await operator.config('SET', 'requirepass', 'right')
    const url = change(new URL(redis.url)).href
    await expect(openRedisKv({ url, now: Date.now })).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('REDIS_URL') as string,
    })
    await operator.config('SET', 'requirepass', '')
    operator.disconnect()
  })

  test('one that is frozen answers within 100 ms that it does not, then at once, and works again afterwards', async () => {
    const kv = await openRedisKv({ url: redis.url, now: () => 0 })
    await kv.set('a', 'one', 60_000)
    redis.freeze()
    const timed = async () => {
      const startedAtMs = performance.now()
      await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' })
      return performance.now() - startedAtMs
    }
    const waits = [await timed(), await timed(), await timed()]
    expect(Math.min(...waits)).toBeLessThan(200)
    expect(Math.min(await timed(), await timed(), await timed())).toBeLessThan(50)
    // The clock stands still: what it takes to be asked again is that it is back, not that time is over.
    redis.thaw()
    await expect.poll(() => kv.get('a').catch(() => undefined)).toBe('one')
    await kv.close()
  })

  test('one that answers, but late, is left alone until time is over', async () => {
    let nowMs = 0
    const proxy = await openFaultProxy(redis.port)
    const kv = await openRedisKv({ url: `redis://127.0.0.1:${String(proxy.port)}`, now: () => nowMs })
    await kv.set('a', 'one', 60_000)
    proxy.set({ kind: 'slow', ms: 150 })
    const waits: number[] = []
    const endMs = performance.now() + 1_500
    while (performance.now() < endMs) {
      const startedAtMs = performance.now()
      await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' })
      waits.push(performance.now() - startedAtMs)
      await sleep(20)
    }
    // Three that waited, and perhaps one for which this machine was busy.
    expect(waits.filter((ms) => ms >= 95).length).toBeLessThanOrEqual(4)
    proxy.set({ kind: 'none' })
    nowMs = 5_000
    await expect.poll(() => kv.get('a').catch(() => undefined)).toBe('one')
    await kv.close()
    await proxy.close()
  })

  test('one that is killed and comes back empty is used again, scripts and subscriptions too', async () => {
    const kv = await openRedisKv({ url: redis.url, now: Date.now })
    const heard: string[] = []
    kv.subscribe('news', (text) => heard.push(text))
    const rule = { kind: 'window' as const, key: 'k', most: 5, windowMs: 60_000 }
    expect((await kv.claim('a', [rule])).outcome).toBe('granted')
    await redis.kill()
    await expect(kv.get('a')).rejects.toMatchObject({ code: 'unavailable' })
    await redis.restart()
    const claimed = () =>
      kv.claim('b', [rule]).then(
        ({ outcome }) => outcome,
        () => 'gone',
      )
    await expect.poll(claimed, { timeout: 8_000, interval: 100 }).toBe('granted')
    await expect
      .poll(
        async () => {
          await kv.publish('news', 'back').catch(() => undefined)
          return heard
        },
        { timeout: 8_000 },
      )
      .toContain('back')
    await kv.close()
  })

  test('without one the start goes on after a second', async () => {
    const startedAtMs = performance.now()
    const kv = await openRedisKv({ url: 'redis://127.0.0.1:9', now: Date.now })
    expect(performance.now() - startedAtMs).toBeLessThan(3_000)
    await expect(kv.ping()).rejects.toMatchObject({ code: 'unavailable', facts: { server: 'Redis' } })
    await kv.close()
  })
})
