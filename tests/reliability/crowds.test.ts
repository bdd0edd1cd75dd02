import { setTimeout as sleep } from 'node:timers/promises'

import { request } from 'undici'
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'

import { ConfigError, readConfig } from '../../sidecar/src/config.ts'
import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { reliabilityTest } from '../support/reliability.ts'

const OPEN_WEBUI = { OPENWEBUI_URL: 'http://127.0.0.1:9', OPENWEBUI_JWT_SECRET: JWT_SECRET }

let ollama: FakeOllama
let troupe: TestApp | undefined

beforeAll(async () => {
  // Says the name that the prompt has for who asks.
  ollama = await openFakeOllama({
    answer: ({ body }) => ({ chunks: [/answers (\S+) slowly/.exec(JSON.stringify(body))?.[1] ?? 'nobody'] }),
  })
})
afterEach(() => troupe?.close())
afterAll(() => ollama.close())

async function open(env: Record<string, string> = {}): Promise<TestApp> {
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    TROUPE_CALLS_PER_SECOND: '0',
    TROUPE_PARALLEL_CALLS: '100',
    ...OPEN_WEBUI,
    ...env,
  })
  return troupe
}

const asking = (on: TestApp, model: string, token: string, content = 'Hello') =>
  on.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers: { 'x-openwebui-user-jwt': token },
    body: { model, messages: [{ role: 'user', content }] },
  })

const p99 = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? 0
const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const ABUSERS_MOST = 2

describe('a crowd', () => {
  reliabilityTest(23, 'noisy-neighbour', async ({ counters, figures }) => {
    const on = await open({ TROUPE_TURN_LIMIT: `${String(ABUSERS_MOST)}/60`, TROUPE_PARALLEL_TURNS: '4' })
    const model = await on.importCard({ name: 'Mira' })
    const abusers = await Promise.all(
      Array.from({ length: 50 }, (_, at) => userToken(`abuser-${String(at)}`)),
    )
    const made = await on.request('POST', '/troupe/api/keys', {
      body: { name: 'victim', scopes: ['chat'], limits: { turnsPerMinute: 10_000 } },
    })
    const { secret: victim } = (await made.json()) as { secret: string }
    const before = ollama.chats().length
    let admitted = 0
    let refused = 0
    let isFlooding = true
    const abuse = async (token: string, pauseMs: number) => {
      while (isFlooding) {
        const { status } = await asking(on, model, token).then(async (answer) => {
          await answer.arrayBuffer()
          return answer
        })
        if (status === 200) admitted += 1
        else refused += 1
        await sleep(pauseMs)
      }
    }
    let victimTurns = 0
    const times = async () => {
      const ms: number[] = []
      for (let at = 0; at < 100; at++) {
        const startedAtMs = performance.now()
        const answer = await on.request('POST', '/v1/chat/completions', {
          key: victim,
          body: { model, messages: [{ role: 'user', content: 'Hello' }] },
        })
        await answer.arrayBuffer()
        ms.push(performance.now() - startedAtMs)
        victimTurns += 1
        expect(answer.status).toBe(200)
      }
      return ms
    }
    const alone = await times()
    const flood = Promise.all(abusers.map((token) => abuse(token, 250)))
    await sleep(500)
    const beside = await times()
    isFlooding = false
    await flood
    // What was refused has reached no model, and of nobody more was admitted than the limit.
    const reached = ollama.chats().length - before
    counters.in += Math.abs(reached - admitted - victimTurns)
    expect(admitted).toBe(50 * ABUSERS_MOST)
    expect(refused).toBeGreaterThan(100)
    Object.assign(figures, {
      'abusers refused': refused,
      'victim p99 ms, alone': Math.round(p99(alone)),
      'victim p99 ms, beside 50 abusers': Math.round(p99(beside)),
      'victim median ratio': Number((median(beside) / median(alone)).toFixed(2)),
    })
  })

  reliabilityTest(32, 'tenant-cache-mix', async ({ counters, figures }) => {
    const on = await open()
    const cast = await Promise.all(
      Array.from({ length: 8 }, (_, at) => on.importCard({ name: `C${String(at)}` })),
    )
    const people = ['Anna-marker', 'Bert-marker']
    const tokens = await Promise.all(people.map((name) => userToken(name, { name })))
    let answers = 0
    const one = async (at: number) => {
      const who = at % 2
      const answer = await asking(
        on,
        cast[(at >> 1) % cast.length] ?? '',
        tokens[who] ?? '',
        'The same words',
      )
      const text = await answer.text()
      answers += 1
      if (text.includes(people[1 - who] ?? '')) counters.leaked += 1
      expect(text).toContain(people[who])
      expect(answer.headers.get('cache-control') ?? 'no-store').toMatch(/no-store|no-cache/)
    }
    for (let round = 0; round < 8; round++) await Promise.all(Array.from({ length: 32 }, (_, at) => one(at)))
    figures['answers compared'] = answers
  })

  reliabilityTest(38, 'brute-and-default', async ({ counters, figures }) => {
    const on = await open()
    const model = await on.importCard({ name: 'Mira' })
    const statuses = new Map<number, number>()
    const guess = async (at: number) => {
      const key = `troupe_${String(at).padStart(12, '0')}_${'0'.repeat(43)}_${String(at).padStart(6, '0')}`
      const path = at % 2 === 0 ? '/troupe/api/keys' : '/v1/models'
      const { statusCode, headers, body } = await request(`${on.url}${path}`, {
        headers: { authorization: `Bearer ${key}` },
      })
      statuses.set(statusCode, (statuses.get(statusCode) ?? 0) + 1)
      if (statusCode < 400) counters.in += 1
      const text = await body.text()
      if (/\bat .*\.ts:|node_modules|\/sidecar\//.test(text)) counters.leaked += 1
      if (statusCode === 429) expect(Number(headers['retry-after'])).toBeGreaterThan(0)
    }
    for (let at = 0; at < 10_000; at += 20)
      await Promise.all(Array.from({ length: 20 }, (_, next) => guess(at + next)))
    expect(statuses.get(429)).toBeGreaterThan(9_900)
    // Who guesses shuts nobody out: behind a proxy all share an address.
    expect((await asking(on, model, await userToken('tom'))).status).toBe(200)

    const long = 'k3p9-long-enough-and-not-guessed-x'
    const open4All = { TROUPE_HOST: '0.0.0.0', TROUPE_ADMIN_KEY: long }
    const dangerous: Record<string, string>[] = [
      { TROUPE_ADMIN_KEY: 'short' },
      { TROUPE_ADMIN_KEY: 'change-me-to-something-long-and-secret' },
      { TROUPE_ADMIN_KEY: 'your-admin-key-goes-here-0123456789abcdef' },
      { TROUPE_CONNECTION_KEY: 'a'.repeat(40) },
      { OPENWEBUI_JWT_SECRET: 'example-secret-of-the-documentation-0123' },
      { TROUPE_HOST: '0.0.0.0' },
      { ...open4All, TROUPE_CONNECTION_KEY: `${long}2` },
      { ...open4All, TROUPE_TRUST_PLAIN_HEADERS: 'true' },
      { ...open4All, NODE_OPTIONS: '--inspect=0.0.0.0' },
      { TROUPE_ADMIN_KEY: long, TROUPE_CONNECTION_KEY: long },
      { TROUPE_REPLICAS: '4' },
    ]
    for (const env of dangerous) {
      let fault: unknown
      try {
        readConfig(env)
      } catch (error) {
        fault = error
      }
      expect.soft(fault, JSON.stringify(env)).toBeInstanceOf(ConfigError)
      if (fault === undefined) counters.in += 1
      expect(String(fault)).toMatch(/set|unset|make|take|shorter/)
    }
    figures['wrong keys tried'] = 10_000
    figures['dangerous settings refused'] = dangerous.length
  })
})
