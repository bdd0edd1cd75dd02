/** What a model that is silent for long looks like to clients, in the mode of their key. */
import { afterAll, afterEach, beforeAll, expect, test, vi } from 'vitest'

import { openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { createGate, FAKE_MODEL } from '../support/fake-server.ts'

const BEAT_MS = 10_000

let model: FakeOpenAi
let troupe: TestApp
beforeAll(async () => {
  model = await openFakeOpenAi()
  troupe = await openTestApp({ OPENAI_API_BASE_URLS: model.url })
})
afterAll(async () => {
  await troupe.close()
  await model.close()
})
afterEach(() => vi.useRealTimers())

const ROUTES = {
  'chat/completions': { messages: [{ role: 'user', content: 'Hi' }] },
  completions: { prompt: 'Hi' },
  responses: { input: 'Hi' },
} as const
type Route = keyof typeof ROUTES

async function makeKey(keepAlive: string | undefined): Promise<string> {
  const body = { name: 'test', scopes: ['chat', 'base-models'], ...(keepAlive && { keepAlive }) }
  const made = await troupe.request('POST', '/troupe/api/keys', { body })
  return ((await made.json()) as { secret: string }).secret
}

/** All that is sent before the first word, without what begins an answer, of a model that is silent for twice the time that a client is left without a sign. */
async function signsOfLife(route: Route, keepAlive: string | undefined): Promise<string> {
  const key = await makeKey(keepAlive)
  const silence = createGate()
  model.enqueue({ chunks: ['Hello.'], beforeHeaders: silence })
  const before = model.chats().length
  // Nothing but the clock of the signs: the test itself waits in real time.
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const body = { model: FAKE_MODEL.name, stream: true, ...ROUTES[route] }
  const asked = troupe.request('POST', `/v1/${route}`, { key, body })
  await vi.waitFor(() => expect(model.chats()).toHaveLength(before + 1), { timeout: 10_000, interval: 5 })
  vi.advanceTimersByTime(BEAT_MS)
  // The first sign begins the answer: the client knows that it was heard.
  const answer = await asked
  expect(answer.status).toBe(200)
  vi.advanceTimersByTime(BEAT_MS)
  silence.open()
  const text = await answer.text()
  const sent = text.slice(0, text.lastIndexOf('data: ', text.indexOf('Hello.')))
  return sent.replaceAll(/event: response\.[^]*?\n(?:\n|$)/g, '')
}

const COMMENTS = /^(: keep-alive\n){2}$/
const EMPTY_DELTAS =
  /^(data: \{[^\n]*"choices":\[\{"index":0,"delta":\{\},"finish_reason":null\}\]\}\n\n){2}$/
const EMPTY_TEXTS =
  /^(data: \{[^\n]*"choices":\[\{"text":"","index":0,"logprobs":null,"finish_reason":null\}\]\}\n\n){2}$/

test.each<[Route, string | undefined, RegExp]>([
  ['chat/completions', undefined, COMMENTS],
  ['chat/completions', 'comment', COMMENTS],
  ['chat/completions', 'chunk', EMPTY_DELTAS],
  ['chat/completions', 'off', /^$/],
  ['completions', undefined, COMMENTS],
  ['completions', 'chunk', EMPTY_TEXTS],
  ['completions', 'off', /^$/],
  ['responses', undefined, COMMENTS],
  // This dialect has no piece that says nothing.
  ['responses', 'chunk', COMMENTS],
  ['responses', 'off', /^$/],
])('%s over a silence, with a key in the mode %s', async (route, keepAlive, signs) => {
  expect(await signsOfLife(route, keepAlive)).toMatch(signs)
})
