/** The Responses API by the official client, over the whole app. */
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { FAKE_MODEL, createGate } from '../support/fake-server.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'

type Asking = OpenAI.Responses.ResponseCreateParamsNonStreaming
type Input = OpenAI.Responses.ResponseInput

let ollama: FakeOllama
let vllm: FakeOpenAi
let troupe: TestApp
let client: OpenAI

beforeAll(async () => {
  ollama = await openFakeOllama()
  vllm = await openFakeOpenAi({ manner: 'vllm', models: [{ ...FAKE_MODEL, name: 'other:1b' }] })
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, OPENAI_API_BASE_URLS: vllm.url })
  await troupe.importCard({ name: 'Mira Holt', extensions: { troupe: { model: 'fake:1b' } } })
  await troupe.importCard({ name: 'Vera Lund', extensions: { troupe: { model: 'other:1b' } } })
  client = new OpenAI({ baseURL: `${troupe.url}/v1`, apiKey: CONNECTION_KEY, maxRetries: 0 })
})
afterAll(async () => {
  await troupe.close()
  await Promise.all([ollama.close(), vllm.close()])
})

const ask = (over: Partial<Asking> = {}) =>
  client.responses.create({ model: 'mira-holt', input: 'Hello', ...over })

interface Sent {
  messages: Record<string, unknown>[]
  [field: string]: unknown
}
const sentTo = (server: FakeOllama | FakeOpenAi) => server.chats().at(-1)?.body as unknown as Sent

const LOOK = {
  type: 'function' as const,
  name: 'look',
  description: 'Looks somewhere',
  parameters: { type: 'object', properties: { where: { type: 'string' } } },
  strict: true,
}

describe('a response', () => {
  test('is read whole, with usage and the settings of the request', async () => {
    ollama.enqueue({ chunks: ['Good ', 'night.'] })
    const answer = await ask({
      metadata: { trace: '7' },
      temperature: 0.3,
      max_output_tokens: 50,
      store: true,
    })
    expect(answer.output_text).toBe('Good night.')
    expect(answer).toMatchObject({
      id: expect.stringMatching(/^resp_[0-9A-Z]{26}$/) as string,
      object: 'response',
      status: 'completed',
      model: 'mira-holt',
      metadata: { trace: '7' },
      temperature: 0.3,
      tools: [],
      tool_choice: 'auto',
      store: false,
      error: null,
    })
    expect(answer.usage?.total_tokens).toBeGreaterThan(0)
    expect(sentTo(ollama)['options']).toMatchObject({ temperature: 0.3, num_predict: 50 })
  })

  test('that is cut by its length says so', async () => {
    const answer = await ask({ max_output_tokens: 5 })
    expect(answer).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
    })
  })

  test('carries reasoning as an item of its own', async () => {
    ollama.enqueue({ reasoning: ['Hm, ', 'well.'], chunks: ['Yes.'] })
    const answer = await ask()
    expect(answer.output).toMatchObject([
      { type: 'reasoning', summary: [], content: [{ type: 'reasoning_text', text: 'Hm, well.' }] },
      { type: 'message', content: [{ type: 'output_text', text: 'Yes.' }] },
    ])
  })

  test('keeps to a JSON schema', async () => {
    const schema = { type: 'object', properties: { mood: { type: 'string' } }, required: ['mood'] }
    const answer = await ask({ text: { format: { type: 'json_schema', name: 'mood', schema } } })
    expect(JSON.parse(answer.output_text)).toEqual({ mood: 'text' })
    expect(sentTo(ollama)['format']).toEqual(schema)
  })

  test('reaches a /v1 server in the chat form, and nothing of the Responses form with it', async () => {
    await ask({
      model: 'vera-lund',
      tools: [LOOK],
      tool_choice: { type: 'function', name: 'look' },
      parallel_tool_calls: false,
      reasoning: { effort: 'low' },
      text: { format: { type: 'json_object' } },
      user: 'somebody',
      include: [],
      truncation: 'auto',
      service_tier: 'auto',
    })
    const { messages: _messages, ...sent } = sentTo(vllm)
    expect(sent).toEqual({
      model: 'other:1b',
      stream: false,
      max_tokens: expect.any(Number) as number,
      // Ours: what one person asked is no hint for another.
      cache_salt: expect.any(String) as string,
      tools: [
        {
          type: 'function',
          function: {
            name: 'look',
            description: LOOK.description,
            parameters: LOOK.parameters,
            strict: true,
          },
        },
      ],
      tool_choice: { type: 'function', function: { name: 'look' } },
      parallel_tool_calls: false,
      reasoning_effort: 'low',
      chat_template_kwargs: { enable_thinking: true },
      response_format: { type: 'json_object' },
    })
  })
})

describe('the input', () => {
  test('may be a history of items: instructions lead, pictures stay, reasoning is left out', async () => {
    const picture = 'data:image/png;base64,AAAA'
    const input: Input = [
      { role: 'developer', content: 'Speak of the sea.' },
      { role: 'user', content: [{ type: 'input_text', text: 'Who are you?' }] },
      { type: 'reasoning', id: 'rs_1', summary: [] },
      {
        type: 'message',
        id: 'msg_1',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'Mira.', annotations: [] }],
      },
      {
        role: 'user',
        content: [
          { type: 'input_text', text: 'And this?' },
          { type: 'input_image', image_url: picture, detail: 'low' },
        ],
      },
    ]
    await ask({ model: 'vera-lund', instructions: 'Be brief.', input })
    const { messages } = sentTo(vllm)
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant', 'user'])
    expect(messages[0]?.['content']).toMatch(/lighthouse.*Be brief\.\s+Speak of the sea\./s)
    expect(messages[1]?.['content']).toBe('Who are you?')
    expect(messages[2]?.['content']).toBe('Mira.')
    expect(messages[3]?.['content']).toContainEqual({
      type: 'image_url',
      image_url: { url: picture, detail: 'low' },
    })
  })

  test('goes round with the calls of tools: what came out goes in again, and answers follow', async () => {
    const calls = [
      { name: 'look', arguments: { where: 'sea' } },
      { name: 'look', arguments: { where: 'sky' } },
    ]
    ollama.enqueue({ chunks: ['Wait.'], toolCalls: calls })
    const input: Input = [{ role: 'user', content: 'Look!' }]
    const first = await ask({ input, tools: [LOOK] })
    const made = first.output.flatMap((item) => (item.type === 'function_call' ? [item] : []))
    expect(made.map((call) => JSON.parse(call.arguments) as unknown)).toEqual(
      calls.map((call) => call.arguments),
    )

    const outputs = made.map((call) => ({
      type: 'function_call_output' as const,
      call_id: call.call_id,
      output: 'Calm.',
    }))
    ollama.enqueue({ chunks: ['All calm.'] })
    const second = await ask({ input: [...input, ...first.output, ...outputs] as Input, tools: [LOOK] })
    expect(second.output_text).toBe('All calm.')
    expect(sentTo(ollama).messages.slice(2)).toMatchObject([
      { role: 'assistant', content: 'Wait.', tool_calls: calls.map((call) => ({ function: call })) },
      { role: 'tool', content: 'Calm.', tool_name: 'look' },
      { role: 'tool', content: 'Calm.', tool_name: 'look' },
    ])
  })
})

describe('a stream', () => {
  test('comes as events that the client joins to the same response', async () => {
    ollama.enqueue({ reasoning: ['Hm.'], chunks: ['Good ', 'night.'] })
    const stream = client.responses.stream({ model: 'mira-holt', input: 'Hello' })
    const told: string[] = []
    stream.on('response.output_text.delta', ({ delta }) => void told.push(delta))
    const answer = await stream.finalResponse()
    expect(told).toEqual(['Good ', 'night.'])
    expect(answer).toMatchObject({ status: 'completed', output_text: 'Good night.' })
    expect(answer.output.map(({ type }) => type)).toEqual(['reasoning', 'message'])
    expect(answer.usage?.output_tokens).toBeGreaterThan(0)
  })

  test('carries a call of a tool', async () => {
    ollama.enqueue({ chunks: [], toolCalls: [{ name: 'look', arguments: { where: 'sea' } }] })
    const stream = client.responses.stream({ model: 'mira-holt', input: 'Look!', tools: [LOOK] })
    const answer = await stream.finalResponse()
    expect(answer.output).toMatchObject([
      { type: 'function_call', name: 'look', arguments: '{"where":"sea"}', status: 'completed' },
    ])
  })

  test('hands out each piece before the next one exists', async () => {
    const gate = createGate()
    ollama.enqueue({ chunks: ['One', 'Two'], beforeChunk: gate })
    gate.open(1)
    const stream = await client.responses.create({ model: 'mira-holt', input: 'Count', stream: true })
    for await (const event of stream) {
      if (event.type !== 'response.output_text.delta') continue
      expect(event.delta).toBe('One')
      break
    }
    await expect.poll(() => ollama.chats().at(-1)?.wasAborted, { interval: 5 }).toBe(true)
    gate.open()
  })

  test('that fails after its first byte ends with a failed response that holds what was said', async () => {
    const gate = createGate()
    gate.open(1)
    ollama.enqueue({ chunks: ['Half ', 'an answer'], beforeChunk: gate, dieAfter: 1 })
    const stream = await client.responses.create({ model: 'mira-holt', input: 'Hello', stream: true })
    gate.open()
    const events: OpenAI.Responses.ResponseStreamEvent[] = []
    for await (const event of stream) events.push(event)
    expect(events.at(-1)).toMatchObject({
      type: 'response.failed',
      response: {
        status: 'failed',
        error: { code: 'server_error', message: expect.stringContaining('Ollama') as string },
        output: [{ content: [{ text: 'Half ' }] }],
      },
    })
    expect(events.map((event) => ('sequence_number' in event ? event.sequence_number : -1))).toEqual([
      ...events.keys(),
    ])
    await expect
      .poll(() => troupe.logged.at(-1))
      .toMatchObject({ route: '/v1/responses', errorCode: 'upstream' })
  })

  test('that fails before its first byte is a status', async () => {
    ollama.enqueue({ chunks: [] })
    const failing = client.responses.create({ model: 'mira-holt', input: 'Hello', stream: true })
    await expect(failing).rejects.toMatchObject({ status: 502, code: 'upstream_error' })
  })
})

describe('a request that cannot be answered', () => {
  const userSays = (content: unknown) => [{ role: 'user', content }] as Input
  const picture = (image_url: string) => [{ type: 'input_image', image_url }]

  test.each([
    ['an earlier response', { previous_response_id: 'resp_1' }, 'previous_response_id', /whole history/],
    ['a conversation', { conversation: 'conv_1' }, 'conversation', /whole history/],
    ['work in the background', { background: true }, 'background', /keeps no/],
    ['a stored prompt', { prompt: { id: 'pmpt_1' } }, 'prompt', /keeps no/],
    ['no input', { input: undefined }, 'input', /text or a list/],
    ['nothing said', { input: [] }, 'input', /at least one message/],
    ['nothing but thoughts', { input: [{ type: 'reasoning' }] }, 'input', /at least one message/],
    ['nothing but instructions', { input: [], instructions: 'Go on.' }, 'input', /at least one message/],
    [
      'nothing said by the user',
      { input: [{ role: 'developer', content: 'Be brief.' }] },
      'input',
      /no message of the user/,
    ],
    ['a reference', { input: [{ type: 'item_reference', id: 'msg_1' }] }, 'input.0', /send the item/],
    ['a reference without its type', { input: [{ id: 'msg_1' }] }, 'input.0', /send the item/],
    ['an item of another kind', { input: [{ type: 'web_search_call' }] }, 'input.0', /web_search_call/],
    [
      'an item that is half',
      { input: [{ type: 'function_call', name: 'look' }] },
      'input.0.call_id',
      /string/,
    ],
    ['a remote picture', { input: userSays(picture('https://a/b.png')) }, 'input.0.content.0', /data: URLs/],
    [
      'a text for a picture',
      { input: userSays(picture('data:text/plain;base64,QQ==')) },
      'input.0.content.0',
      /"text\/plain" is no picture/,
    ],
    [
      'a picture from a tool',
      {
        input: [{ type: 'function_call_output', call_id: 'c1', output: picture('data:image/png;base64,A') }],
      },
      'input.0.output.0',
      /input_image/,
    ],
    ['a file', { input: userSays([{ type: 'input_file' }]) }, 'input.0.content.0', /input_file/],
    ['a tool that is no function', { tools: [{ type: 'web_search' }] }, 'tools.0.type', /web_search/],
    ['a tool without a name', { tools: [{ type: 'function' }] }, 'tools.0.name', /string/],
    ['a choice among tools', { tool_choice: { type: 'allowed_tools' } }, 'tool_choice', /one function/],
    ['a choice that is none', { tool_choice: 'any' }, 'tool_choice', /one function/],
    [
      'a tool that is not there',
      { tools: [LOOK], tool_choice: { type: 'function', name: 'wait' } },
      'tool_choice',
      /"wait", which is not among the tools/,
    ],
    ['an unknown format', { text: { format: { type: 'xml' } } }, 'text.format.type', /json_schema/],
    ['a format without schema', { text: { format: { type: 'json_schema' } } }, 'text.format.name', /string/],
    ['a wrong number', { temperature: 'hot' }, 'temperature', /number/],
  ] as [string, object, string, RegExp][])('%s', async (_name, over, param, message) => {
    const failing = ask(over)
    await expect(failing).rejects.toBeInstanceOf(OpenAI.BadRequestError)
    await expect(failing).rejects.toMatchObject({ param, message: expect.stringMatching(message) as string })
  })

  test('words that cannot fit', async () => {
    const failing = ask({ input: 'word '.repeat(9_000) })
    await expect(failing).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
      param: 'input',
    })
  })

  test('an unknown character', async () => {
    const failing = ask({ model: 'nobody' })
    await expect(failing).rejects.toBeInstanceOf(OpenAI.NotFoundError)
    await expect(failing).rejects.toMatchObject({ code: 'model_not_found' })
  })

  test('a wrong key', async () => {
    const failing = client
      .withOptions({ apiKey: 'troupe_wrong' })
      .responses.create({ model: 'mira-holt', input: 'Hi' })
    await expect(failing).rejects.toBeInstanceOf(OpenAI.AuthenticationError)
  })

  test('a response of earlier', async () => {
    await expect(client.responses.retrieve('resp_1')).rejects.toBeInstanceOf(OpenAI.NotFoundError)
  })
})
