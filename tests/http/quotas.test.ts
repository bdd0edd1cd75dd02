/** Sums of a day or a month: who they count, what their owner sees of them, and who is told when they are used up. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'

let ollama: FakeOllama
let troupe: TestApp

/** What one person may use up in a day. */
const TOKENS_PER_DAY = 50

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
    TROUPE_TOKENS_PER_DAY: String(TOKENS_PER_DAY),
  })
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

const makeKey = async (over: object) => {
  const answer = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'club', ...over } })
  return (await answer.json()) as { id: string; secret: string }
}

/** About 40 tokens. */
const PAGE = 'A storm over the sea. '.repeat(8)

const embed = async (key: string, headers: Record<string, string> = {}) =>
  troupe.request('POST', '/v1/embeddings', { key, headers, body: { model: 'fake:1b', input: PAGE } })

/** Of one after the other. */
async function statuses(times: number, ask: () => Promise<Response>): Promise<number[]> {
  const seen: number[] = []
  for (let at = 0; at < times; at++) seen.push((await ask()).status)
  return seen
}

describe('embeddings', () => {
  test('that Open WebUI asks for without naming anybody count against nobody', async () => {
    expect(await statuses(4, () => embed(CONNECTION_KEY))).toEqual([200, 200, 200, 200])
  })

  test('that it asks for in the name of a person count against that person alone', async () => {
    const by = async (person: string) =>
      embed(CONNECTION_KEY, { 'x-openwebui-user-jwt': await userToken(person) })
    expect(await statuses(3, () => by('anna'))).toEqual([200, 429, 429])
    expect((await by('bert')).status).toBe(200)
  })

  test('in the name of somebody who is not proven are refused', async () => {
    const forged = { 'x-openwebui-user-jwt': await userToken('eve', { secret: 'x'.repeat(40) }) }
    expect((await embed(CONNECTION_KEY, forged)).status).toBe(401)
    expect((await embed(CONNECTION_KEY, { 'x-openwebui-user-id': 'anna' })).status).toBe(401)
  })

  test("keep to the key's own quota whoever they are for", async () => {
    const { secret } = await makeKey({
      scopes: ['embeddings', 'forward-user'],
      limits: { tokensPerDay: 60 },
    })
    expect(await statuses(2, () => embed(secret))).toEqual([200, 429])
  })

  test('of a key that speaks for itself count as those of one person', async () => {
    const { secret } = await makeKey({ scopes: ['embeddings'] })
    const named = { 'x-openwebui-user-jwt': await userToken('carl') }
    expect(await statuses(2, () => embed(secret, named))).toEqual([200, 429])
  })
})

describe('the holder of a key', () => {
  const chatBy = (key: string) =>
    troupe.request('POST', '/v1/chat/completions', {
      key,
      body: { model: 'fake:1b', messages: [{ role: 'user', content: 'Hello' }] },
    })
  const usageOf = async (key: string) =>
    (await (await troupe.request('GET', '/v1/usage', { key })).json()) as object
  const change = (id: string, body: object, key?: string) =>
    troupe.request('PATCH', `/troupe/api/keys/${id}`, { body, ...(key !== undefined && { key }) })

  test('sees what it has used of its quotas, and so do admins', async () => {
    const { id, secret } = await makeKey({
      scopes: ['chat', 'models', 'base-models'],
      limits: { turnsPerMonth: 5, tokensPerDay: 1_000 },
    })
    expect(await statuses(2, () => chatBy(secret))).toEqual([200, 200])
    const quotas = [
      { of: 'turns', per: 'month', limit: 5, used: 2, resetsAtMs: expect.any(Number) as number },
      {
        of: 'tokens',
        per: 'day',
        limit: 1_000,
        used: expect.any(Number) as number,
        resetsAtMs: expect.any(Number) as number,
      },
    ]
    expect(await usageOf(secret)).toMatchObject({ object: 'usage', key: { id, name: 'club' }, quotas })
    const { keys } = (await (await troupe.request('GET', '/troupe/api/keys')).json()) as {
      keys: { id: string }[]
    }
    expect(keys.find((key) => key.id === id)).toMatchObject({ quotas })
  })

  test('counts no turn of which nothing came', async () => {
    const limits = { turnsPerDay: 1, tokensPerDay: 9_999 }
    const { secret } = await makeKey({ scopes: ['chat', 'models', 'base-models'], limits })
    const body = { model: 'nobody-here', messages: [{ role: 'user', content: 'Hi' }] }
    const unknown = await troupe.request('POST', '/v1/chat/completions', { key: secret, body })
    expect(unknown.status).toBe(404)
    expect(await statuses(2, () => chatBy(secret))).toEqual([200, 429])
  })

  test('meets what an admin has changed with the next request, and the audit has it', async () => {
    const { id, secret } = await makeKey({
      scopes: ['chat', 'models', 'base-models'],
      limits: { turnsPerDay: 1, tokensPerDay: 9_999 },
    })
    expect(await statuses(2, () => chatBy(secret))).toEqual([200, 429])
    const changed = await change(id, { name: 'school', limits: { turnsPerDay: 2, tokensPerDay: 9_999 } })
    expect(await changed.json()).toMatchObject({
      id,
      name: 'school',
      limits: { turnsPerDay: 2 },
      scopes: ['chat', 'models', 'base-models'],
    })
    expect(await statuses(2, () => chatBy(secret))).toEqual([200, 429])
    await change(id, { scopes: ['models'], expiresInDays: 1 })
    expect((await chatBy(secret)).status).toBe(403)
    const audit = await (await troupe.request('GET', `/troupe/api/audit?target=${id}`)).text()
    expect(audit).toContain('"changed":["scopes","expiresAtMs"]')
  })

  test('gets no scope of an owner from an admin, and nothing is changed that has ended or makes no sense', async () => {
    const admin = await makeKey({ scopes: ['admin'] })
    const { id } = await makeKey({ scopes: ['chat'] })
    expect((await change(id, { scopes: ['chat', 'forward-user'] }, admin.secret)).status).toBe(403)
    expect((await change(admin.id, { name: 'other' }, admin.secret)).status).toBe(403)
    for (const body of [{}, { scopes: [] }, { limits: { turnsPerDay: 0 } }, { secretHash: 'x' }])
      expect((await change(id, body)).status).toBe(400)
    await troupe.request('POST', `/troupe/api/keys/${id}/rotate`, { body: {} })
    expect((await change(id, { expiresInDays: null })).status).toBe(409)
    await troupe.request('DELETE', `/troupe/api/keys/${id}`)
    expect((await change(id, { name: 'late' })).status).toBe(404)
  })
})
