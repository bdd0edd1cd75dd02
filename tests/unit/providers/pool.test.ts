import { beforeEach, describe, expect, test } from 'vitest'

import { AppError, toAppError } from '#base/errors.ts'
import { createPool, type Placed, type Pool, type PoolOptions } from '#providers/pool.ts'
import type { Delta, ModelCall, Notice, Provider } from '#providers/provider.ts'
import type { Upstream } from '#providers/upstreams.ts'

const DONE: Delta = { type: 'done', reason: 'stop' }

let nowMs = 0
let asked: string[] = []
beforeEach(() => {
  nowMs = 1_000_000
  asked = []
})

type Manner = () => AsyncGenerator<Delta, void, undefined>

// eslint-disable-next-line @typescript-eslint/require-await -- a server that answers at once
async function* well(): AsyncGenerator<Delta, void, undefined> {
  yield { type: 'text', text: 'Hello' }
  yield DONE
}

const failing = (code: AppError['code'], facts: Record<string, number> = {}): Manner =>
  // eslint-disable-next-line @typescript-eslint/require-await, require-yield -- fails before its first word
  async function* () {
    throw new AppError(code, 'It does not work', { facts })
  }

function server(name: string, manner: Manner, model: Partial<Upstream['model']> = {}): Upstream {
  const provider = {
    id: name,
    name,
    stream() {
      asked.push(name)
      return manner()
    },
  } as Partial<Provider> as Provider
  return { provider, model: { name: 'base', chats: true, ...model } }
}

const open = (over: Partial<PoolOptions> = {}) =>
  createPool({ now: () => nowMs, parallel: undefined, perSecond: undefined, replicas: 1, ...over })

async function place(
  pool: Pool,
  candidates: readonly Upstream[],
  { affinity = 'mira@1', person = 'tom', signal = new AbortController().signal } = {},
): Promise<{ placed: Placed; notices: Notice[] }> {
  const notices: Notice[] = []
  const listener = { signal, isThere: true, tell: (notice: Notice) => void notices.push(notice) }
  const asker = { person, isTask: false }
  const wish = { candidates, call: () => ({}) as ModelCall, affinity, asker }
  return { placed: await pool.place(wish, listener), notices }
}

const use = async (...given: Parameters<typeof place>) => (await place(...given)).placed.release()

describe('one of several servers', () => {
  const three = () => ['a', 'b', 'c'].map((name) => server(name, well))

  test('a character stays with one server, and characters spread over all', async () => {
    const pool = open()
    const homes = new Map<string, Set<string>>()
    for (let chat = 0; chat < 300; chat++) {
      const affinity = `character-${String(chat % 60)}@1`
      const { placed } = await place(pool, three(), { affinity })
      placed.release()
      homes.set(affinity, (homes.get(affinity) ?? new Set()).add(placed.upstream.provider.name))
    }
    expect(Math.max(...[...homes.values()].map(({ size }) => size))).toBe(1)
    const counts = ['a', 'b', 'c'].map((name) => [...homes.values()].filter((home) => home.has(name)).length)
    expect(Math.min(...counts)).toBeGreaterThan(8)
  })

  test('a full server hands over to the next of that character, and gets it back', async () => {
    const pool = open()
    const servers = ['a', 'b'].map((name) => server(name, well, { parallel: 1 }))
    const { placed: first } = await place(pool, servers)
    const { placed: second } = await place(pool, servers)
    expect(second.upstream.provider.name).not.toBe(first.upstream.provider.name)
    first.release()
    second.release()
    const { placed: third } = await place(pool, servers)
    expect(third.upstream.provider.name).toBe(first.upstream.provider.name)
  })

  test('what fails before the first word is answered elsewhere', async () => {
    const pool = open()
    const servers = [server('dead', failing('unavailable')), server('well', well)]
    for (let chat = 0; chat < 20; chat++) {
      const { placed } = await place(pool, servers, { affinity: String(chat) })
      placed.release()
      expect(placed.upstream.provider.name).toBe('well')
    }
  })

  test.each([
    ['a prompt that is too long', 'context_length', {}],
    ['a request that the server does not understand', 'upstream', { status: 404 }],
    ['a request that the server refuses', 'invalid', { status: 400 }],
    ['a client that left', 'cancelled', {}],
  ] as const)('%s is nobody else’s business, and no fault of the server', async (_name, code, facts) => {
    const pool = open()
    const servers = [server('a', failing(code, facts)), server('b', failing(code, facts))]
    for (let chat = 0; chat < 30; chat++) {
      asked = []
      await expect(place(pool, servers, { affinity: String(chat) })).rejects.toMatchObject({ code })
      expect(asked).toHaveLength(1)
    }
    expect(pool.state().some(({ isPaused }) => isPaused)).toBe(false)
  })
})

describe('a server that is down', () => {
  test('is left alone soon, tried by one call, and used again; few calls are repeated', async () => {
    let isUp = false
    const flaky = server('flaky', () => (isUp ? well() : failing('unavailable')()))
    const pool = open()
    const outcomes: string[] = []
    for (let call = 0; call < 60; call++) {
      const startedAtMs = performance.now()
      await use(pool, [flaky]).then(
        () => outcomes.push('ok'),
        (error: unknown) => outcomes.push(toAppError(error).code),
      )
      if (asked.length > 20) throw new Error('It was asked too often')
      if (call > 30) expect(performance.now() - startedAtMs).toBeLessThan(50)
    }
    expect(new Set(outcomes)).toEqual(new Set(['unavailable']))
    expect(asked.length - 60).toBeLessThanOrEqual(60 * 0.2)
    await expect(use(pool, [flaky])).rejects.toMatchObject({ facts: { retryAfterSeconds: 5 } })
    isUp = true
    nowMs += 5_000
    asked = []
    for (let call = 0; call < 5; call++) await use(pool, [flaky])
    expect(asked).toHaveLength(5)
  })

  test('takes no other server of the same address with it', async () => {
    const pool = open()
    const behind = (id: string, manner: Manner) => {
      const { provider, model } = server('gateway', manner)
      return { provider: { ...provider, id }, model }
    }
    const [dead, alive] = [behind('one', failing('upstream_timeout')), behind('two', well)]
    for (let call = 0; call < 10; call++) await use(pool, [dead]).catch(() => undefined)
    expect(pool.state()).toMatchObject([{ server: 'gateway', isPaused: true }])
    for (let chat = 0; chat < 5; chat++) await use(pool, [dead, alive], { affinity: String(chat) })
    const homes = new Set<string>()
    for (let chat = 0; chat < 20; chat++) {
      const both = [behind('three', well), behind('four', well)]
      const { placed } = await place(pool, both, { affinity: String(chat) })
      placed.release()
      homes.add(placed.upstream.provider.id)
    }
    expect(homes.size).toBe(2)
  })

  test('takes no other model with it', async () => {
    const pool = open()
    const dead = server('one', failing('upstream_timeout'), { name: 'slow' })
    for (let call = 0; call < 10; call++) await use(pool, [dead]).catch(() => undefined)
    expect(pool.state()).toMatchObject([{ model: 'slow', isPaused: true }])
    await use(pool, [server('one', well, { name: 'other' })])
  })
})

describe('a queue', () => {
  test('begins in each of several processes with its share of what the server runs', async () => {
    const pool = open({ replicas: 3 })
    const busy = server('a', well, { parallel: 4 })
    const { placed: first } = await place(pool, [busy])
    const { placed: second } = await place(pool, [busy])
    const third = place(pool, [busy])
    await new Promise(setImmediate)
    expect(pool.state()).toMatchObject([{ running: 2, waiting: 1 }])
    for (const each of [first, second]) each.release()
    ;(await third).placed.release()
  })

  test('tells its place, and hands over in turn', async () => {
    const pool = open({ parallel: 1 })
    const busy = server('a', well)
    const { placed: first } = await place(pool, [busy])
    const second = place(pool, [busy], { person: 'ann' })
    const third = place(pool, [busy], { person: 'ben' })
    await new Promise(setImmediate)
    expect(pool.state()).toMatchObject([{ running: 1, waiting: 2 }])
    first.release()
    const { placed, notices } = await second
    expect(notices.map(({ text }) => text)).toEqual(['The model is busy: you are next', 'It is your turn'])
    placed.release()
    expect((await third).notices.map(({ text }) => text)).toEqual([
      'The model is busy: 1 before you',
      'The model is busy: you are next',
      'It is your turn',
    ])
  })

  test('whoever leaves it takes no place that comes later', async () => {
    const pool = open({ parallel: 1 })
    const busy = server('a', well)
    const { placed } = await place(pool, [busy])
    const leaving = new AbortController()
    const left = place(pool, [busy], { signal: leaving.signal })
    await new Promise(setImmediate)
    leaving.abort()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    placed.release()
    await use(pool, [busy])
    expect(pool.state()).toMatchObject([{ running: 0, waiting: 0 }])
  })

  test('whoever is found gone when its turn comes is not asked for', async () => {
    const pool = open({ parallel: 1 })
    const busy = server('a', well)
    const { placed } = await place(pool, [busy])
    const listener = { signal: new AbortController().signal, isThere: true, tell: () => undefined }
    const wish = {
      candidates: [busy],
      call: () => ({}) as ModelCall,
      affinity: 'mira@1',
      asker: { person: 'ann', isTask: false },
    }
    const left = pool.place(wish, listener)
    listener.isThere = false
    placed.release()
    await expect(left).rejects.toMatchObject({ code: 'cancelled' })
    expect(asked).toHaveLength(1)
    expect(pool.state()).toMatchObject([{ running: 0, waiting: 0 }])
  })
})
