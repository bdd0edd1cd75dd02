import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { RequestLine } from '../support/log-line.ts'
import { openOtlpSink } from '../support/otlp-sink.ts'

let ollama: FakeOllama

beforeAll(async () => {
  ollama = await openFakeOllama()
})
afterAll(() => ollama.close())

const chat = (app: TestApp, model: string, headers: Record<string, string> = {}) =>
  app.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers,
    body: { model, stream: true, messages: [{ role: 'user', content: 'Hello' }] },
  })

test('every request has exactly one line that matches the schema: answers, refusals, pages, and clients that leave', async () => {
  const app = await openTestApp({ OLLAMA_BASE_URL: ollama.origin })
  const mira = await app.importCard({ name: 'Mira' })
  await expect.poll(() => app.logged.filter(({ msg }) => msg === 'request').length).toBe(1)
  const asked = [
    () => chat(app, mira).then(readEvents),
    () => chat(app, 'nobody'),
    () => app.request('POST', '/v1/chat/completions', { key: 'wrong', body: {} }),
    () => app.request('POST', '/v1/chat/completions', { body: '{"broken' }),
    () => app.request('GET', '/v1/models', { key: CONNECTION_KEY }),
    () => app.request('GET', `/v1/models/${mira}`, { key: CONNECTION_KEY }),
    () => app.request('GET', '/troupe/api/characters?search=x'),
    () => app.request('GET', `/troupe/api/characters/${mira}`),
    () => app.request('DELETE', '/troupe/api/keys/nokey'),
    () => app.request('GET', '/troupe/'),
    () => app.request('GET', '/no/such/place'),
    () => app.request('OPTIONS', '/v1/models'),
    () => app.request('GET', '/livez', { key: null }),
    async () => {
      const leaving = new AbortController()
      const answer = await app.request('POST', '/v1/chat/completions', {
        key: CONNECTION_KEY,
        body: { model: mira, stream: true, messages: [{ role: 'user', content: 'Hello' }] },
        signal: leaving.signal,
      })
      leaving.abort()
      return answer
    },
  ]
  for (const ask of asked) await ask()
  await expect.poll(() => app.logged.filter(({ msg }) => msg === 'request').length).toBe(1 + asked.length)
  const lines = app.logged.filter(({ msg }) => msg === 'request')
  for (const line of lines) expect(RequestLine.safeParse(line).error?.issues ?? []).toEqual([])
  expect(new Set(lines.map(({ requestId }) => requestId)).size).toBe(lines.length)
  const [turn] = lines.filter(({ route, status }) => route === '/v1/chat/completions' && status === 200)
  expect(turn).toMatchObject({ character: mira, baseModel: 'fake:1b', keyId: 'connection' })
  expect([Number(turn?.['bytesIn']) > 70, Number(turn?.['bytesOut']) > 1_000]).toEqual([true, true])
  await app.close()
})

test('a turn is one trace: it goes on from the client, names its steps in the right order below each other, and reaches the model server', async () => {
  const sink = await openOtlpSink()
  const app = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OTEL_EXPORTER_OTLP_ENDPOINT: sink.endpoint,
  })
  const mira = await app.importCard({ name: 'Mira' })
  const before = ollama.chats().length
  const parent = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
  await readEvents(await chat(app, mira, { traceparent: `00-${parent.traceId}-${parent.spanId}-01` }))
  await app.close()
  const spans = sink.spans.filter(({ traceId }) => traceId === parent.traceId)
  const nameOf = (id: string | undefined) => spans.find(({ spanId }) => spanId === id)?.name ?? id
  const tree = spans.map(({ name, parentSpanId }) => `${String(nameOf(parentSpanId))} > ${name}`)
  const root = 'POST /v1/chat/completions'
  expect(tree.sort()).toEqual(
    [
      `${parent.spanId} > ${root}`,
      ...['admit', 'gather', 'compose', 'queue', 'model call', 'record'].map((step) => `${root} > ${step}`),
      'model call > first token',
      'model call > answer',
    ].sort(),
  )
  const calling = spans.find(({ name }) => name === 'model call')
  expect(ollama.chats().slice(before).at(-1)?.headers['traceparent']).toBe(
    `00-${parent.traceId}-${String(calling?.spanId)}-01`,
  )
  expect(sink.raw.join('')).not.toMatch(/Hello|lighthouse|127\.0\.0\.1:\d+\/v1/)
  await sink.close()
})

test('without a collector nothing is sent on to the model server, and one that is down or silent changes no answer', async () => {
  const silent = createServer(() => undefined)
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  const endpoints = [
    '',
    'http://127.0.0.1:9',
    `http://127.0.0.1:${String((silent.address() as AddressInfo).port)}`,
  ]
  const texts = new Set<string>()
  for (const endpoint of endpoints) {
    const app = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })
    const mira = await app.importCard({ name: 'Mira' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => chat(app, mira).then(readEvents)))
    for (const events of answers) {
      expect(events.at(-1)).toBe('[DONE]')
      texts.add(JSON.stringify(events.map((event) => (event as { choices?: unknown }).choices)))
    }
    const sent = ollama.chats().at(-1)?.headers['traceparent']
    expect(sent === undefined).toBe(endpoint === '')
    const closingAtMs = performance.now()
    await app.close()
    expect(performance.now() - closingAtMs).toBeLessThan(8_000)
  }
  expect(texts.size).toBe(1)
  silent.close()
}, 60_000)

test('a thousand invented addresses and models make no more series than a few', async () => {
  const app = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, TROUPE_LOG_LEVEL: 'silent' })
  const series = async () =>
    (await (await app.request('GET', '/metrics', { key: null })).text())
      .split('\n')
      .filter((line) => line.startsWith('troupe_')).length
  const mira = await app.importCard({ name: 'Mira' })
  await readEvents(await chat(app, mira))
  const embed = async (model: string) => {
    const body = { model, input: 'A lamp.' }
    const { status } = await app.request('POST', '/v1/embeddings', { key: CONNECTION_KEY, body })
    expect(status).toBe(404)
  }
  await chat(app, 'invented-0')
  await embed('invented-0')
  await app.request('GET', '/no/such/place')
  // The first look makes a series of its own.
  await series()
  const before = await series()
  for (let at = 0; at < 1_000; at += 20)
    await Promise.all(
      Array.from({ length: 20 }, (_, place) =>
        app.request('GET', `/no/such/${String(at + place)}`, { key: null }),
      ),
    )
  for (let at = 0; at < 50; at++) {
    await chat(app, `invented-${String(at)}`)
    await embed(`invented-${String(at)}`)
  }
  expect(await series()).toBe(before)
  expect(before).toBeLessThan(5_000)
  await app.close()
})

test('what is kept in memory tells how often it was there', async () => {
  const app = await openTestApp({ OLLAMA_BASE_URL: ollama.origin })
  const counted = async (result: 'hit' | 'miss') => {
    const text = await (await app.request('GET', '/metrics', { key: null })).text()
    const line = `troupe_cache_requests_total{cache="character",result="${result}"} `
    const found = text.split('\n').find((one) => one.startsWith(line))
    return Number(found?.slice(line.length) ?? 0)
  }
  const mira = await app.importCard({ name: 'Mira' })
  const [hits, misses] = [await counted('hit'), await counted('miss')]
  for (let turn = 0; turn < 4; turn++) await readEvents(await chat(app, mira))
  expect([(await counted('hit')) - hits, (await counted('miss')) - misses]).toEqual([3, 1])
  await app.close()
})

test('figures are for this machine, or for a key with the scope "metrics": a proxy on this machine speaks for others', async () => {
  const app = await openTestApp()
  const status = async (key: string | null, headers = {}) =>
    (await app.request('GET', '/metrics', { key, headers })).status
  const proxied = { 'x-forwarded-for': '203.0.113.7' }
  const made = await app.request('POST', '/troupe/api/keys', { body: { name: 'p', scopes: ['metrics'] } })
  const { secret } = (await made.json()) as { secret: string }
  expect([await status(null), await status(null, proxied), await status(secret, proxied)]).toEqual([
    200, 401, 200,
  ])
  await app.close()
})
