/** Ollama loads a model anew when another window is asked for: whatever is asked of a model, and in whatever order, it is loaded once. */
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { FAKE_MODEL } from '../support/fake-server.ts'

/** Larger than the window of the app, smaller, and one that embeds and chats. */
const MODELS = [
  { ...FAKE_MODEL, name: 'large:1b', contextTokens: 131_072 },
  { ...FAKE_MODEL, name: 'small:1b', contextTokens: 2_048 },
  { ...FAKE_MODEL, name: 'both:1b', contextTokens: 8_192, capabilities: ['completion', 'embedding'] },
]

let ollama: FakeOllama
let troupe: TestApp
let key: string

beforeAll(async () => {
  ollama = await openFakeOllama({ models: MODELS })
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    TASK_MODEL: 'small:1b',
    TROUPE_CONTEXT_TOKENS: '4096',
    TROUPE_CALLS_PER_SECOND: '0',
    TROUPE_WARM_CHARACTERS: '4',
  })
  for (const { name } of MODELS)
    await troupe.importCard({ name: `Of ${name}`, extensions: { troupe: { model: name } } })
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'all', scopes: ['chat', 'embeddings', 'base-models', 'models'] },
  })
  key = ((await made.json()) as { secret: string }).secret
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

const messages = [{ role: 'user', content: 'Hi' }]
const CHARACTERS = ['of-large-1b', 'of-small-1b', 'of-both-1b']
const path = (name: string) => `/v1/${name}`

interface Traffic {
  path: string
  key?: string
  headers?: Record<string, string>
  body: Record<string, unknown>
}

const model = fc.constantFrom(...MODELS.map(({ name }) => name))
const asked = fc.constantFrom(...CHARACTERS, ...MODELS.map(({ name }) => name))
/** What clients send along, and some believe to be heard. */
const options = fc.record(
  {
    max_tokens: fc.integer({ min: 1, max: 900 }),
    stream: fc.boolean(),
    num_ctx: fc.integer({ min: 512, max: 65_536 }),
    options: fc.record({ num_ctx: fc.integer({ min: 512, max: 65_536 }) }),
    temperature: fc.double({ min: 0, max: 2, noNaN: true }),
    stop: fc.constant(['###']),
    seed: fc.integer({ min: 0, max: 9 }),
    n: fc.integer({ min: 1, max: 2 }),
  },
  { requiredKeys: [] },
)
const chat = fc.tuple(asked, options).map(([name, more]): Traffic => ({
  path: path('chat/completions'),
  body: { model: name, messages, ...more },
}))
const task = fc.constantFrom('title_generation', 'tags_generation', 'follow_up_generation').chain((name) =>
  fc.constantFrom(...CHARACTERS, 'troupe-task').map((id): Traffic => ({
    path: path('chat/completions'),
    key: CONNECTION_KEY,
    headers: { 'x-troupe-task': name },
    body: { model: id, messages },
  })),
)
const completion = asked.map((name): Traffic => ({
  path: path('completions'),
  body: { model: name, prompt: 'Once' },
}))
const response = asked.map((name): Traffic => ({
  path: path('responses'),
  body: { model: name, input: 'Hi' },
}))
const embedding = model.map((name): Traffic => ({
  path: path('embeddings'),
  body: { model: name, input: ['one', 'two'] },
}))
const publish = fc
  .tuple(fc.constantFrom(...CHARACTERS), fc.string({ minLength: 1, maxLength: 30 }))
  .map(([id, scenario]): Traffic => ({
    path: `/troupe/api/characters/${id}`,
    body: { card: { scenario }, publish: true },
  }))

async function send({ path: where, body, headers, key: own }: Traffic): Promise<void> {
  const isAdmin = where.startsWith('/troupe/')
  const answer = await troupe.request(isAdmin ? 'PATCH' : 'POST', where, {
    body,
    ...(headers && { headers }),
    ...(isAdmin ? {} : { key: own ?? key }),
  })
  expect([answer.status, where]).toEqual([200, where])
  await readEvents(answer)
}

test('in mixed traffic of every kind each model is loaded once, with one window', async () => {
  const kinds = fc.oneof(chat, task, completion, response, embedding, publish)
  await fc.assert(
    fc.asyncProperty(fc.array(kinds, { minLength: 1, maxLength: 12 }), async (traffic) => {
      await Promise.all(traffic.slice(0, 3).map(send))
      for (const each of traffic.slice(3)) await send(each)
    }),
    { numRuns: 25 },
  )
  const windows = new Map<string, Set<unknown>>()
  const kindsSeen = new Set<string>()
  for (const { path: where, body } of ollama.requests) {
    if (!['/api/chat', '/api/generate', '/api/embed'].includes(where)) continue
    kindsSeen.add(where)
    const name = String(body['model'])
    const window = (body['options'] as { num_ctx?: number } | undefined)?.num_ctx
    windows.set(name, (windows.get(name) ?? new Set()).add(window))
  }
  expect([...kindsSeen].sort()).toEqual(['/api/chat', '/api/embed', '/api/generate'])
  expect(Object.fromEntries([...windows].map(([name, seen]) => [name, [...seen]]))).toEqual({
    'large:1b': [4_096],
    'small:1b': [2_048],
    'both:1b': [4_096],
  })
  expect(ollama.loads()).toBe(MODELS.length)
  // The personas that were published were read ahead, with the same window.
  const isReadAhead = () =>
    ollama.chats().some(({ body }) => (body['options'] as { num_predict: number }).num_predict === 1)
  await expect.poll(isReadAhead, { timeout: 10_000 }).toBe(true)
  expect(ollama.loads()).toBe(MODELS.length)
}, 60_000)
