/** Several model servers, a busy one, and one that is gone, as clients see them. */
import { SignJWT } from 'jose'
import { expect, test } from 'vitest'

import { median } from '../bench/gateway/statistics.ts'
import { CONNECTION_KEY, JWT_SECRET, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { createGate, FAKE_MODEL } from '../support/fake-server.ts'
import { kept } from '../support/kept.ts'
import { openWireServer, whole } from '../support/wire-server.ts'

const fake = async (...names: string[]): Promise<FakeOllama> =>
  kept(await openFakeOllama({ models: names.map((name) => ({ ...FAKE_MODEL, name })) }))
const open = async (servers: readonly FakeOllama[], env: Record<string, string> = {}): Promise<TestApp> =>
  kept(await openTestApp({ OLLAMA_BASE_URL: servers.map(({ origin }) => origin).join(';'), ...env }))

const ask = (troupe: TestApp, body: Record<string, unknown> = {}, headers: Record<string, string> = {}) =>
  troupe.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers,
    body: { model: 'mira', messages: [{ role: 'user', content: 'Hi' }], ...body },
  })

test('a chat goes on when one of two servers dies, and the record says who answered', async () => {
  const servers = [await fake('base:1b'), await fake('base:1b')]
  const troupe = await open(servers)
  await troupe.importCard({ name: 'Mira' })
  expect((await ask(troupe)).status).toBe(200)
  const home = servers.find((server) => server.chats().length > 0)
  await home?.close()
  const answer = await ask(troupe)
  expect(answer.status).toBe(200)
  const record = await troupe.request(
    'GET',
    `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
  )
  const other = servers.find((server) => server !== home)
  expect(await record.json()).toMatchObject({ status: 'ok', upstream: other?.origin })
})

test.each(['does not answer', 'fails'])('vectors come from another server when one %s', async (how) => {
  const asked: string[] = []
  const first = kept(
    await openWireServer(['embed'], (body, socket) => {
      asked.push(body)
      socket.end(whole('500 Internal Server Error', '{"error":"out of memory"}'))
    }),
  )
  const second = kept(await openFakeOpenAi({ models: [{ ...FAKE_MODEL, name: 'embed' }] }))
  const troupe = kept(await openTestApp({ OPENAI_API_BASE_URLS: `${first.url};${second.url}` }))
  const embed = (input: unknown) =>
    troupe.request('POST', '/v1/embeddings', { key: CONNECTION_KEY, body: { model: 'embed', input } })
  await embed('one')
  expect(asked).toHaveLength(1)
  if (how === 'does not answer') await first.close()
  const answer = await embed(['two', 'three'])
  expect(answer.status).toBe(200)
  expect(await answer.json()).toMatchObject({ data: [{ index: 0 }, { index: 1 }] })
  expect(asked).toHaveLength(how === 'fails' ? 2 : 1)
  const record = await troupe.request(
    'GET',
    `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
  )
  expect(await record.json()).toMatchObject({ kind: 'embedding', status: 'ok', upstream: second.origin })
})

test('a text that is too long for the model is asked of no other server', async () => {
  const servers = [
    kept(await openFakeOpenAi({ models: [{ ...FAKE_MODEL, name: 'embed' }] })),
    kept(await openFakeOpenAi({ models: [{ ...FAKE_MODEL, name: 'embed' }] })),
  ]
  const troupe = kept(await openTestApp({ OPENAI_API_BASE_URLS: servers.map(({ url }) => url).join(';') }))
  const body = { model: 'embed', input: 'word '.repeat(10_000) }
  const answer = await troupe.request('POST', '/v1/embeddings', { key: CONNECTION_KEY, body })
  expect(await answer.json()).toMatchObject({ error: { code: 'context_length_exceeded' } })
  expect(
    servers.flatMap(({ requests }) => requests.filter(({ path }) => path.endsWith('embeddings'))),
  ).toHaveLength(1)
})

test('a character falls back on another model, only if its author wants that', async () => {
  const [first, second] = [await fake('base:1b'), await fake('other:1b')]
  const troupe = await open([first, second])
  const extensions = (troupe: object) => ({ extensions: { troupe } })
  await troupe.importCard({
    name: 'Mira',
    ...extensions({ model: 'base:1b', fallbacks: ['none:1b', 'other:1b'] }),
  })
  await troupe.importCard({ name: 'Vera', ...extensions({ model: 'base:1b' }) })
  expect((await ask(troupe)).status).toBe(200)
  await first.close()
  const answer = await ask(troupe)
  expect(answer.status).toBe(200)
  expect(second.chats()).toHaveLength(1)
  const record = await troupe.request(
    'GET',
    `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
  )
  expect(await record.json()).toMatchObject({ baseModel: 'other:1b' })
  expect((await ask(troupe, { model: 'vera' })).status).toBe(503)
})

test('who waits for a busy model sees the place in Open WebUI, and nothing but an answer elsewhere', async () => {
  const server = await fake('base:1b')
  const env = {
    TROUPE_PARALLEL_CALLS: '1',
    OPENWEBUI_URL: 'http://127.0.0.1:9',
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  }
  const troupe = await open([server], env)
  await troupe.importCard({ name: 'Mira' })
  const token = await new SignJWT({ role: 'user' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('ann')
    .setIssuer('open-webui')
    .setIssuedAt()
    .setExpirationTime('5 minutes')
    .sign(new TextEncoder().encode(JWT_SECRET))
  const signed = { 'x-openwebui-user-jwt': token }
  const gate = createGate()
  server.enqueue({ chunks: ['One'], beforeChunk: gate })
  const first = ask(troupe, { stream: true }, signed)
  await expect.poll(() => server.chats().length).toBe(1)
  const seen = await ask(troupe, { stream: true }, { ...signed, 'x-troupe-message-id': 'm-1' })
  const byApi = ask(troupe, { stream: true }, signed)
  await expect
    .poll(async () => (await troupe.request('GET', '/metrics')).text())
    .toMatch(/^troupe_calls_waiting\{.*\} 2$/m)
  gate.open()
  await readEvents(await first)
  const status = (description: string, done: boolean) => ({
    choices: [],
    event: { type: 'status', data: { description, done } },
  })
  const events = await readEvents(seen)
  expect(events[0]).toMatchObject(status('The model is busy: you are next', false))
  expect(events[1]).toMatchObject(status('It is your turn', true))
  expect(events.at(-1)).toBe('[DONE]')
  expect(JSON.stringify(await readEvents(await byApi))).not.toContain('"event"')
  expect(server.chats()).toHaveLength(3)
})

test('a server that refuses is left alone at once, and everybody is told when to come again', async () => {
  const server = await fake('base:1b')
  const troupe = await open([server])
  await troupe.importCard({ name: 'Mira' })
  const asked = async () => {
    const startedAtMs = performance.now()
    const answer = await ask(troupe)
    return { answer, ms: performance.now() - startedAtMs }
  }
  const askedOften = async (status: number) => {
    const all = [await asked()]
    while (all.length < 21) all.push(await asked())
    expect(new Set(all.map(({ answer }) => answer.status))).toEqual(new Set([status]))
    return median(all.map(({ ms }) => ms))
  }
  const answeredMs = await askedOften(200)
  await server.close()
  // The first twenty still ask the server.
  for (let call = 0; call < 20; call++) await asked()
  // Both write a record, which on a busy disk is most of the time.
  expect(await askedOften(503)).toBeLessThan(Math.max(50, 2 * answeredMs))
  const { answer } = await asked()
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(await answer.json()).toMatchObject({ error: { code: 'unavailable', type: 'overloaded_error' } })
})
