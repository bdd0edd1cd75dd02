import { beforeEach, describe, expect, test } from 'vitest'

import { createCostOf, readPrices, readWatts } from '#base/prices.ts'
import { createPageSessions, type PageSessions } from '#gateway/page-sessions.ts'
import { createRoles, reaches, type Roles } from '#gateway/roles.ts'
import type { Kv } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

const HOUR_MS = 3_600_000

let nowMs: number
let kv: Kv
let kept: Map<string, string>

beforeEach(() => {
  nowMs = 1_000_000
  kept = new Map()
  const memory = openMemoryKv({ now: () => nowMs })
  kv = {
    ...memory,
    set(key, value, ttlMs) {
      kept.set(key, value)
      return memory.set(key, value, ttlMs)
    },
  }
})

describe('a session of the pages', () => {
  let sessions: PageSessions
  beforeEach(() => {
    sessions = createPageSessions({ kv, now: () => nowMs })
  })

  test('is 256 bits of chance, of which the store holds only the hash', async () => {
    const token = await sessions.begin('tom', undefined)
    expect(token).toMatch(/^[\w-]{43}$/)
    expect(await sessions.find(token)).toBe('tom')
    expect(JSON.stringify([...kept])).not.toContain(token)
    expect(await sessions.find(`${token.slice(1)}x`)).toBeUndefined()
    expect(await sessions.find('')).toBeUndefined()
  })

  test('ends after an hour without use, and after twelve with it', async () => {
    const token = await sessions.begin('tom', undefined)
    for (let hour = 0; hour < 13; hour++) {
      expect(await sessions.find(token)).toBe('tom')
      nowMs += 0.9 * HOUR_MS
    }
    nowMs += 0.4 * HOUR_MS
    expect(await sessions.find(token)).toBeUndefined()
    const idle = await sessions.begin('tom', undefined)
    nowMs += HOUR_MS
    expect(await sessions.find(idle)).toBeUndefined()
  })

  test('a new login ends the one before; ending ends it on all replicas at once', async () => {
    const other = createPageSessions({ kv, now: () => nowMs })
    const first = await sessions.begin('tom', undefined)
    const second = await sessions.begin('tom', first)
    expect([await other.find(first), await other.find(second)]).toEqual([undefined, 'tom'])
    await sessions.end(second)
    expect(await other.find(second)).toBeUndefined()
  })

  test('stays ended when a request of the same moment notes its use', async () => {
    const token = await sessions.begin('tom', undefined)
    nowMs += 60_000
    const { get } = kv
    // Signed out after that request has read the session.
    kv.get = async (key) => {
      const found = await get(key)
      if (found !== undefined) await sessions.end(token)
      return found
    }
    await sessions.find(token)
    kv.get = get
    expect(await sessions.find(token)).toBeUndefined()
  })

  test('all of a person are ended together, and not those of others', async () => {
    const [here, there, ann] = await Promise.all(
      ['tom', 'tom', 'ann'].map((person) => sessions.begin(person, undefined)),
    )
    await sessions.endAll('tom')
    expect(await Promise.all([here, there, ann].map((token) => sessions.find(token ?? '')))).toEqual([
      undefined,
      undefined,
      'ann',
    ])
    nowMs += 1
    expect(await sessions.find(await sessions.begin('tom', undefined))).toBe('tom')
  })
})

describe('a role', () => {
  let store: Store
  let roles: Roles
  beforeEach(async () => {
    store = await openStore('file::memory:')
    roles = createRoles({ store, kv, now: () => nowMs })
    return () => store.close()
  })

  test('comes from Open WebUI for its admins, and from us for others; nobody who is pending has one', async () => {
    await roles.give('ann', 'editor', 'admin')
    await roles.give('bob', 'viewer', 'admin')
    await roles.give('eve', 'owner', 'admin')
    const of = (id: string, role: string) => roles.of({ id, role })
    expect(await of('tom', 'user')).toBeUndefined()
    expect(await of('tom', 'admin')).toBe('admin')
    expect(await of('ann', 'user')).toBe('editor')
    expect(await of('bob', 'admin')).toBe('admin')
    expect(await of('eve', 'admin')).toBe('owner')
    expect(await of('ann', 'pending')).toBeUndefined()
    expect(await roles.take('ann')).toBe(true)
    expect(await of('ann', 'user')).toBeUndefined()
    expect(await roles.take('ann')).toBe(false)
  })

  test('a change is known to other replicas at once', async () => {
    const other = createRoles({ store, kv, now: () => nowMs })
    expect(await other.of({ id: 'ann', role: 'user' })).toBeUndefined()
    await roles.give('ann', 'viewer', 'admin')
    expect(await other.of({ id: 'ann', role: 'user' })).toBe('viewer')
  })

  test('may what the ones below it may', () => {
    expect(reaches('owner', 'viewer')).toBe(true)
    expect(reaches('viewer', 'editor')).toBe(false)
    expect(reaches(undefined, 'viewer')).toBe(false)
  })
})

describe('prices', () => {
  test.each([
    ['a=1', undefined],
    ['a=1/x', undefined],
    ['a=1/-2', undefined],
    ['a=1/2/3/4', undefined],
    ['', 0],
    ['a:8b=1/2; */x=1/1;', 2],
  ])('"%s"', (text, count) => {
    expect(readPrices(text)?.size).toBe(count)
  })

  test('count in millionths: read, kept from before, and written', () => {
    const costOf = createCostOf(readPrices('a=2/10/0.5;*=1/1') ?? new Map())
    expect(costOf('a', { promptTokens: 1_000, cachedTokens: 400, completionTokens: 100 })).toBe(
      600 * 2 + 200 + 1_000,
    )
    expect(costOf('b', { promptTokens: 3, completionTokens: null })).toBe(3)
    expect(createCostOf(new Map())('a', { promptTokens: 3, completionTokens: 3 })).toBeNull()
  })

  test.each([
    ['a=1/2', undefined],
    ['a=', undefined],
    ['a=-3', undefined],
    ['', 0],
    ['a:8b=220; *=180.5;', 2],
  ])('watts "%s"', (text, count) => {
    expect(readWatts(text)?.size).toBe(count)
  })

  test('count power for models without a price: so many watts for so long', () => {
    const power = { price: 0.3, watts: readWatts('own=200') ?? new Map<string, number>() }
    const costOf = createCostOf(readPrices('rented=1/1') ?? new Map(), power)
    const used = { promptTokens: 10, completionTokens: 10 }
    // 200 watts for three minutes are a hundredth of a kilowatt-hour.
    expect(costOf('own', { ...used, busyMs: 180_000 })).toBe(3_000)
    expect(costOf('rented', { ...used, busyMs: 180_000 })).toBe(20)
    expect(costOf('own', { ...used, busyMs: null })).toBeNull()
    expect(costOf('other', { ...used, busyMs: 180_000 })).toBeNull()
  })
})
