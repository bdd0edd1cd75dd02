/** Pages in a browser that ask with a key of their own: off, unless the key names where they come from. */
import { afterAll, beforeAll, expect, test } from 'vitest'

import { openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'

const PAGE = 'https://club.example'
const FOREIGN = 'https://elsewhere.example'

let ollama: FakeOllama
let troupe: TestApp
let character: string
let named: { id: string; secret: string }
let plain: { id: string; secret: string }

const makeKey = async (more: object = {}): Promise<{ id: string; secret: string }> => {
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'page', scopes: ['chat', 'models'], ...more },
  })
  return (await made.json()) as { id: string; secret: string }
}

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin })
  character = await troupe.importCard({ name: 'Mira' })
  named = await makeKey({ origins: [PAGE], keepAlive: 'chunk' })
  plain = await makeKey()
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

/** As a browser asks before it sends the key. */
const preflight = async (origin: string, path = '/v1/chat/completions') => {
  const answer = await troupe.request('OPTIONS', path, {
    key: null,
    headers: {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization, content-type, x-stainless-lang',
    },
  })
  return answer.headers
}

const allowed = ({ headers }: Response) => headers.get('access-control-allow-origin')

const ask = (key: string, origin: string, body: object = {}) =>
  troupe.request('POST', '/v1/chat/completions', {
    key,
    headers: { origin },
    body: { model: character, messages: [{ role: 'user', content: 'Hi' }], ...body },
  })

test('a browser is let ask from the origins that some key names, and from no other', async () => {
  const headers = await preflight(PAGE)
  expect(headers.get('access-control-allow-origin')).toBe(PAGE)
  expect(headers.get('access-control-allow-headers')).toContain('authorization')
  expect(headers.get('access-control-allow-credentials')).toBeNull()
  for (const other of [FOREIGN, `${PAGE}:8443`, 'http://club.example', 'null'])
    expect((await preflight(other)).get('access-control-allow-origin')).toBeNull()
  // The pages of ours and their API are for nobody else.
  expect((await preflight(PAGE, '/troupe/api/keys')).get('access-control-allow-origin')).toBeNull()
})

test('an answer may be read by a page that its own key names: whole, streamed, refused, and the list', async () => {
  const whole = await ask(named.secret, PAGE)
  expect([whole.status, allowed(whole)]).toEqual([200, PAGE])
  expect(whole.headers.get('access-control-expose-headers')).toContain('x-request-id')
  const streamed = await ask(named.secret, PAGE, { stream: true })
  expect(allowed(streamed)).toBe(PAGE)
  expect((await readEvents(streamed)).at(-1)).toBe('[DONE]')
  const refused = await ask(named.secret, PAGE, { messages: [] })
  expect([refused.status, allowed(refused)]).toEqual([400, PAGE])
  const list = await troupe.request('GET', '/v1/models', { key: named.secret, headers: { origin: PAGE } })
  expect([list.status, allowed(list)]).toEqual([200, PAGE])
  expect(allowed(await ask(named.secret, FOREIGN))).toBeNull()
  expect(allowed(await ask(plain.secret, PAGE))).toBeNull()
})

test('what is no origin is refused when the key is made', async () => {
  for (const origin of ['*', 'club.example', `${PAGE}/`, `${PAGE}/path`]) {
    const answer = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: 'page', scopes: ['chat'], origins: [origin] },
    })
    expect(answer.status).toBe(400)
  }
})

test('a key that takes the place of another keeps both, and a revoked one lets nobody in', async () => {
  const turned = await troupe.request('POST', `/troupe/api/keys/${named.id}/rotate`, {
    body: { graceSeconds: 0 },
  })
  expect(turned.status).toBe(201)
  const twin = (await turned.json()) as typeof named
  expect(twin).toMatchObject({ origins: [PAGE], keepAlive: 'chunk' })
  expect(allowed(await ask(twin.secret, PAGE))).toBe(PAGE)
  await troupe.request('DELETE', `/troupe/api/keys/${twin.id}`)
  expect((await preflight(PAGE)).get('access-control-allow-origin')).toBeNull()
})
