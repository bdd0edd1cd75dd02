import fc from 'fast-check'
import { beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'

import { AppError } from '#base/errors.ts'
import { createLog } from '#base/log.ts'
import { createCostOf, readPrices } from '#base/prices.ts'
import { createLimits, type Limits, type Wish } from '#gateway/limits.ts'
import { UNLIMITED, type HouseLimits } from '#gateway/quotas.ts'
import { openUsage, type Usage } from '#gateway/usage.ts'
import type { Kv } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

const NOON = Date.UTC(2026, 10, 27, 12)
const MINUTE_MS = 60_000

let nowMs: number
let shared: Kv
let isGone: boolean
/** It does what it is told, and the answer gets lost. */
let isMute: boolean
let usage: Usage
let store: Store

/** A store that all replicas of a test share, and that can go away. */
const kv = (): Kv =>
  new Proxy(shared, {
    get(target, name, receiver) {
      if (name === 'isShared') return true
      const value: unknown = Reflect.get(target, name, receiver)
      if (typeof value !== 'function' || name === 'subscribe') return value
      return async (...args: unknown[]) => {
        const gone = new AppError('unavailable', 'gone')
        if (isGone) throw gone
        const answer = await (value as (...args: unknown[]) => unknown)(...args)
        if (isMute) throw gone
        return answer
      }
    },
  })

beforeEach(async () => {
  nowMs = NOON
  isGone = isMute = false
  shared = openMemoryKv({ now: () => nowMs })
  store = await openStore('file::memory:')
  usage = openUsage({ store, log: createLog('silent'), now: () => nowMs })
  return async () => {
    await usage.close()
    await store.close()
  }
})

function open(house: Partial<HouseLimits>, replicas = 1): Limits {
  const costOf = createCostOf(readPrices('cheap=1/2;*=10/20') ?? new Map())
  return createLimits({
    house: { ...UNLIMITED, ...house },
    kv: kv(),
    usage,
    costOf,
    replicas,
    now: () => nowMs,
  })
}

let asked = 0
const wish = (over: Partial<Wish> = {}): Wish => ({
  requestId: `request-${String(asked++)}`,
  kind: 'turn',
  keyId: 'connection',
  person: 'tom',
  keyLimits: undefined,
  tokens: 10,
  ...over,
})

/** Admitted and ended at once; the refusal, or undefined. */
async function refusalOf(limits: Limits, over: Partial<Wish> = {}): Promise<AppError | undefined> {
  const ticket = limits.admit(wish(over))
  const refusal = await ticket.admitted.then(
    () => undefined,
    (error: unknown) => error as AppError,
  )
  ticket.end()
  await Promise.resolve()
  return refusal
}

const RATE = { turns: { most: 3, windowMs: MINUTE_MS } }

describe('a rate', () => {
  test('admits what fits into every minute, says what is left, and tells how long to wait', async () => {
    const limits = open(RATE)
    expect(await limits.admit(wish()).admitted).toEqual({
      name: 'chat',
      most: 3,
      left: 2,
      windowSeconds: 60,
      resetSeconds: 60,
    })
    nowMs += 20_000
    await refusalOf(limits)
    await refusalOf(limits)
    const refused = await refusalOf(limits)
    expect(refused).toMatchObject({ code: 'limited', facts: { retryAfterSeconds: 40 } })
    expect(refused?.message).toContain('Try again in 40 s')
    nowMs += 40_000
    expect(await refusalOf(limits)).toBeUndefined()
    expect((await refusalOf(limits))?.facts['retryAfterSeconds']).toBe(20)
  })

  test('is one for each person, and tasks have their own', async () => {
    const limits = open({ ...RATE, tasks: { most: 1, windowMs: MINUTE_MS } })
    for (let at = 0; at < 3; at++) await refusalOf(limits)
    expect(await refusalOf(limits)).toBeDefined()
    expect(await refusalOf(limits, { person: 'ann' })).toBeUndefined()
    expect(await refusalOf(limits, { kind: 'task' })).toBeUndefined()
    expect((await refusalOf(limits, { kind: 'task' }))?.message).toContain('background tasks')
  })

  test('of any arrivals none is refused while the last minute holds fewer, and no minute holds more', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 30_000 }), { maxLength: 40 }), async (gaps) => {
        nowMs = NOON
        shared = openMemoryKv({ now: () => nowMs })
        const limits = open(RATE)
        const admitted: number[] = []
        for (const gap of gaps) {
          nowMs += gap
          const inLastMinute = admitted.filter((atMs) => atMs > nowMs - MINUTE_MS).length
          const isRefused = (await refusalOf(limits)) !== undefined
          expect(isRefused).toBe(inLastMinute >= 3)
          if (!isRefused) admitted.push(nowMs)
        }
        await limits.close()
      }),
      { numRuns: 60 },
    )
  })

  test('a key without a person has its own limits; with one, both hold', async () => {
    const limits = open(RATE)
    const own = { person: undefined, keyId: 'own', keyLimits: { turnsPerMinute: 1 } }
    expect(await refusalOf(limits, own)).toBeUndefined()
    expect(await refusalOf(limits, own)).toBeDefined()
    const forPeople = { keyId: 'club', keyLimits: { turnsPerMinute: 2 } }
    expect(await refusalOf(limits, { ...forPeople, person: 'a' })).toBeUndefined()
    expect(await refusalOf(limits, { ...forPeople, person: 'b' })).toBeUndefined()
    expect(await refusalOf(limits, { ...forPeople, person: 'c' })).toBeDefined()
  })
})

describe('answers at the same time', () => {
  test('are counted until they end', async () => {
    const limits = open({ parallelTurns: 2 })
    const [first, second] = [limits.admit(wish()), limits.admit(wish())]
    await Promise.all([first.admitted, second.admitted])
    expect(await refusalOf(limits)).toMatchObject({ code: 'limited' })
    first.end()
    await Promise.resolve()
    expect(await refusalOf(limits)).toBeUndefined()
    second.end()
  })

  test('one whose process died is forgotten after half a minute', async () => {
    const [dead, alive] = [open({ parallelTurns: 1 }), open({ parallelTurns: 1 })]
    await dead.admit(wish()).admitted
    expect(await refusalOf(alive)).toBeDefined()
    nowMs += 30_000
    expect(await refusalOf(alive)).toBeUndefined()
  })
})

describe('a quota', () => {
  test('of tokens reserves the estimate and settles what was used', async () => {
    const limits = open({ tokensPerDay: 100 })
    const ticket = limits.admit(wish({ tokens: 80 }))
    await ticket.admitted
    expect(await refusalOf(limits, { tokens: 30 })).toMatchObject({ code: 'quota' })
    ticket.spend({ model: 'm', promptTokens: 10, completionTokens: 5 })
    ticket.end()
    await Promise.resolve()
    await Promise.resolve()
    expect(await refusalOf(limits, { tokens: 85 })).toBeUndefined()
  })

  test('of turns ends with the day, and says when that is', async () => {
    const limits = open({ turnsPerDay: 2 })
    await refusalOf(limits)
    await refusalOf(limits)
    const refused = await refusalOf(limits)
    expect(refused?.message).toBe(
      'The 2 messages of today are used up. They begin anew in 12 h 0 min (0:00 UTC).',
    )
    expect(refused?.facts['retryAfterSeconds']).toBe(12 * 3_600)
    nowMs = Date.UTC(2026, 10, 28)
    expect(await refusalOf(limits)).toBeUndefined()
  })

  test('of turns takes back one of which nothing came, and only that', async () => {
    const limits = open({ turnsPerDay: 1 })
    const turn = async (isVain: boolean) => {
      const ticket = limits.admit(wish())
      await ticket.admitted
      ticket.spend({ model: 'm', promptTokens: null, completionTokens: null, isVain })
      ticket.end()
      await Promise.resolve()
      await Promise.resolve()
    }
    await turn(true)
    await turn(false)
    expect(await refusalOf(limits)).toMatchObject({ code: 'quota' })
  })

  test('of tokens is refused before it is used up, and says so', async () => {
    const limits = open({ tokensPerDay: 100 })
    const refused = await refusalOf(limits, { tokens: 450 })
    expect(refused?.message).toMatch(/^Of the 100 tokens of today too few are left for this question/)
  })

  test('in money counts by the price of the model, and refuses when it is used up', async () => {
    const limits = open({ budgetPerMonth: 1 })
    const spend = async (model: string, promptTokens: number) => {
      const ticket = limits.admit(wish())
      await ticket.admitted
      ticket.spend({ model, promptTokens, completionTokens: 0 })
      ticket.end()
      await Promise.resolve()
    }
    await spend('cheap', 900_000)
    expect(await refusalOf(limits)).toBeUndefined()
    await spend('other', 10_000)
    expect(await refusalOf(limits)).toMatchObject({
      code: 'quota',
      message: expect.stringContaining('The 1 of your budget of this month') as string,
    })
  })

  test('survives a restart and an emptied store', async () => {
    const limits = open({ turnsPerMonth: 2 })
    await refusalOf(limits)
    await refusalOf(limits)
    await usage.flush()
    shared = openMemoryKv({ now: () => nowMs })
    expect(await refusalOf(open({ turnsPerMonth: 2 }))).toMatchObject({ code: 'quota' })
  })
})

test('that a quota was reached is kept with its sum, by an answer or by a refusal', async () => {
  const limits = open({ turnsPerDay: 1, tokensPerMonth: 100 })
  const reached = async () => {
    await usage.flush()
    const rows = await store.db.select().from(store.t.usageSums)
    return rows.filter(({ reachedAtMs }) => reachedAtMs !== null).map(({ key, most }) => [key, most])
  }
  await refusalOf(limits)
  expect(await reached()).toEqual([['used:person:tom:turns:2026-11-27', 1]])
  await refusalOf(limits, { kind: 'task', tokens: 200 })
  expect(await reached()).toContainEqual(['used:person:tom:tokens:2026-11', 100])
})

describe('a quota whose settlement fails', () => {
  const RENEWAL_MS = 10_000
  const used = { model: 'm', promptTokens: 10, completionTokens: 5 }
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    return () => vi.useRealTimers()
  })

  test('is put right when the store is back', async () => {
    const limits = open({ tokensPerMonth: 100 })
    const ticket = limits.admit(wish({ tokens: 80 }))
    await ticket.admitted
    ticket.spend(used)
    isGone = true
    ticket.end()
    await vi.advanceTimersByTimeAsync(RENEWAL_MS)
    isGone = false
    await vi.advanceTimersByTimeAsync(RENEWAL_MS)
    nowMs += 30_000
    expect(await refusalOf(limits, { tokens: 86 })).toMatchObject({ code: 'quota' })
    expect(await refusalOf(limits, { tokens: 85 })).toBeUndefined()
    await limits.close()
  })

  test('and in truth did not, counts once', async () => {
    const limits = open({ tokensPerMonth: 100 })
    const ticket = limits.admit(wish({ tokens: 80 }))
    await ticket.admitted
    ticket.spend(used)
    isMute = true
    ticket.end()
    await vi.advanceTimersByTimeAsync(RENEWAL_MS)
    isMute = false
    await vi.advanceTimersByTimeAsync(RENEWAL_MS)
    expect(await refusalOf(limits, { tokens: 85 })).toBeUndefined()
    await limits.close()
  })

  test('because its process died gives back what was reserved, as soon as nobody renews it', async () => {
    const [dead, alive] = [open({ tokensPerMonth: 100 }), open({ tokensPerMonth: 100 })]
    await dead.admit(wish({ tokens: 80 })).admitted
    nowMs += 20_000
    await vi.advanceTimersByTimeAsync(RENEWAL_MS)
    nowMs += 20_000
    expect(await refusalOf(alive, { tokens: 80 })).toMatchObject({ code: 'quota' })
    await dead.close()
    nowMs += 10_000
    expect(await refusalOf(alive, { tokens: 80 })).toBeUndefined()
    await alive.close()
  })
})

describe('without the shared store', () => {
  test('each replica grants its share, counting what it was granted before', async () => {
    const house = { turns: { most: 100, windowMs: MINUTE_MS } }
    const replicas = [0, 1, 2, 3].map(() => open(house, 4))
    const [first, second] = replicas
    if (first === undefined || second === undefined) throw new Error('there are four')
    for (let at = 0; at < 20; at++) expect(await refusalOf(first)).toBeUndefined()
    isGone = true
    const granted = async (limits: Limits) => {
      let count = 0
      for (let at = 0; at < 120; at++) if ((await refusalOf(limits)) === undefined) count++
      return count
    }
    expect(await granted(first)).toBe(5)
    expect(await granted(second)).toBe(25)
    expect(first.isDegraded).toBe(true)
    isGone = false
    nowMs += MINUTE_MS
    expect(await refusalOf(first)).toBeUndefined()
    expect(first.isDegraded).toBe(false)
  })

  test('its return is noticed within a renewal, also where nobody asks', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const limits = open({ turns: { most: 100, windowMs: MINUTE_MS } })
    isGone = true
    expect(await refusalOf(limits)).toBeUndefined()
    await vi.advanceTimersByTimeAsync(10_000)
    expect(limits.isDegraded).toBe(true)
    isGone = false
    await vi.advanceTimersByTimeAsync(10_000)
    expect(limits.isDegraded).toBe(false)
    await limits.close()
  })

  test('quotas are shared as well', async () => {
    const limits = open({ turnsPerDay: 10 }, 4)
    await refusalOf(limits)
    await refusalOf(limits)
    await usage.flush()
    isGone = true
    let count = 0
    while ((await refusalOf(limits)) === undefined) count++
    expect(count).toBe(2)
  })

  test('quotas are shared anew each time it goes away', async () => {
    const limits = open({ turnsPerDay: 100 }, 2)
    for (let at = 0; at < 60; at++) await refusalOf(limits)
    for (const [left, share] of [
      [40, 20],
      [19, 10],
    ] as const) {
      await usage.flush()
      isGone = true
      let count = 0
      while ((await refusalOf(limits)) === undefined) count++
      expect({ left, count }).toEqual({ left, count: share })
      isGone = false
      expect(await refusalOf(limits)).toBeUndefined()
    }
  })
})
