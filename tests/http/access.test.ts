import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { signInAt, userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../support/fake-open-webui.ts'
import { createGate } from '../support/fake-server.ts'

let ollama: FakeOllama
let openWebUi: FakeOpenWebUi
let troupe: TestApp
let mira: string

beforeAll(async () => {
  ollama = await openFakeOllama()
  openWebUi = await openFakeOpenWebUi()
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_URL: openWebUi.url,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
    TROUPE_TURN_LIMIT: '3/60',
    TROUPE_PARALLEL_TURNS: '2',
  })
  mira = await troupe.importCard({ name: 'Mira', tags: ['sea'] })
  await troupe.importCard({ name: 'Bo', tags: ['land'] })
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
  await openWebUi.close()
})

const body = (model = mira) => ({ model, messages: [{ role: 'user', content: 'Hello' }] })
const chat = async (user: string, headers = {}) =>
  troupe.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers: { 'x-openwebui-user-jwt': await userToken(user), ...headers },
    body: body(),
  })
const chatBy = (key: string, model = mira) =>
  troupe.request('POST', '/v1/chat/completions', { key, body: body(model) })
const makeKey = async (over: object) => {
  const answer = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'club', scopes: ['chat', 'models'], ...over },
  })
  return (await answer.json()) as { id: string; secret: string; expiresAtMs: number | null }
}
const errorOf = async (answer: Response) =>
  ((await answer.json()) as { error: Record<string, unknown> }).error

describe('a person who asks too much', () => {
  test('is told what is left, and then how long to wait; no model is asked and no record written', async () => {
    const first = await chat('anna')
    expect(Object.fromEntries(first.headers)).toMatchObject({
      'ratelimit-policy': '"chat";q=3;w=60',
      'x-ratelimit-limit-requests': '3',
      'x-ratelimit-remaining-requests': '2',
    })
    await chat('anna')
    await chat('anna')
    const asked = ollama.chats().length
    const refused = await chat('anna')
    expect(refused.status).toBe(429)
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'retry-after': expect.stringMatching(/^\d+$/) as string,
      ratelimit: expect.stringMatching(/^"chat";r=0;t=\d+$/) as string,
      'x-ratelimit-remaining-requests': '0',
    })
    expect(await errorOf(refused)).toMatchObject({ code: 'rate_limit_exceeded', type: 'rate_limit_error' })
    expect(ollama.chats()).toHaveLength(asked)
    const record = `/troupe/api/requests/${refused.headers.get('x-request-id') ?? ''}`
    expect((await troupe.request('GET', record)).status).toBe(404)
  })

  test('still gets titles, and keeps nobody else from asking', async () => {
    expect((await chat('anna', { 'x-troupe-task': 'title_generation' })).status).toBe(200)
    expect((await chat('bert')).status).toBe(200)
  })

  test('at the same time is asked to wait for an answer to end', async () => {
    const gate = createGate()
    for (let at = 0; at < 2; at++) ollama.enqueue({ beforeHeaders: gate })
    const asked = ollama.chats().length
    const [one, two] = [chat('carl'), chat('carl')]
    await expect.poll(() => ollama.chats().length).toBe(asked + 2)
    expect((await chat('carl')).status).toBe(429)
    gate.open()
    expect([(await one).status, (await two).status]).toEqual([200, 200])
  })
})

describe('a key', () => {
  test('for some characters sees and asks no others', async () => {
    const { secret } = await makeKey({ tags: ['sea'] })
    const list = (await (await troupe.request('GET', '/v1/models', { key: secret })).json()) as {
      data: { id: string }[]
    }
    expect(list.data.map(({ id }) => id)).toEqual(['mira', 'troupe-task'])
    expect((await chatBy(secret)).status).toBe(200)
    expect(await errorOf(await chatBy(secret, 'bo'))).toMatchObject({ code: 'model_not_found' })
  })

  test('names only characters that there are, and keeps one that was deleted since', async () => {
    const make = (characterIds: string[]) =>
      troupe.request('POST', '/troupe/api/keys', { body: { name: 'club', scopes: ['chat'], characterIds } })
    const change = (id: string, characterIds: string[]) =>
      troupe.request('PATCH', `/troupe/api/keys/${id}`, { body: { characterIds } })
    const refused = await make(['mira', 'mirra'])
    expect(refused.status).toBe(400)
    expect(await errorOf(refused)).toMatchObject({
      param: 'characterIds',
      message: 'There is no character "mirra"; GET /troupe/api/characters lists the ids',
    })
    const gone = await troupe.importCard({ name: 'Gone' })
    const { id } = await makeKey({ characterIds: ['mira', gone] })
    await troupe.request('DELETE', `/troupe/api/characters/${gone}`)
    expect((await change(id, ['bo', gone])).status).toBe(200)
    expect((await change(id, ['bo', 'mirra'])).status).toBe(400)
    expect((await make([gone])).status).toBe(400)
  })

  test('has limits of its own, and a quota that is used up says when it begins anew', async () => {
    const { secret } = await makeKey({ limits: { turnsPerMinute: 100, turnsPerDay: 4 } })
    for (let at = 0; at < 4; at++) expect((await chatBy(secret)).status).toBe(200)
    const refused = await chatBy(secret)
    expect(await errorOf(refused)).toMatchObject({
      code: 'insufficient_quota',
      type: 'insufficient_quota',
      message: expect.stringContaining('The 4 messages of today are used up') as string,
    })
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  })

  test('ends after 90 days unless told otherwise, and is replaced with an overlap', async () => {
    const made = await makeKey({})
    expect(Math.round(((made.expiresAtMs ?? 0) - Date.now()) / 86_400_000)).toBe(90)
    const answer = await troupe.request('POST', `/troupe/api/keys/${made.id}/rotate`, {
      body: { graceSeconds: 60 },
    })
    const twin = (await answer.json()) as { secret: string }
    expect([(await chatBy(made.secret)).status, (await chatBy(twin.secret)).status]).toEqual([200, 200])
  })

  test('that lets others in is made by an owner only', async () => {
    const { secret } = await makeKey({ scopes: ['admin'] })
    const by = (scopes: string[]) =>
      troupe.request('POST', '/troupe/api/keys', { key: secret, body: { name: 'x', scopes } })
    expect((await by(['chat'])).status).toBe(201)
    expect((await by(['admin'])).status).toBe(403)
    expect((await by(['forward-user'])).status).toBe(403)
  })
})

describe('somebody at the pages', () => {
  const session = (headers: Record<string, string>) =>
    troupe.request('GET', '/troupe/api/session', { key: null, headers })

  test('begins a session by the login of Open WebUI, and is out when one of the two ends', async () => {
    const headers = await signInAt(troupe, openWebUi.adminToken)
    expect(await (await session(headers)).json()).toMatchObject({ user: { role: 'admin' } })
    const [login = '', own = ''] = (headers['cookie'] ?? '').split('; ')
    expect((await session({ cookie: login })).status).toBe(401)
    expect((await session({ cookie: own })).status).toBe(401)
    // A session is one person's: with the login of another it opens nothing.
    const other = openWebUi.addPerson('Eve', 'admin')
    expect((await session({ cookie: `token=${other.token}; ${own}` })).status).toBe(401)
    await troupe.request('DELETE', '/troupe/api/session', { key: null, headers })
    expect((await session(headers)).status).toBe(401)
  })

  test('without a role gets none', async () => {
    await expect(signInAt(troupe, openWebUi.userToken)).rejects.toThrow('403')
  })

  test('cannot be made to change something by another site', async () => {
    const headers = await signInAt(troupe, openWebUi.adminToken)
    const create = (over: Record<string, string>) =>
      troupe.request('POST', '/troupe/api/keys', {
        key: null,
        headers: { ...headers, ...over },
        body: { name: 'x', scopes: ['chat'] },
      })
    expect((await create({ origin: 'https://evil.example' })).status).toBe(403)
    const { 'x-troupe-request': _mark, ...unmarked } = headers
    expect(
      (await troupe.request('POST', '/troupe/api/keys', { key: null, headers: unmarked, body: {} })).status,
    ).toBe(403)
    expect((await create({})).status).toBe(201)
  })
})
