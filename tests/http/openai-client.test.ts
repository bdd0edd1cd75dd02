/** The official client, as programmers use it: what it accepts is what "OpenAI-compatible" means to them. */
import OpenAI from 'openai'
import { afterAll, beforeAll, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'

let ollama: FakeOllama
let troupe: TestApp
let client: OpenAI

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin })
  await troupe.importCard({ name: 'Mira Holt' })
  client = new OpenAI({ baseURL: `${troupe.url}/v1`, apiKey: CONNECTION_KEY, maxRetries: 0 })
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

const messages = [{ role: 'user' as const, content: 'Hello' }]

test('lists the characters and finds one', async () => {
  const ids: string[] = []
  for await (const model of client.models.list()) ids.push(model.id)
  expect(ids).toEqual(['mira-holt', 'troupe-task'])
  expect((await client.models.retrieve('mira-holt')).owned_by).toBe('troupe')
})

test('reads a whole answer', async () => {
  ollama.enqueue({ chunks: ['Good ', 'night.'] })
  const answer = await client.chat.completions.create({ model: 'mira-holt', messages })
  expect(answer.choices[0]?.message.content).toBe('Good night.')
  expect(answer.usage?.total_tokens).toBeGreaterThan(0)
})

test('reads a stream with its usage', async () => {
  ollama.enqueue({ chunks: ['Good ', 'night.'] })
  const stream = await client.chat.completions.create({
    model: 'mira-holt',
    messages,
    stream: true,
    stream_options: { include_usage: true },
  })
  let text = ''
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? ''
    usage = chunk.usage ?? usage
  }
  expect(text).toBe('Good night.')
  expect(usage?.total_tokens).toBeGreaterThan(0)
})

test('calls a tool', async () => {
  ollama.enqueue({ chunks: [], toolCalls: [{ name: 'look', arguments: { where: 'sea' } }] })
  const tools = [
    { type: 'function' as const, function: { name: 'look', parameters: { type: 'object', properties: {} } } },
  ]
  const answer = await client.chat.completions.create({ model: 'mira-holt', messages, tools })
  expect(answer.choices[0]).toMatchObject({
    finish_reason: 'tool_calls',
    message: { tool_calls: [{ type: 'function', function: { name: 'look', arguments: '{"where":"sea"}' } }] },
  })
})

test.each([
  ['an unknown character', { model: 'nobody' }, OpenAI.NotFoundError, 'model_not_found'],
  [
    'a message that cannot fit',
    { messages: [{ role: 'user' as const, content: 'word '.repeat(9_000) }] },
    OpenAI.BadRequestError,
    'context_length_exceeded',
  ],
] as const)('throws its own error for %s', async (_name, over, kind, code) => {
  const failing = client.chat.completions.create({
    model: 'mira-holt',
    messages,
    ...over,
  } as OpenAI.ChatCompletionCreateParamsNonStreaming)
  await expect(failing).rejects.toBeInstanceOf(kind)
  await expect(failing).rejects.toMatchObject({ code })
})
