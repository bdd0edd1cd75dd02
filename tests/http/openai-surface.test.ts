/** What of the OpenAI interface goes beyond a chat turn, and base models by their own names. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL } from '../support/fake-server.ts'

const THINKER = {
  name: 'thinker:7b',
  contextTokens: 8_192,
  capabilities: ['completion', 'thinking', 'tools'],
}
const PLAIN = { name: 'plain:1b', contextTokens: 8_192, capabilities: ['completion'] }
const LATEST = { name: 'latest:latest', contextTokens: 4_096, capabilities: ['completion'] }
const OTHER = { name: 'org/other-1b', contextTokens: 4_096, capabilities: ['completion'] }

let ollama: FakeOllama
let openAi: FakeOpenAi
let troupe: TestApp
let mira: string
let wideKey: string

beforeAll(async () => {
  ollama = await openFakeOllama({ models: [FAKE_MODEL, THINKER, PLAIN, LATEST] })
  openAi = await openFakeOpenAi({ models: [OTHER] })
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, OPENAI_API_BASE_URLS: openAi.url })
  mira = await troupe.importCard({ name: 'Mira' })
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'all', scopes: ['chat', 'models', 'embeddings', 'base-models'] },
  })
  wideKey = ((await made.json()) as { secret: string }).secret
})
afterAll(async () => {
  await troupe.close()
  await Promise.all([ollama.close(), openAi.close()])
})

interface Asking {
  path?: string
  key?: string
}

const post = (body: Record<string, unknown>, { path = 'chat/completions', key = wideKey }: Asking = {}) =>
  troupe.request('POST', `/v1/${path}`, {
    key,
    body: {
      model: mira,
      ...(path.startsWith('chat') && { messages: [{ role: 'user', content: 'Hi' }] }),
      ...body,
    },
  })
const bodyOf = async (answer: Response) => (await answer.json()) as Record<string, never>
const lastOf = (server: FakeOllama | FakeOpenAi) => server.chats().at(-1)?.body ?? {}

describe('several answers', () => {
  test('come in one body, with the prompt counted once and a seed of their own', async () => {
    for (const text of ['one', 'two', 'three']) ollama.enqueue({ chunks: [text] })
    const before = ollama.chats().length
    const answer = await bodyOf(await post({ n: 3, seed: 5 }))
    expect(answer).toMatchObject({
      choices: [
        { index: 0, message: { content: 'one' }, finish_reason: 'stop' },
        { index: 1, message: { content: 'two' } },
        { index: 2, message: { content: 'three' } },
      ],
    })
    const asked = ollama.chats().slice(before)
    expect(asked.map(({ body }) => (body['options'] as { seed: number }).seed)).toEqual([5, 6, 7])
    const { prompt_tokens: prompt, completion_tokens: completion } = answer['usage'] as unknown as Record<
      string,
      number
    >
    expect([prompt, completion]).toEqual([expect.any(Number), 4])
  })

  test('are streamed one after the other and end once', async () => {
    for (const text of ['one', 'two']) ollama.enqueue({ chunks: [text] })
    const events = await readEvents(
      await post({ n: 2, stream: true, stream_options: { include_usage: true } }),
    )
    expect(events).toMatchObject([
      { choices: [{ index: 0, delta: { role: 'assistant', content: 'one' } }] },
      { choices: [{ index: 0, finish_reason: 'stop' }] },
      { choices: [{ index: 1, delta: { role: 'assistant', content: 'two' } }] },
      { choices: [{ index: 1, finish_reason: 'stop' }] },
      { choices: [], usage: { completion_tokens: 2 } },
      '[DONE]',
    ])
  })

  test('weigh as much as they are: each takes its tokens from the quota, and all are one turn', async () => {
    const made = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: 'poor', scopes: ['chat'], limits: { tokensPerDay: 350, turnsPerDay: 2 } },
    })
    const { secret: key } = (await made.json()) as { secret: string }
    const refused = await post({ n: 4, max_tokens: 100 }, { key })
    expect(refused.status).toBe(429)
    expect(await bodyOf(refused)).toMatchObject({ error: { code: 'insufficient_quota' } })
    expect((await post({ n: 2, max_tokens: 10 }, { key })).status).toBe(200)
    expect((await post({ max_tokens: 1 }, { key })).status).toBe(200)
    expect(await bodyOf(await post({ max_tokens: 1 }, { key }))).toMatchObject({
      error: { message: expect.stringContaining('2 messages') as string },
    })
  })
})

describe('what a client may say', () => {
  test('how hard to think reaches a model that can', async () => {
    await post({ model: 'thinker:7b', reasoning_effort: 'high' })
    expect(lastOf(ollama)['think']).toBe('high')
    await post({ model: 'thinker:7b', reasoning_effort: 'none' })
    expect(lastOf(ollama)['think']).toBe(false)
  })

  test('how likely words were is asked for', async () => {
    await post({ logprobs: true, top_logprobs: 3 })
    expect(lastOf(ollama)).toMatchObject({ logprobs: true, top_logprobs: 3 })
  })

  test('an answer of any length is bounded by the room that the prompt leaves', async () => {
    for (const max_tokens of [-1, 1_000_000]) {
      expect((await post({ model: FAKE_MODEL.name, max_tokens })).status).toBe(200)
      const { num_predict: most } = lastOf(ollama)['options'] as { num_predict: number }
      expect(most).toBeGreaterThan(3_000)
      expect(most).toBeLessThan(FAKE_MODEL.contextTokens)
    }
    expect((await post({ max_tokens: 0 })).status).toBe(400)
  })

  test('what has no effect is told, and is not passed on', async () => {
    const answer = await post({ model: 'org/other-1b', store: true, metadata: { a: 'b' }, top_a: 0.2 })
    expect(answer.headers.get('x-ignored-params')).toBe('metadata, store')
    expect(lastOf(openAi)).toMatchObject({ top_a: 0.2 })
    expect(lastOf(openAi)).not.toHaveProperty('metadata')
  })

  test.each([
    ['chat/completions', { top_a: 0.2, tool_choice: 'required', store: true }, 'store, top_a, tool_choice'],
    [
      'completions',
      { prompt: 'Hi', logit_bias: {}, logprobs: 2, service_tier: 'auto' },
      'service_tier, logprobs, logit_bias',
    ],
    ['responses', { input: 'Hi', top_a: 0.2, truncation: 'auto', store: false }, 'truncation, top_a'],
  ])('what an Ollama has no word for is told as well: %s', async (path, body, told) => {
    const answer = await post({ model: FAKE_MODEL.name, ...body }, { path })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-ignored-params')).toBe(told)
  })

  test.each([
    ['completions', 'tools', 'a'],
    ['completions', 'tools', [{}]],
    ['completions', 'max_completion_tokens', '9'],
    ['completions', 'troupe', { persona: 'x'.repeat(5_000) }],
    ['responses', 'messages', 'a'],
    ['responses', 'response_format', 1],
    ['responses', 'n', 3],
  ])('a field of chats alone means nothing in %s, whatever it is: %s', async (path, name, value) => {
    const words = path === 'responses' ? { input: 'Hi' } : { prompt: 'Hi' }
    const answer = await post({ model: 'fake:1b', ...words, [name]: value }, { path })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-ignored-params')).toBe(name)
  })

  const LOOK = { type: 'function', function: { name: 'look', parameters: { type: 'object' } } }
  const named = (name: string) => ({ type: 'function', function: { name } })

  test.each([
    ['response_format', { type: 'xml' }],
    ['response_format', { type: 'json_schema' }],
    ['response_format', { type: 'json_schema', json_schema: { name: 'mood' } }],
    ['response_format', 'json'],
    ['tool_choice', 'foo'],
    ['tool_choice', { type: 'function' }],
    ['tool_choice', named('wait')],
  ])('a wish that no server can keep is refused: %s %j', async (param, value) => {
    for (const model of [FAKE_MODEL.name, OTHER.name]) {
      const answer = await post({ model, tools: [LOOK], [param]: value })
      expect([answer.status, await answer.json()]).toMatchObject([400, { error: { param } }])
    }
  })

  test('a format that vLLM alone knows goes on to a /v1 server, and an Ollama is told not to know it', async () => {
    const response_format = { type: 'structural_tag', structures: [], triggers: ['<a>'] }
    const passed = await post({ model: OTHER.name, response_format })
    expect(passed.headers.get('x-ignored-params')).toBeNull()
    expect(lastOf(openAi)).toMatchObject({ response_format })
    const told = await post({ model: FAKE_MODEL.name, response_format })
    expect(told.headers.get('x-ignored-params')).toBe('response_format')
    const plain = await post({ model: FAKE_MODEL.name, response_format: { type: 'text' } })
    expect(plain.headers.get('x-ignored-params')).toBeNull()
  })

  test('of several tools a named one is offered alone, and that it must be called is told to be a wish', async () => {
    const tools = [LOOK, { type: 'function', function: { name: 'wait', parameters: { type: 'object' } } }]
    const answer = await post({ model: FAKE_MODEL.name, tools, tool_choice: named('look') })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('x-ignored-params')).toBe('tool_choice')
    expect(lastOf(ollama)['tools']).toEqual([LOOK])
    for (const kept of ['auto', 'none', null]) {
      const { headers } = await post({ model: FAKE_MODEL.name, tools, tool_choice: kept })
      expect(headers.get('x-ignored-params')).toBeNull()
    }
  })

  test('a field whose name cannot stand in a header is not told, and breaks nothing', async () => {
    const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`field${String(at)}`, 1]))
    const odd = { さ: 1, 'a\r\nset-cookie: b': 1, 'a, b': 1, ['x'.repeat(100)]: 1 }
    const answer = await post({ model: FAKE_MODEL.name, ...odd, ...many })
    expect(answer.status).toBe(200)
    const told = answer.headers.get('x-ignored-params')?.split(', ')
    expect(told).toHaveLength(50)
    expect(told?.every((name) => name in many)).toBe(true)
  })

  test.each([
    ['completions', { prompt: 'Hi' }],
    ['responses', { input: 'Hi' }],
  ])('what we do not know goes on to a /v1 server: %s', async (path, body) => {
    const answer = await post({ model: 'org/other-1b', ...body, top_a: 0.2 }, { path })
    expect(answer.headers.get('x-ignored-params')).toBeNull()
    expect(lastOf(openAi)).toMatchObject({ top_a: 0.2 })
  })

  test('how closely to look goes with a picture; names beside messages go nowhere, which is told', async () => {
    const url = 'data:image/png;base64,AAAA'
    const shown = (detail?: unknown) => ({ type: 'image_url', image_url: { url, detail } })
    const content = [{ type: 'text', text: 'Look' }, shown('high'), shown(), shown(7)]
    const seen = await post({ model: 'org/other-1b', messages: [{ role: 'user', name: 'ann', content }] })
    expect(seen.headers.get('x-ignored-params')).toBe('messages.name')
    const plain = { type: 'image_url', image_url: { url } }
    expect(lastOf(openAi)['messages']).toEqual([
      { role: 'user', content: [content[0], shown('high'), plain, plain] },
    ])
    const heard = await post({ messages: [{ role: 'user', name: 'ann', content: 'Hi' }] })
    expect(heard.headers.get('x-ignored-params')).toBe('messages.name')
  })

  test('a length in the words of llama.cpp never gets over what Troupe decides, and is told', async () => {
    const answer = await post({ model: 'org/other-1b', n_predict: 99_999, max_tokens: 7 })
    expect(answer.headers.get('x-ignored-params')).toBe('n_predict')
    expect(lastOf(openAi)).toMatchObject({ max_tokens: 7 })
    expect(lastOf(openAi)).not.toHaveProperty('n_predict')
  })

  test('whom a key speaks for tells its figures apart, and is nowhere to be read', async () => {
    const recordOf = async (body: object, path = 'chat/completions') => {
      const answer = await post({ ...body }, { path })
      const record = await troupe.request(
        'GET',
        `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
      )
      return (await record.json()) as { person: string | null }
    }
    const ann = await recordOf({ user: 'ann@example.org' })
    const again = await recordOf({ safety_identifier: 'ann@example.org', input: 'Hi' }, 'responses')
    const bob = await recordOf({ user: 'bob' })
    expect(ann.person).toEqual(expect.any(String))
    expect(again.person).toBe(ann.person)
    expect(bob.person).not.toBe(ann.person)
    expect((await recordOf({})).person).toBeNull()
    expect(JSON.stringify([ann, ollama.requests.map(({ body }) => body)])).not.toContain('ann@')
    const [keyId] = /(?<=troupe_)[^_]+/.exec(wideKey) ?? []
    const people = (name: string) =>
      `/troupe/api/privacy/people/${encodeURIComponent(`${String(keyId)}:${name}`)}`
    await troupe.request('POST', `${people('bob')}/objection`)
    expect((await recordOf({ user: 'bob' })).person).toBeNull()
    const receipt = await troupe.request('DELETE', people('ann@example.org'))
    expect(receipt.status).toBe(200)
    expect(await receipt.json()).toMatchObject({
      receipt: {
        rowsBefore: { analytics: { call_records: 2 } },
        rowsAfter: { analytics: { call_records: 0 } },
      },
    })
    // Open WebUI names its people itself, with a proof.
    const forwarded = await post({ user: 'ann@example.org' }, { key: CONNECTION_KEY })
    const { person } = (await (
      await troupe.request('GET', `/troupe/api/requests/${forwarded.headers.get('x-request-id') ?? ''}`)
    ).json()) as { person: string | null }
    expect(person).toBeNull()
  })

  test('a client that wants no stream costs the model server none', async () => {
    await post({})
    expect(lastOf(ollama)['stream']).toBe(false)
    await readEvents(await post({ stream: true }))
    expect(lastOf(ollama)['stream']).toBe(true)
  })
})

describe('base models', () => {
  test('are listed for, and answer, only a key that may ask them', async () => {
    const list = async (key: string) => {
      const { data } = await bodyOf(await troupe.request('GET', '/v1/models', { key }))
      return (data as unknown as { id: string }[]).map(({ id }) => id)
    }
    expect(await list(wideKey)).toEqual([
      mira,
      'troupe-task',
      'fake:1b',
      'thinker:7b',
      'plain:1b',
      'latest:latest',
      'org/other-1b',
    ])
    expect(await list(CONNECTION_KEY)).toEqual([mira, 'troupe-task'])
    expect((await post({ model: 'fake:1b' }, { key: CONNECTION_KEY })).status).toBe(404)
    expect((await troupe.request('GET', '/v1/models/org%2Fother-1b', { key: wideKey })).status).toBe(200)
  })

  test('of an Ollama are known without their tag too, wherever they are named', async () => {
    for (const name of ['latest', 'latest:latest']) {
      const answer = await troupe.request('GET', `/v1/models/${name}`, { key: wideKey })
      expect([answer.status, await answer.json()]).toMatchObject([200, { id: 'latest:latest' }])
      expect((await post({ model: name })).status).toBe(200)
    }
    expect((await troupe.request('GET', '/v1/models/fake', { key: wideKey })).status).toBe(404)
    expect((await troupe.request('GET', '/v1/models/latest', { key: CONNECTION_KEY })).status).toBe(404)
  })

  test('get what the client wrote and nothing else', async () => {
    const messages = [
      { role: 'system', content: 'Be {{char}}.' },
      { role: 'user', content: 'One' },
      { role: 'assistant', content: 'Two' },
      { role: 'user', content: 'Three' },
    ]
    await post({ model: 'org/other-1b', messages })
    expect(lastOf(openAi)['messages']).toEqual(messages)
  })
})

describe('completions', () => {
  test('a base model goes on with the text itself', async () => {
    openAi.enqueue({ chunks: [' time'] })
    const answer = await bodyOf(
      await post({ model: 'org/other-1b', prompt: 'Once upon a' }, { path: 'completions' }),
    )
    expect(answer).toMatchObject({
      object: 'text_completion',
      model: 'org/other-1b',
      choices: [{ text: ' time', index: 0, finish_reason: 'stop', logprobs: null }],
      usage: { prompt_tokens: 3 },
    })
    expect(lastOf(openAi)).toMatchObject({ prompt: 'Once upon a', max_tokens: 16 })
    await post({ model: 'fake:1b', prompt: 'Once', suffix: 'end' }, { path: 'completions' })
    expect(lastOf(ollama)).toMatchObject({ prompt: 'Once', suffix: 'end', raw: false })
  })

  test.each([
    ['several texts', ['a', 'b'], /may hold one text; send one request for each/],
    ['no text', undefined, /must be a text/],
    ['numbers of tokens', [1, 2], /numbers of tokens are not taken/],
  ])('%s: told what to do', async (_name, prompt, message) => {
    const answer = await post({ prompt }, { path: 'completions' })
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      { error: { param: 'prompt', message: expect.stringMatching(message) as string } },
    ])
  })

  test('a character answers to it, streamed as well', async () => {
    ollama.enqueue({ chunks: ['A ', 'storm.'] })
    const events = await readEvents(
      await post({ prompt: 'What comes?', stream: true }, { path: 'completions' }),
    )
    expect(events).toMatchObject([
      { object: 'text_completion', choices: [{ text: 'A ' }] },
      { choices: [{ text: 'storm.' }] },
      { choices: [{ text: '', finish_reason: 'stop' }] },
      '[DONE]',
    ])
    expect(JSON.stringify(lastOf(ollama)['messages'])).toContain('Mira')
  })
})

describe('embeddings', () => {
  const embed = (body: Record<string, unknown>, key = wideKey) => post(body, { path: 'embeddings', key })
  const lastEmbedded = (server: FakeOllama | FakeOpenAi, path: string) =>
    server.requests.findLast((request) => request.path === path)?.body

  test('one vector for each text, as numbers or as bytes', async () => {
    const input = ['A storm.', 'A lamp.']
    const numbers = await bodyOf(await embed({ model: 'fake:1b', input }))
    const data = numbers['data'] as unknown as { index: number; embedding: number[] }[]
    expect(data.map(({ index, embedding }) => [index, embedding.length])).toEqual([
      [0, 8],
      [1, 8],
    ])
    const bytes = await bodyOf(await embed({ model: 'org/other-1b', input, encoding_format: 'base64' }))
    const [first] = bytes['data'] as unknown as { embedding: string }[]
    const decoded = new Float32Array(Uint8Array.from(Buffer.from(first?.embedding ?? '', 'base64')).buffer)
    expect([...decoded].map((value) => value.toFixed(5))).toEqual(
      data[0]?.embedding.map((value) => value.toFixed(5)),
    )
    expect(bytes).toMatchObject({ object: 'list', usage: { prompt_tokens: 4, total_tokens: 4 } })
  })

  test('have a length that the client may choose, the window of the chats, and a record', async () => {
    const answer = await embed({ model: 'fake:1b', input: 'A storm.', dimensions: 4 })
    const { data } = await bodyOf(answer)
    expect((data as unknown as { embedding: number[] }[])[0]?.embedding).toHaveLength(4)
    expect(lastEmbedded(ollama, '/api/embed')).toMatchObject({ truncate: false, options: { num_ctx: 4_096 } })
    const record = await troupe.request(
      'GET',
      `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
    )
    expect(await record.json()).toMatchObject({
      kind: 'embedding',
      status: 'ok',
      baseModel: 'fake:1b',
      promptTokens: 2,
    })
  })

  test('what we do not know goes on to a /v1 server, never over what is ours, and is told of an Ollama', async () => {
    const wish = { input: 'A storm.', priority: 1, encoding_format: 'base64', user: 'ann', store: true }
    const known = await embed({ model: 'org/other-1b', ...wish })
    expect(known.headers.get('x-ignored-params')).toBe('store')
    expect(lastEmbedded(openAi, '/v1/embeddings')).toEqual({
      ...{ model: 'org/other-1b', input: ['A storm.'], encoding_format: 'float', priority: 1 },
    })
    const unknown = await embed({ model: 'fake:1b', ...wish })
    expect(unknown.headers.get('x-ignored-params')).toBe('store, priority')
    expect(lastEmbedded(ollama, '/api/embed')).not.toHaveProperty('priority')
  })

  test('tell those behind a key apart in the figures, as chats do', async () => {
    const personOf = async (answer: Response) => {
      const id = answer.headers.get('x-request-id') ?? ''
      const record = await troupe.request('GET', `/troupe/api/requests/${id}`)
      return ((await record.json()) as { person: string | null }).person
    }
    const embedded = async (over: object) => personOf(await embed({ model: 'fake:1b', input: 'Hi', ...over }))
    const cleo = await embedded({ user: 'cleo' })
    expect(cleo).toEqual(expect.any(String))
    expect(cleo).toBe(await personOf(await post({ user: 'cleo' })))
    expect(await embedded({ safety_identifier: 'cleo' })).toBe(cleo)
    expect(await embedded({ user: 'dan' })).not.toBe(cleo)
    expect(await embedded({})).toBeNull()
  })

  test.each([
    ['numbers of tokens', { input: [[1, 2, 3]] }, 400, 'invalid_request', /numbers of tokens/],
    ['an empty text', { input: '' }, 400, 'invalid_request', /may not be empty/],
    ['too many texts', { input: Array(2_049).fill('a') }, 400, 'invalid_request', /at most 2,048 texts/],
    ['a text that is too long', { input: 'wave '.repeat(9_000) }, 400, 'context_length_exceeded', /./],
    ['a model that nobody has', { model: 'nobody:1b', input: 'x' }, 404, 'model_not_found', /nobody:1b/],
  ])('%s: a clear refusal', async (_name, body, status, code, message) => {
    const answer = await embed({ model: 'fake:1b', ...body })
    expect(answer.status).toBe(status)
    expect(await bodyOf(answer)).toMatchObject({
      error: { code, message: expect.stringMatching(message) as string },
    })
  })
})

describe('what a model cannot do', () => {
  const tools = [{ type: 'function', function: { name: 'look', parameters: { type: 'object' } } }]

  test('is told before it is asked, where that is known: tools', async () => {
    const plain = await troupe.importCard({ name: 'Plain', extensions: { troupe: { model: PLAIN.name } } })
    const before = ollama.chats().length
    for (const model of [plain, PLAIN.name]) {
      const answer = await post({ model, tools })
      expect([answer.status, await answer.json()]).toMatchObject([
        400,
        {
          error: {
            code: 'invalid_request',
            param: 'tools',
            message: expect.stringContaining('plain:1b cannot use tools') as string,
          },
        },
      ])
    }
    expect(ollama.chats()).toHaveLength(before)
    expect((await post({ model: plain, tools, tool_choice: 'none' })).status).toBe(200)
  })

  test("is told in the server's words, once, and no other model takes its place", async () => {
    const own = { extensions: { troupe: { model: OTHER.name, fallbacks: [FAKE_MODEL.name] } } }
    const other = await troupe.importCard({ name: 'Other', ...own })
    openAi.enqueue({ status: 400, error: 'this template has no tools' })
    const before = [ollama.chats().length, openAi.chats().length]
    const answer = await post({ model: other, tools })
    expect([answer.status, await answer.json()]).toMatchObject([
      400,
      {
        error: { type: 'invalid_request_error', message: expect.stringContaining('has no tools') as string },
      },
    ])
    expect([ollama.chats().length, openAi.chats().length]).toEqual([before[0], (before[1] ?? 0) + 1])
  })
})
