import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import path from 'node:path'

import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect } from 'vitest'

import { createKeys, type Keys } from '#gateway/keys.ts'
import { openRedisKv } from '#kv/redis.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { ADMIN_KEY, CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { hasRedis, startRedis, type RedisServer } from '../support/redis.ts'
import { missing, reliabilityTest, type Tally } from '../support/reliability.ts'

let redis: RedisServer
let store: Store
let replicas: Keys[]
let queries = 0
let nowMs = Date.now()

/** Three replicas over one database and one Redis. */
beforeAll(async () => {
  if (!hasRedis) return
  redis = await startRedis()
  store = await openStore('file::memory:')
  const counted = new Proxy(store.db, {
    get(target, name, receiver) {
      if (name === 'select') queries++
      return Reflect.get(target, name, receiver) as unknown
    },
  })
  replicas = await Promise.all(
    [1, 2, 3].map(async () => {
      const kv = await openRedisKv({ url: redis.url, now: Date.now })
      return createKeys({ store: { ...store, db: counted }, kv, fixed: [], now: () => nowMs })
    }),
  )
})
afterAll(async () => {
  if (!hasRedis) return
  await Promise.all(replicas.map((keys) => keys.close()))
  await store.close()
  await redis.stop()
})

const first = (): Keys => {
  const [keys] = replicas
  if (keys === undefined) throw new Error('there are three')
  return keys
}
const make = () => first().create({ name: 'club', scopes: ['chat'], expiresAtMs: null })
const opens = (keys: Keys, secret: string) =>
  keys.verify(secret).then(
    () => true,
    () => false,
  )
const opened = async (secret: string) =>
  (await Promise.all(replicas.map((keys) => opens(keys, secret)))).filter(Boolean).length
const partsOf = (secret: string) => {
  const [, id = '', middle = '', sum = ''] = secret.split('_')
  return { id, middle, sum }
}

describe('attacks on keys', () => {
  const skip = missing({ Redis: hasRedis })
  reliabilityTest(
    29,
    'key-attacks (replicas)',
    async (tally) => {
      await wrongSecretAfterHit(tally)
      await expiry(tally)
      await revocation(tally)
      await lostRevocation(tally)
      await rotation(tally)
      await garbage(tally)
    },
    { skip },
  )

  reliabilityTest(
    29,
    'key-attacks (timing)',
    async ({ figures }) => {
      const { secret } = await make()
      const { id } = partsOf(secret)
      const other = partsOf((await make()).secret)
      // Right checksums, so that both reach the comparison: a live id with another's secret, and an id that is none.
      const unknown = await createElsewhere()
      const guess = reassemble(id, other.middle)
      const run = async (text: string) => {
        const startedAtMs = performance.now()
        for (let at = 0; at < 500; at++) await opens(first(), text)
        return performance.now() - startedAtMs
      }
      const ratios: number[] = []
      for (let round = 0; round < 20; round++) {
        const [known, none] = [await run(guess), await run(unknown)]
        ratios.push(known / none)
      }
      const median = ratios.sort((a, b) => a - b)[10] ?? 0
      figures['known id / unknown id, time'] = Number(median.toFixed(2))
      expect(median).toBeGreaterThan(0.7)
      expect(median).toBeLessThan(1.4)
    },
    { skip },
  )
})

async function wrongSecretAfterHit({ counters }: Tally) {
  const [a, b] = [await make(), await make()]
  expect(await opened(a.secret)).toBe(3)
  counters.in += await opened(reassemble(partsOf(a.secret).id, partsOf(b.secret).middle))
}

async function expiry({ counters }: Tally) {
  const { secret } = await first().create({ name: 'x', scopes: ['chat'], expiresAtMs: nowMs + 1_000 })
  expect(await opened(secret)).toBe(3)
  nowMs += 1_000
  counters.in += await opened(secret)
}

async function revocation({ counters, figures }: Tally) {
  const { id, secret } = await make()
  expect(await opened(secret)).toBe(3)
  await first().revoke(id)
  const startedAtMs = performance.now()
  while ((await opened(secret)) > 0 && performance.now() - startedAtMs < 5_000) await sleep(5)
  figures['revoked on all replicas after ms'] = Math.round(performance.now() - startedAtMs)
  counters.in += await opened(secret)
}

/** Redis frozen: nobody is told, and the age of the copies ends it. */
async function lostRevocation({ counters }: Tally) {
  const { id, secret } = await make()
  expect(await opened(secret)).toBe(3)
  redis.freeze()
  await first().revoke(id)
  expect(await opens(first(), secret)).toBe(false)
  nowMs += 5_000
  counters.in += await opened(secret)
  redis.thaw()
}

async function rotation({ counters }: Tally) {
  const old = await make()
  const wish = { graceMs: 10_000, expiresAtMs: null }
  const second = await first().rotate(old.id, wish)
  const third = await first().rotate(second.id, wish)
  expect(await Promise.all([old, second, third].map(({ secret }) => opened(secret)))).toEqual([3, 3, 3])
  nowMs += 10_000
  counters.in += (await opened(old.secret)) + (await opened(second.secret))
  expect(await opened(third.secret)).toBe(3)
  const racing = await Promise.allSettled(replicas.map((keys) => keys.rotate(third.id, wish)))
  expect(racing.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  const alive = (await first().list()).filter(({ id, replacedBy }) => id === third.id && replacedBy !== null)
  expect(alive).toHaveLength(1)
}

async function garbage({ counters, figures }: Tally) {
  queries = 0
  const { middle } = partsOf((await make()).secret)
  for (let at = 0; at < 10_000; at++) {
    const text = `troupe_${String(at).padStart(12, 'a')}_${middle}_${String(at).padStart(6, 'b')}`
    if (await opens(first(), text)) counters.in += 1
  }
  figures['queries for 10,000 wrong keys'] = queries
  expect(queries).toBe(0)
}

/** A well-formed key that this database does not know. */
async function createElsewhere(): Promise<string> {
  const elsewhere = await openStore('file::memory:')
  const kv = await openRedisKv({ url: redis.url, now: Date.now })
  const keys = createKeys({ store: elsewhere, kv, fixed: [], now: Date.now })
  const { secret } = await keys.create({ name: 'x', scopes: ['chat'], expiresAtMs: null })
  await Promise.all([keys.close(), elsewhere.close(), kv.close()])
  return secret
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** A key with a right checksum: an attacker knows how it is made. */
function reassemble(id: string, middle: string): string {
  let rest = crc32Of(id + middle)
  let sum = ''
  for (let at = 0; at < 6; at++) {
    sum = (BASE62[rest % 62] ?? '') + sum
    rest = Math.floor(rest / 62)
  }
  return `troupe_${id}_${middle}_${sum}`
}

function crc32Of(text: string): number {
  let crc = ~0
  for (const byte of Buffer.from(text)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (0xedb88320 & -(crc & 1))
  }
  return ~crc >>> 0
}

describe('keys over HTTP', () => {
  let ollama: FakeOllama
  let troupe: TestApp
  beforeAll(async () => {
    ollama = await openFakeOllama()
    troupe = await openTestApp({
      OLLAMA_BASE_URL: ollama.origin,
      OPENWEBUI_URL: 'http://127.0.0.1:9',
      OPENWEBUI_JWT_SECRET: JWT_SECRET,
      ...(hasRedis && { REDIS_URL: redis.url }),
    })
  })
  afterAll(async () => {
    await troupe.close()
    await ollama.close()
  })

  reliabilityTest(29, 'key-attacks (HTTP)', async ({ counters }) => {
    const model = await troupe.importCard({ name: 'Mira' })
    const made = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: 'club', scopes: ['chat', 'models'] },
    })
    const { secret } = (await made.json()) as { secret: string }
    const body = { model, messages: [{ role: 'user', content: 'Hello' }] }
    const chat = (key: string | null, headers = {}, query = '') =>
      troupe.request('POST', `/v1/chat/completions${query}`, { key, body, headers })
    expect((await chat(secret)).status).toBe(200)

    // A key that speaks for users says nothing without one; an admin's key opens no chat, whatever token comes with it.
    expect((await chat(CONNECTION_KEY)).status).toBe(401)
    expect((await chat(ADMIN_KEY, { 'x-openwebui-user-jwt': await userToken('a') })).status).toBe(403)

    for (const query of [`?api_key=${secret}`, `?key=${secret}`, `?access_token=${secret}`]) {
      const { status } = await chat(null, {}, query)
      expect(status).toBe(401)
      counters.in += Number(status === 200)
    }
    await troupe.request('GET', `/v1/models/${secret}`, { key: secret })
    if (JSON.stringify(troupe.logged).includes(secret)) counters.leaked += 1

    await troupe.app.close()
    const files = await Promise.all(
      ['troupe.sqlite', 'troupe.sqlite-wal', 'analytics.sqlite'].map((name) =>
        readFile(path.join(troupe.dataDir, name), 'latin1').catch(() => ''),
      ),
    )
    const { middle } = partsOf(secret)
    if (files.join('').includes(middle)) counters.leaked += 1
    expect(files.join('')).toContain(partsOf(secret).id)
    if (!hasRedis) return
    const client = new Redis(redis.url)
    const dump = await Promise.all((await client.keys('*')).map((key) => client.dumpBuffer(key)))
    if (dump.some((bytes) => bytes.includes(middle))) counters.leaked += 1
    client.disconnect()
  })
})
