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
