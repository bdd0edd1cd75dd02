import type { SQL } from 'drizzle-orm'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'

import { createKeys, type Keys } from '#gateway/keys.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

const FIXED = [{ keyId: 'connection', secret: 'c'.repeat(40), scopes: ['chat', 'forward-user'] as const }]

let store: Store
let keys: Keys
let nowMs = 0
let queries = 0
let counted: Store['db']

beforeEach(async () => {
  store = await openStore('file::memory:')
  queries = 0
  counted = new Proxy(store.db, {
    get(target, name, receiver) {
      if (name === 'select') queries++
      return Reflect.get(target, name, receiver) as unknown
    },
  })
  nowMs = 1_000_000
  const kv = openMemoryKv({ now: () => nowMs })
  keys = createKeys({ store: { ...store, db: counted }, kv, fixed: FIXED, now: () => nowMs })
  return async () => {
    await keys.close()
    await store.close()
  }
})

const make = (over: Partial<Parameters<Keys['create']>[0]> = {}) =>
  keys.create({ name: 'club', scopes: ['chat'], expiresAtMs: null, ...over })

test('a key names its holder and scopes, and only its hash is stored', async () => {
  const { id, secret } = await make()
  expect(secret).toMatch(/^troupe_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/)
  expect(await keys.verify(secret)).toEqual({ keyId: id, name: 'club', scopes: ['chat'] })
  const written = JSON.stringify([await store.db.select().from(store.t.apiKeys), await keys.list()])
  expect(written).not.toContain(secret.split('_')[2])
})

test('a key of the configuration works beside them', async () => {
  expect(await keys.verify('c'.repeat(40))).toMatchObject({
    keyId: 'connection',
    scopes: ['chat', 'forward-user'],
  })
})

describe('is refused in the same words', () => {
  test.each([
    ['an unknown text', () => Promise.resolve('anything')],
    ['nothing', () => Promise.resolve('')],
    [
      'a key with one character changed',
      async () => (await make()).secret.replace(/.$/, (last) => (last === 'a' ? 'b' : 'a')),
    ],
    [
      'a valid-looking key that was never made',
      async () => {
        const other = await openStore('file::memory:')
        const { secret } = await createKeys({
          store: other,
          kv: openMemoryKv({ now: () => 0 }),
          fixed: [],
          now: () => 0,
        }).create({
          name: 'x',
          scopes: ['chat'],
          expiresAtMs: null,
        })
        await other.close()
        return secret
      },
    ],
    [
      'an expired key',
      async () => {
        const { secret } = await make({ expiresAtMs: nowMs + 5 })
        nowMs += 5
        return secret
      },
    ],
    [
      'a revoked key',
      async () => {
        const { id, secret } = await make()
        await keys.verify(secret)
        await keys.revoke(id)
        return secret
      },
    ],
  ])('%s', async (_name, offered) => {
    await expect(keys.verify(await offered())).rejects.toMatchObject({
      code: 'unauthenticated',
      message: expect.stringContaining('The API key is not valid') as string,
    })
  })
})

test('the secret of one key does not open another', async () => {
  const [a, b] = [await make(), await make()]
  const [, , secret] = a.secret.split('_')
  await expect(keys.verify(b.secret.replace(/_[^_]{43}_/, `_${secret ?? ''}_`))).rejects.toMatchObject({
    code: 'unauthenticated',
  })
})

test('garbage costs no query', async () => {
  queries = 0
  await fc.assert(
    fc.asyncProperty(fc.string(), async (text) => {
      await expect(keys.verify(text)).rejects.toMatchObject({ code: 'unauthenticated' })
    }),
    { numRuns: 50 },
  )
  expect(queries).toBe(0)
})

test.each([
  ['where other replicas may change it, costs a query every five seconds', true, 2],
  ['where nobody else can change it, costs a single query', false, 1],
])('a known key, %s', async (_, isShared, expected) => {
  const kv = { ...openMemoryKv({ now: () => nowMs }), isShared }
  const known = createKeys({ store: { ...store, db: counted }, kv, fixed: [], now: () => nowMs })
  const { secret } = await known.create({ name: 'club', scopes: ['chat'], expiresAtMs: null })
  queries = 0
  for (let at = 0; at < 10; at++) await known.verify(secret)
  expect(queries).toBe(1)
  nowMs += 5_000
  await known.verify(secret)
  expect(queries).toBe(expected)
  await known.close()
})

test('a key that is revoked while it is read is not kept', async () => {
  let read: () => void = () => undefined
  const gate = new Promise<void>((resolve) => (read = resolve))
  const slow = new Proxy(store.db, {
    get(target, name, receiver) {
      if (name !== 'select') return Reflect.get(target, name, receiver) as unknown
      const limit = async (table: typeof store.t.apiKeys, where: SQL | undefined) => {
        const rows = await target.select().from(table).where(where)
        await gate
        return rows
      }
      return () => ({
        from: (table: typeof store.t.apiKeys) => ({
          where: (where: SQL | undefined) => ({ limit: () => limit(table, where) }),
        }),
      })
    },
  })
  const kv = openMemoryKv({ now: () => nowMs })
  const late = createKeys({ store: { ...store, db: slow }, kv, fixed: [], now: () => nowMs })
  const { id, secret } = await late.create({ name: 'club', scopes: ['chat'], expiresAtMs: null })
  const reading = late.verify(secret)
  await late.revoke(id)
  read()
  await reading
  await expect(late.verify(secret)).rejects.toMatchObject({ code: 'unauthenticated' })
  await late.close()
})

test('revoking what is not there says so', async () => {
  await expect(keys.revoke('nothing')).rejects.toMatchObject({ code: 'not_found' })
})
