/** What /readyz says of parts that are silent, which takes no longer than whoever asks would wait. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { AppError } from '#base/errors.ts'
import { checkHealth, type HealthParts } from '#telemetry/health.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const well = { ping: () => Promise.resolve() }
const silent = { ping: () => new Promise<void>(() => undefined) }
const LONGEST_MS = 2_000

const parts = (over: Partial<HealthParts>): HealthParts => ({
  isLeaving: false,
  stores: { characters: well },
  records: {
    ...{ store: well, hasOutbox: true, isStrict: true },
    state: () => ({
      ...{ isFailing: false, isSpilling: false, isNearlyFull: false },
      ...{ pending: 0, dropped: 0, quarantined: 0 },
    }),
  },
  redis: well,
  upstreams: () => [{ name: 'ollama', healthy: true, models: [] }] as never,
  knowledge: () => Promise.resolve({ words: { ok: true }, vectors: null, embedding: null }),
  ...over,
})

async function asked(over: Partial<HealthParts>) {
  const health = checkHealth(parts(over))
  await vi.advanceTimersByTimeAsync(LONGEST_MS)
  return health
}

test('what is silent is told after two seconds, all of it at once', async () => {
  const knowledge = () => new Promise<never>(() => undefined)
  const { status, checks } = await asked({ stores: { characters: silent }, redis: silent, knowledge })
  expect(status).toBe('unavailable')
  for (const name of ['characters', 'redis', 'knowledge words'])
    expect(checks[name]).toMatchObject({ ok: false, message: expect.any(String) as string })
  expect(checks['analytics']).toEqual({ ok: true })
})

test('a Redis that is away needs a look, and keeps nobody from being served', async () => {
  const gone = new AppError('unavailable', 'Redis does not answer')
  const { status, checks } = await asked({ redis: { ping: () => Promise.reject(gone) } })
  expect(status).toBe('degraded')
  expect(checks['redis']).toEqual({ ok: false, message: 'Redis does not answer' })
})

test('a process that shares nothing is not asked about Redis', async () => {
  const { status, checks } = await asked({ redis: undefined })
  expect(status).toBe('ready')
  expect(checks).not.toHaveProperty('redis')
})
