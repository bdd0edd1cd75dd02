/** A character's own name before its answer, over the whole app, from servers of both kinds. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, readEvents, type RequestOptions, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { createGate, FAKE_MODEL, type Script } from '../support/fake-server.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'

let ollama: FakeOllama
let vllm: FakeOpenAi
let troupe: TestApp
/** May ask base models by their own names. */
let anyModel: string

beforeAll(async () => {
  ollama = await openFakeOllama()
  vllm = await openFakeOpenAi({ manner: 'vllm', models: [{ ...FAKE_MODEL, name: 'other:1b' }] })
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, OPENAI_API_BASE_URLS: vllm.url })
  await troupe.importCard({ name: 'Pia', extensions: { troupe: { model: 'fake:1b' } } })
  await troupe.importCard({ name: 'Vera Lund', extensions: { troupe: { model: 'other:1b' } } })
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'all', scopes: ['chat', 'base-models'] },
  })
  anyModel = ((await made.json()) as { secret: string }).secret
})
afterAll(async () => {
  await troupe.close()
  await Promise.all([ollama.close(), vllm.close()])
})

const ask = (body: Record<string, unknown>, options: RequestOptions = {}, path = '/v1/chat/completions') =>
  troupe.request('POST', path, {
    key: CONNECTION_KEY,
    body: { messages: [{ role: 'user', content: 'Hello' }], ...body },
    ...options,
  })

interface Choice {
  delta?: { content?: string }
  message?: { content: string | null; tool_calls?: object[] }
  finish_reason: string | null
}

/** What was said, piece by piece. */
async function streamed(answer: Response): Promise<string[]> {
  const events = (await readEvents(answer)).filter((event) => event !== '[DONE]')
  return (events as { choices: Choice[] }[]).flatMap(({ choices }) => choices[0]?.delta?.content ?? [])
}

const whole = async (answer: Response): Promise<Choice | undefined> =>
  ((await answer.json()) as { choices: Choice[] }).choices[0]

describe.each([
  ['Ollama', 'pia', 'Pia', 'fake:1b', () => ollama],
  ['a /v1 server', 'vera-lund', 'Vera Lund', 'other:1b', () => vllm],
] as const)('the name before an answer of %s', (_server, model, name, baseModel, server) => {
  const first = name.slice(0, 1)
  const enqueue = (script: Script) => {
    server().enqueue(script)
  }

  test('does not reach a stream, wherever the pieces part', async () => {
    enqueue({ chunks: [first, name.slice(1), ':', ' ', 'Good ', `evening. ${name}: x`] })
    expect(await streamed(await ask({ model, stream: true }))).toEqual(['Good ', `evening. ${name}: x`])
    enqueue({ chunks: [`**${name}`, ':** Good ', 'evening.'] })
    expect(await streamed(await ask({ model, stream: true }))).toEqual(['Good ', 'evening.'])
  })

  test('does not reach a whole answer', async () => {
    enqueue({ chunks: [`${name}:\n`, 'Good evening.'] })
    expect(await whole(await ask({ model }))).toMatchObject({ message: { content: 'Good evening.' } })
  })

  test('is counted as what the model wrote', async () => {
    enqueue({ chunks: [`${name}: `, 'Good evening.'] })
    const answer = await ask({ model })
    const { usage } = (await answer.json()) as { usage: { completion_tokens: number } }
    expect(usage.completion_tokens).toBe(Math.ceil(`${name}: Good evening.`.length / 4))
    const where = `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`
    const record = (await (await troupe.request('GET', where)).json()) as Record<string, unknown>
    expect(record).toMatchObject({ status: 'ok', completionTokens: usage.completion_tokens })
  })

  test('holds back no piece that cannot be it', async () => {
    const gate = createGate()
    enqueue({ chunks: [first, 'urple', ' sky'], beforeChunk: gate })
    gate.open(2)
    const answer = await ask({ model, stream: true })
    const reader = answer.body?.getReader()
    const { value } = (await reader?.read()) ?? {}
    expect(new TextDecoder().decode(value)).toContain(`"content":"${first}urple"`)
    gate.open()
    await reader?.cancel()
  })

  test('comes whole where the answer ends before it does', async () => {
    enqueue({ chunks: [name] })
    expect(await streamed(await ask({ model, stream: true }))).toEqual([name])
    enqueue({ chunks: [`${name}: `] })
    expect(await streamed(await ask({ model, stream: true }))).toEqual([`${name}: `])
  })

  test('does not stand before a tool call, and other words do', async () => {
    const toolCalls = [{ name: 'look', arguments: { name: `${name}: ` } }]
    const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]
    enqueue({ chunks: [`${name}: `], toolCalls })
    expect(await whole(await ask({ model, tools }))).toMatchObject({
      message: {
        content: null,
        tool_calls: [{ function: { arguments: JSON.stringify({ name: `${name}: ` }) } }],
      },
      finish_reason: 'tool_calls',
    })
    enqueue({ chunks: [first], toolCalls })
    const answer = await ask({ model, tools, stream: true })
    const events = JSON.stringify(await readEvents(answer))
    const [words, call] = [events.indexOf(`"content":"${first}"`), events.indexOf('"tool_calls":[')]
    expect(words).toBeGreaterThan(-1)
    expect(call).toBeGreaterThan(words)
  })

  test('stays in an answer that goes on, in JSON, of a base model and in a title', async () => {
    const said = `${name}: Good evening.`
    const messages = [
      { role: 'user', content: 'Hello' },
      { role: 'assistant', content: 'They called out:' },
    ]
    const json = { response_format: { type: 'json_object' } }
    const title = { headers: { 'x-troupe-task': 'title_generation' } }
    const asked = [
      () => ask({ model, messages, stream: true }),
      () => ask({ model, ...json, stream: true }),
      () => ask({ model: baseModel, stream: true }, { key: anyModel }),
      () => ask({ model, stream: true }, title),
    ]
    for (const answer of asked) {
      enqueue({ chunks: [said] })
      expect(await streamed(await answer())).toEqual([said])
    }
  })

  test('does not reach a response or a completion', async () => {
    enqueue({ chunks: [name, ': Good ', 'evening.'] })
    const body = { model, input: 'Hello', stream: true, messages: undefined }
    const events = await (await ask(body, {}, '/v1/responses')).text()
    expect(events).toContain('"delta":"Good "')
    expect(events).toContain('"text":"Good evening."')
    expect(events).not.toContain(`${name}:`)
    enqueue({ chunks: [`${name}: Good evening.`] })
    const completion = await ask({ model, prompt: 'Hello', messages: undefined }, {}, '/v1/completions')
    expect(await completion.json()).toMatchObject({ choices: [{ text: 'Good evening.' }] })
  })
})

test('a greeting is spoken as its author wrote it', async () => {
  await troupe.importCard({ name: 'Noor', first_mes: 'Noor: Come in.' })
  const messages = [{ role: 'user', content: '(Begin the scene)' }]
  expect(await whole(await ask({ model: 'noor', messages }))).toMatchObject({
    message: { content: 'Noor: Come in.' },
  })
})
