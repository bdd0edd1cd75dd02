import { once } from 'node:events'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { json } from 'node:stream/consumers'

import { SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { createGate } from '../support/fake-server.ts'
import { sampleEntry } from '../support/samples.ts'

const OPEN_WEBUI = { OPENWEBUI_URL: 'http://127.0.0.1:9', OPENWEBUI_JWT_SECRET: JWT_SECRET }

let ollama: FakeOllama
let troupe: TestApp
let mira: string

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, ...OPEN_WEBUI })
  mira = await troupe.importCard({ name: 'Mira Holt', post_history_instructions: 'Stay brief.' })
})

afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

const token = (claims: Record<string, unknown> = {}, secret = JWT_SECRET) =>
  new SignJWT({ email: 'tom@example.org', name: 'Tom', role: 'user', ...claims })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject('user-1')
    .setIssuer('open-webui')
    .setIssuedAt()
    .setExpirationTime('5 minutes')
    .sign(new TextEncoder().encode(secret))

interface Asking {
  body?: Record<string, unknown> | string
  headers?: Record<string, string>
  key?: string | null
  signal?: AbortSignal
  on?: TestApp
}

async function ask({
  body = {},
  headers = {},
  key = CONNECTION_KEY,
  signal,
  on = troupe,
}: Asking = {}): Promise<Response> {
  const whole =
    typeof body === 'string' ? body : { model: mira, messages: [{ role: 'user', content: 'Hello' }], ...body }
  const signed = { 'x-openwebui-user-jwt': await token(), ...headers }
  return on.request('POST', '/v1/chat/completions', {
    key,
    body: whole,
    headers: signed,
    ...(signal && { signal }),
  })
}

const errorOf = async (answer: Response) =>
  ((await answer.json()) as { error: Record<string, unknown> }).error
const recordOf = async (answer: Response, on = troupe) =>
  (
    await on.request('GET', `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`)
  ).json() as Promise<Record<string, unknown>>

describe('a chat', () => {
  test('streams the answer as it comes: role, text, finish reason, usage, end', async () => {
    ollama.enqueue({ chunks: ['Storm ', 'tonight.'] })
    const answer = await ask({ body: { stream: true, stream_options: { include_usage: true } } })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    const events = await readEvents(answer)
    expect(events).toMatchObject([
      { model: mira, choices: [{ delta: { role: 'assistant', content: 'Storm ' } }] },
      { choices: [{ delta: { content: 'tonight.' } }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
      { choices: [], usage: { completion_tokens: expect.any(Number) as number } },
      '[DONE]',
    ])
  })

  test('hands out each piece before the next one exists', async () => {
    const gate = createGate()
    ollama.enqueue({ chunks: ['One', 'Two'], beforeChunk: gate })
    gate.open(1)
    const answer = await ask({ body: { stream: true } })
    const reader = answer.body?.getReader()
    const first = await reader?.read()
    expect(new TextDecoder().decode(first?.value)).toContain('One')
    gate.open()
    await reader?.cancel()
  })

  test('without streaming is one body', async () => {
    ollama.enqueue({ chunks: ['Good ', 'night.'] })
    const answer = await ask()
    expect(await answer.json()).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant', content: 'Good night.' }, finish_reason: 'stop' }],
    })
  })

  test('reaches Ollama with persona, explicit window and no truncation', async () => {
    await ask()
    const sent = ollama.chats().at(-1)?.body as {
      messages: { role: string; content: string }[]
      options: Record<string, unknown>
      truncate: unknown
    }
    expect(sent.messages[0]).toMatchObject({
      role: 'system',
      content: expect.stringContaining('keeps a lighthouse and answers Tom') as string,
    })
    expect(sent.messages.at(-1)?.content).toContain('Stay brief.')
    expect(sent.options).toMatchObject({ num_ctx: 4_096, num_predict: 1_024 })
    expect(sent.truncate).toBe(false)
  })

  test('leaves a record with numbers and pseudonyms', async () => {
    ollama.enqueue({ chunks: ['Fog.'] })
    const answer = await ask({
      headers: { 'x-troupe-chat-id': 'chat-1', 'x-troupe-message-id': 'message-1' },
    })
    const record = await recordOf(answer)
    expect(record).toMatchObject({
      status: 'ok',
      kind: 'turn',
      surface: 'open-webui',
      characterId: mira,
      baseModel: 'fake:1b',
      rating: null,
    })
    expect(record['person']).toMatch(/^[\w-]{22}$/)
    expect(JSON.stringify(record)).not.toMatch(/user-1|Tom|chat-1|message-1|Fog|Hello/)
  })

  test('a task header sends the title request without persona', async () => {
    await ask({
      headers: { 'x-troupe-task': 'title_generation' },
      body: { messages: [{ role: 'user', content: 'Name this chat' }] },
    })
    const sent = JSON.stringify(ollama.chats().at(-1)?.body['messages'])
    expect(sent).toContain('Name this chat')
    expect(sent).not.toContain('lighthouse')
  })

  test('all requests of one base model ask for the same window, so it is loaded once', async () => {
    const before = ollama.loads()
    await ask()
    await ask({ body: { max_tokens: 9 } })
    await ask({ headers: { 'x-troupe-task': 'tags_generation' } })
    expect(ollama.loads()).toBe(Math.max(before, 1))
  })
})

describe('the client leaves', () => {
  test.each([
    ['in the middle of the answer', { chunks: ['One', 'Two'], stallAfter: 1 }],
    ['before the first byte', { beforeHeaders: createGate() }],
  ])(
    '%s: the model server is released within 100 ms and the record says cancelled',
    // The machine itself may stand still for longer than that; a call that really goes on does so every time.
    { retry: 3 },
    async (_name, script) => {
      ollama.enqueue(script)
      const gone = new AbortController()
      const seen = ollama.chats().length
      const answer = ask({ body: { stream: true }, signal: gone.signal })
      if ('chunks' in script) await (await answer).body?.getReader().read()
      await expect.poll(() => ollama.chats().length).toBe(seen + 1)
      const leftAtMs = performance.now()
      gone.abort()
      await answer.catch(() => undefined)
      await expect.poll(() => ollama.chats().at(-1)?.wasAborted, { interval: 5 }).toBe(true)
      expect((ollama.chats().at(-1)?.closedAtMs ?? Infinity) - leftAtMs).toBeLessThan(100)
      await expect
        .poll(() =>
          troupe.logged.some((line) => line['msg'] === 'request' && line['errorCode'] === 'cancelled'),
        )
        .toBe(true)
    },
  )
})

describe('a request that cannot be answered', () => {
  test.each([
    ['a wrong key', { key: 'troupe_wrong' }, 401, 'invalid_api_key'],
    ['no key', { key: null }, 401, 'invalid_api_key'],
    ['a body that is not JSON', { body: '{"model":' }, 400, 'invalid_request'],
    ['a body that is no object', { body: '[]' }, 400, 'invalid_request'],
    ['a body nested without end', { body: '['.repeat(100_000) }, 400, 'invalid_request'],
    ['no messages', { body: { messages: [] } }, 400, 'invalid_request'],
    ['an unknown character', { body: { model: 'nobody' } }, 404, 'model_not_found'],
    [
      'a remote picture',
      {
        body: {
          messages: [
            { role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://a/b.png' } }] },
          ],
        },
      },
      400,
      'invalid_request',
    ],
    ['more answers than anybody needs', { body: { n: 9 } }, 400, 'invalid_request'],
    ['an answer that is to be heard', { body: { modalities: ['text', 'audio'] } }, 400, 'invalid_request'],
    [
      'a question that is spoken',
      { body: { messages: [{ role: 'user', content: [{ type: 'input_audio', input_audio: {} }] }] } },
      400,
      'invalid_request',
    ],
    [
      'a picture for a model that cannot see',
      {
        body: {
          messages: [
            {
              role: 'user',
              content: [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }],
            },
          ],
        },
      },
      400,
      'invalid_request',
    ],
    [
      'a message longer than the context',
      { body: { messages: [{ role: 'user', content: 'word '.repeat(9_000) }] } },
      400,
      'context_length_exceeded',
    ],
  ] as const)('%s', async (_name, asking, status, code) => {
    const answer = await ask(asking)
    expect(answer.status).toBe(status)
    const error = await errorOf(answer)
    expect(error['code']).toBe(code)
    expect(String(error['message']).length).toBeGreaterThan(15)
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9A-Z]{26}$/)
  })

  test.each([
    ['says so at once', { 'content-length': String(21 * 1024 * 1024) }, 1],
    ['does not say how long it is', { 'transfer-encoding': 'chunked' }, 21],
  ])('a body over the limit that %s', async (_name, headers, megabytes) => {
    const sending = httpRequest(`${troupe.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${CONNECTION_KEY}`, ...headers },
    })
    const answered = once(sending, 'response') as Promise<[IncomingMessage]>
    for (let sent = 0; sent < megabytes; sent++) sending.write('x'.repeat(1024 * 1024))
    const [answer] = await answered
    expect(answer.statusCode).toBe(413)
    expect(await json(answer)).toMatchObject({
      error: { code: 'request_too_large', message: expect.stringContaining('20 MB') as string },
    })
    sending.destroy()
  })

  test.each([
    ['no token, but plain headers', { 'x-openwebui-user-id': 'admin' }, true],
    ['a token signed by somebody else', {}, false],
  ])('%s: the user is not believed', async (_name, headers, withoutToken) => {
    const jwt = withoutToken ? undefined : await token({}, 'another-secret-that-is-long-enough-0123456789')
    const answer = await troupe.request('POST', '/v1/chat/completions', {
      key: CONNECTION_KEY,
      body: { model: mira, messages: [{ role: 'user', content: 'Hello' }] },
      headers: { ...headers, ...(jwt === undefined ? {} : { 'x-openwebui-user-jwt': jwt }) },
    })
    expect(answer.status).toBe(401)
  })

  test('an admin key opens no chat, and a connection key no admin page', async () => {
    expect((await troupe.request('POST', '/v1/chat/completions', { body: {} })).status).toBe(403)
    expect((await troupe.request('GET', '/troupe/api/characters', { key: CONNECTION_KEY })).status).toBe(403)
  })
})

describe('the model server', () => {
  let own: FakeOllama
  let app: TestApp

  beforeEach(async () => {
    own = await openFakeOllama()
    app = await openTestApp({ OLLAMA_BASE_URL: own.origin, ...OPEN_WEBUI })
    await app.importCard({ name: 'Mira Holt' })
  })
  afterEach(async () => {
    await app.close()
    await own.close().catch(() => undefined)
  })

  test('is down: 503 with its address and a remedy', async () => {
    await own.close()
    const answer = await ask({ on: app, body: { stream: true } })
    expect(answer.status).toBe(503)
    expect((await errorOf(answer))['message']).toContain(own.origin)
    expect(await recordOf(answer, app)).toMatchObject({ status: 'failed', errorCode: 'unavailable' })
  })

  test('lacks the model: 404 that says so', async () => {
    await app.importCard({ name: 'Other', extensions: { troupe: { model: 'missing:7b' } } })
    const answer = await ask({ on: app, body: { model: 'other' } })
    expect(answer.status).toBe(404)
    expect(await errorOf(answer)).toMatchObject({
      code: 'model_not_found',
      message: expect.stringContaining('missing:7b') as string,
    })
  })

  test.each([
    ['dies in the middle of an answer', { dieAfter: 2 }],
    ['ends without a last word', { endAfter: 2 }],
    ['reports an error in the stream', { failAfter: { chunks: 2, error: 'out of memory' } }],
  ])('%s: the text so far, an error event, the end, and a record that says failed', async (_name, fault) => {
    const gate = createGate()
    gate.open(1)
    own.enqueue({ chunks: ['Half ', 'an ', 'answer'], beforeChunk: gate, ...fault })
    const answer = await ask({ on: app, body: { stream: true } })
    expect(answer.status).toBe(200)
    gate.open()
    const events = await readEvents(answer)
    expect(events[0]).toMatchObject({ choices: [{ delta: { content: 'Half ' } }] })
    expect(events.at(-2)).toMatchObject({
      error: { code: 'upstream_error', message: expect.any(String) as string },
    })
    expect(events.at(-1)).toBe('[DONE]')
    expect(await recordOf(answer, app)).toMatchObject({ status: 'failed', errorCode: 'upstream' })
  })

  test('gives an empty answer: an explained error instead of a blank bubble', async () => {
    own.enqueue({ chunks: [] })
    expect((await ask({ on: app, body: { stream: true } })).status).toBe(502)
  })
})

test('the log has one line per request, without a word of it and without a key', async () => {
  const before = troupe.logged.length
  await ask({ body: { messages: [{ role: 'user', content: 'secret-word-in-chat' }] } })
  await expect.poll(() => troupe.logged.length).toBe(before + 1)
  expect(troupe.logged.at(-1)).toMatchObject({
    msg: 'request',
    method: 'POST',
    route: '/v1/chat/completions',
    status: 200,
    character: mira,
  })
  expect(JSON.stringify(troupe.logged)).not.toMatch(
    new RegExp(`secret-word-in-chat|${CONNECTION_KEY}|lighthouse|tom@example`),
  )
})

describe('the inspector', () => {
  const book = {
    extensions: {},
    entries: [
      sampleEntry({ constant: false, keys: ['unsaid-word'], name: 'The reef', content: 'Sharp rocks.' }),
    ],
  }

  test('shows what a past prompt was made of, and no word of what was said', async () => {
    const id = await troupe.importCard({ name: 'Inspected', character_book: book })
    const answer = await ask({
      body: {
        model: id,
        temperature: 0.3,
        stop: ['secret-stop'],
        messages: [
          { role: 'system', content: 'client-secret' },
          { role: 'user', content: 'history-secret' },
          { role: 'assistant', content: 'Well?' },
          { role: 'user', content: 'the unsaid-word' },
        ],
      },
    })
    const record = await recordOf(answer)
    expect(record).toMatchObject({
      prefixHash: expect.any(String) as string,
      anatomy: {
        layout: 'cache',
        history: { turns: 1, cutTurns: 0 },
        options: { temperature: 0.3, stopStrings: 1 },
      },
    })
    const { parts } = record['anatomy'] as { parts: { kind: string; label: string; tokens: number }[] }
    expect(parts.map(({ kind }) => kind)).toEqual([
      ...['system_prompt', 'persona', 'personality', 'scenario', 'examples', 'greeting', 'client_system'],
      ...['lore', 'user'],
    ])
    for (const said of ['secret', 'unsaid-word', 'Sharp rocks', 'lighthouse'])
      expect(JSON.stringify(record)).not.toContain(said)
  })

  test("gives the author's texts back from the card, and nobody else's", async () => {
    const id = await troupe.importCard({
      ...{ name: 'Quoted', character_book: book, post_history_instructions: 'Ask {{user}} back.' },
      extensions: { depth_prompt: { prompt: 'Keep it short.' } },
    })
    const answer = await ask({
      body: { model: id, messages: [{ role: 'user', content: 'the unsaid-word' }] },
    })
    const path = `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}?text=true`
    const { anatomy } = (await (await troupe.request('GET', path)).json()) as {
      anatomy: { parts: { kind: string; text?: string }[] }
    }
    const textOf = (wanted: string) => anatomy.parts.find(({ kind }) => kind === wanted)?.text
    expect(textOf('persona')).toContain('keeps a lighthouse')
    expect(textOf('lore')).toBe('Sharp rocks.')
    expect(textOf('note')).toBe('Keep it short.')
    expect(textOf('post_history')).toBe('Ask {{user}} back.')
    expect(textOf('user')).toBeUndefined()
  })

  describe('never gives back a text that was not sent', () => {
    const word = 'the unsaid-word'
    const entry = (name: string, content: string, over = {}) =>
      sampleEntry({ constant: false, keys: ['unsaid-word'], name, content, ...over })
    const shelve = async (name: string, entries: unknown[], characterId: string) => {
      const body = { name, book: { extensions: {}, entries }, characterIds: [characterId] }
      expect((await troupe.request('POST', '/troupe/api/lorebooks', { body })).status).toBe(201)
    }
    const partsAfter = async (model: string, meanwhile = () => Promise.resolve()) => {
      const answer = await ask({ body: { model, messages: [{ role: 'user', content: word }] } })
      await meanwhile()
      const path = `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}?text=true`
      const { anatomy } = (await (await troupe.request('GET', path)).json()) as {
        anatomy: { parts: { kind: string; label: string; text?: string }[] }
      }
      return anatomy.parts
    }
    const lore = (parts: { kind: string; label: string; text?: string }[]) =>
      parts.filter(({ kind }) => kind === 'lore').map(({ label, text }) => [label, text])

    test('of entries with one label', async () => {
      const entries = [
        entry('', 'FIRST TEXT.'),
        entry('', 'SECOND TEXT.'),
        entry('Alone', '@@depth 2\nThird.'),
      ]
      const id = await troupe.importCard({ name: 'Doubled', character_book: { extensions: {}, entries } })
      expect(lore(await partsAfter(id))).toEqual([
        ['unsaid-word', undefined],
        ['unsaid-word', undefined],
        ['Alone', 'Third.'],
      ])
    })

    test('of lorebooks beside the card, which may change', async () => {
      const id = await troupe.importCard({
        name: 'Shelved',
        character_book: { extensions: {}, entries: [entry('Both', 'In the card.')] },
      })
      await shelve('Beside Shelved', [entry('Both', 'Beside it.'), entry('Mine', 'On the shelf.')], id)
      const before = await partsAfter(id)
      expect(lore(before)).toEqual([
        ['Both', undefined],
        ['Both', undefined],
        ['Mine', 'On the shelf.'],
      ])
      const after = await partsAfter(id, async () => {
        await new Promise((resolve) => setTimeout(resolve, 5))
        const book = { extensions: {}, entries: [entry('Mine', 'Another text.')] }
        await troupe.request('PATCH', '/troupe/api/lorebooks/beside-shelved', { body: { book } })
      })
      expect(lore(after)).toContainEqual(['Mine', undefined])
    })

    test('of texts that ask for more than names', async () => {
      const id = await troupe.importCard({
        ...{
          name: 'Boxed',
          description: '{{char}} has {{outlet::box}}.',
          scenario: '{{char}} meets {{user}}.',
        },
      })
      const filled = entry('Box', 'a rope', {
        constant: true,
        extensions: { position: 7, outlet_name: 'box' },
      })
      await shelve('Beside Boxed', [filled], id)
      const parts = await partsAfter(id)
      const textOf = (wanted: string) => parts.find(({ kind }) => kind === wanted)?.text
      expect(textOf('persona')).toBe('{{char}} has {{outlet::box}}.')
      expect(textOf('scenario')).toContain('Boxed meets User.')
    })
  })
})
