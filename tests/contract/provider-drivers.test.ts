/** What each driver does in its own way; what they have in common is in `providers.ts`. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import { afterEach, describe, expect, test } from 'vitest'

import { drivers, openProvider, type ProviderKind } from '#providers/index.ts'
import type { Delta, ModelCall, ModelMaker, Provider, ProviderOptions } from '#providers/provider.ts'

import { type FakePull, openFakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { createGate, FAKE_MODEL, type FakeServer } from '../support/fake-server.ts'
import { allOf, textOf } from '../support/replay.ts'

const CALL: ModelCall = {
  model: FAKE_MODEL.name,
  messages: [{ role: 'user', content: [{ type: 'text', text: 'Hello' }] }],
  stream: true,
  sampling: {},
  contextTokens: 2_048,
  maxTokens: 50,
  keepTokens: 0,
  tools: [],
  extra: {},
}

const toClose: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(toClose.splice(0).map((close) => close()))
})

function closing<T extends { close(): Promise<unknown> }>(thing: T): T {
  toClose.push(() => thing.close())
  return thing
}

async function open(
  kind: ProviderKind,
  baseUrl: string,
  over: Partial<ProviderOptions> = {},
): Promise<Provider> {
  const limits = { connectTimeoutMs: 1_000, headersTimeoutMs: 5_000, idleTimeoutMs: 5_000 }
  return closing(await openProvider(kind, { baseUrl, ...limits, ...over }))
}

const quiet = (): AbortSignal => new AbortController().signal
const ask = (provider: Provider, over: Partial<ModelCall> = {}): Promise<Delta[]> =>
  allOf(provider.stream({ ...CALL, ...over }, quiet()))

/** A server that answers everything in one way. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  toClose.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`
}

test('every kind in the list opens', async () => {
  const address = new URL('http://127.0.0.1:9/v1')
  Object.assign(address, { username: 'user', password: 'secret' })
  for (const kind of Object.keys(drivers) as ProviderKind[]) {
    const provider = await open(kind, address.href)
    expect(provider).toMatchObject({ kind, name: 'http://127.0.0.1:9' })
  }
})

describe('ollama', () => {
  const THINKER = { name: 'thinker:7b', contextTokens: 32_768, capabilities: ['completion', 'thinking'] }
  const EMBEDDER = { name: 'embedder:latest', contextTokens: 512, capabilities: ['embedding'] }

  test('describes each model once, and again when it changed', async () => {
    const models = [FAKE_MODEL, THINKER, EMBEDDER]
    const server = closing(await openFakeOllama({ models }))
    const provider = await open('ollama', server.origin)
    const list = await provider.models(quiet())
    expect(list).toEqual([
      { name: 'fake:1b', chats: true, contextTokens: 4_096, sees: false, usesTools: true, parallel: 4 },
      { name: 'thinker:7b', chats: true, contextTokens: 32_768, sees: false, usesTools: false, parallel: 4 },
      {
        name: 'embedder:latest',
        chats: false,
        contextTokens: 512,
        sees: false,
        usesTools: false,
        parallel: 4,
      },
    ])
    expect(await provider.models(quiet())).toEqual(list)
    await ask(provider)
    expect(server.requests.filter(({ path }) => path === '/api/show')).toHaveLength(3)
  })

  test('lists a model that it cannot describe', async () => {
    const origin = await serve((request, response) => {
      if (request.url === '/api/tags') return response.end(JSON.stringify({ models: [{ name: 'old:1b' }] }))
      return response.writeHead(500).end()
    })
    expect(await (await open('ollama', origin)).models(quiet())).toEqual([
      { name: 'old:1b', chats: true, parallel: 4 },
    ])
  })

  test('asks for no more than four descriptions at the same time', async () => {
    const models = Array.from({ length: 12 }, (_, place) => ({ ...FAKE_MODEL, name: `model-${place}` }))
    let running = 0
    let most = 0
    const answers = createGate()
    const origin = await serve((request, response) => {
      if (request.url === '/api/tags') {
        response.end(JSON.stringify({ models }))
        return
      }
      running += 1
      most = Math.max(most, running)
      void answers.pass().then(() => {
        running -= 1
        response.end('{}')
      })
    })
    const listing = (await open('ollama', origin)).models(quiet())
    await expect.poll(() => running).toBe(4)
    // Time for a fifth, which must not come before one of the four is answered.
    await sleep(50)
    answers.open()
    expect(await listing).toHaveLength(12)
    expect(most).toBe(4)
  })

  test('tells only a model that can think not to', async () => {
    const server = closing(await openFakeOllama({ models: [FAKE_MODEL, THINKER] }))
    const provider = await open('ollama', server.origin)
    await ask(provider, { model: 'thinker:7b' })
    await ask(provider)
    expect(server.chats().map(({ body }) => body['think'])).toEqual([false, undefined])
  })

  test('one window for all calls is one load', async () => {
    const server = closing(await openFakeOllama())
    const provider = await open('ollama', server.origin)
    for (const maxTokens of [1, 2, 3]) await ask(provider, { maxTokens })
    expect(server.loads()).toBe(1)
    await ask(provider, { contextTokens: 1_024 })
    expect(server.loads()).toBe(2)
  })

  describe('a pull', () => {
    const WEIGHTS = { digest: `sha256:${'a'.repeat(64)}`, totalBytes: 1_000, stepBytes: 250 }
    const TEMPLATE = { digest: `sha256:${'b'.repeat(64)}`, totalBytes: 24 }

    function makerOf({ maker }: Provider): ModelMaker {
      if (maker === undefined) throw new Error('Ollama pulls models')
      return maker
    }

    async function openPull(name: string, pull?: FakePull) {
      const server = closing(await openFakeOllama())
      if (pull !== undefined) server.offer(name, pull)
      const provider = await open('ollama', server.origin)
      const maker = makerOf(provider)
      return { server, provider, start: (signal = quiet()) => maker.pull(name, signal) }
    }

    test('counts the bytes of all layers as one number, which never falls', async () => {
      const { provider, start } = await openPull('big:1b', { layers: [WEIGHTS, TEMPLATE] })
      const seen = await allOf(start())
      const counts = seen.map(({ completedBytes, totalBytes }) => [completedBytes, totalBytes])
      expect(counts).toEqual([
        ...[[0, 0], ...[0, 250, 500, 750].map((bytes) => [bytes, 1_000]), [750, 1_024]],
        ...[1, 2, 3].map(() => [1_024, 1_024]),
      ])
      expect(seen.at(-1)?.status).toBe('success')
      expect((await provider.models(quiet())).map(({ name }) => name)).toContain('big:1b')
    })

    test('that is left closes its connection at once, and goes on from there when it is asked for again', async () => {
      const beforeStep = createGate()
      const { server, start } = await openPull('slow:1b', { layers: [{ ...WEIGHTS, beforeStep }] })
      const leaving = new AbortController()
      const progress = start(leaving.signal)
      beforeStep.open(2)
      for await (const { completedBytes } of progress) {
        if (completedBytes !== 500) continue
        leaving.abort()
        break
      }
      await expect.poll(() => server.requests.at(-1)?.wasAborted, { interval: 5 }).toBe(true)
      beforeStep.open()
      const rest = await allOf(start())
      expect(rest.map(({ completedBytes }) => completedBytes)).toEqual([0, 500, 750, 1_000, 1_000, 1_000])
    })

    test('that waits hears the caller', async () => {
      const { start } = await openPull('slow:1b', { layers: [{ ...WEIGHTS, beforeStep: createGate() }] })
      const leaving = new AbortController()
      const progress = allOf(start(leaving.signal))
      setTimeout(() => leaving.abort(), 20)
      await expect(progress).rejects.toMatchObject({ code: 'cancelled' })
    })

    const DIAL = 'Get "https://registry.ollama.ai/v2/": dial tcp: lookup registry.ollama.ai: no such host'
    test.each<[string, FakePull | undefined, string, RegExp]>([
      ['a name that nobody has', undefined, 'model_not_found', /has no model "x:1b"; look for/],
      [
        'a registry out of reach',
        { error: `pull model manifest: ${DIAL}` },
        'upstream',
        /^Ollama at http:\S+ cannot reach the registry for "x:1b"; look at its network/,
      ],
      [
        'a model for a newer Ollama',
        { error: 'pull model manifest: 412: requires a newer version of Ollama' },
        'upstream',
        /could not pull "x:1b": .*newer version/,
      ],
      [
        'a layer that breaks',
        { layers: [TEMPLATE], brokenAfter: 'digest mismatch' },
        'upstream',
        /digest mismatch/,
      ],
    ])('%s is told in a sentence', async (_name, pull, code, message) => {
      const { start } = await openPull('x:1b', pull)
      await expect(allOf(start())).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
    })

    test.each([
      ['an end without a last word', '{"status":"pulling manifest"}\n', /ended in the middle of a pull/],
      ['nonsense', 'so far so good\n', /no progress/],
    ])('%s is a failure', async (_name, body, message) => {
      const origin = await serve((_request, response) => {
        response.writeHead(200, { 'content-type': 'application/x-ndjson' }).end(body)
      })
      const maker = makerOf(await open('ollama', origin))
      await expect(allOf(maker.pull('x', quiet()))).rejects.toMatchObject({
        code: 'upstream',
        message: expect.stringMatching(message),
      })
    })
  })

  test('a login in the address is sent, and never shown', async () => {
    const server = closing(await openFakeOllama())
    const provider = await open('ollama', server.origin.replace('//', '//mira:p%40ss@'))
    await ask(provider)
    expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(
      Array.from({ length: 2 }, () => `Basic ${Buffer.from('mira:p@ss').toString('base64')}`),
    )
    expect(provider.name).toBe(server.origin)
  })

  test('a path in the address is kept', async () => {
    const paths: (string | undefined)[] = []
    const origin = await serve((request, response) => {
      paths.push(request.url)
      response.end('{"models":[]}')
    })
    await (await open('ollama', `${origin}/ollama/`)).models(quiet())
    expect(paths).toEqual(['/ollama/api/tags'])
  })
})

describe('openai', () => {
  test('the key is sent, and a refused one names the variable', async () => {
    const server = closing(await openFakeOpenAi({ apiKey: 'right' }))
    expect(await ask(await open('openai', server.url, { apiKey: 'right' }))).not.toHaveLength(0)
    const provider = await open('openai', server.url, { apiKey: 'wrong' })
    for (const work of [() => ask(provider), () => provider.models(quiet())]) {
      await expect(work()).rejects.toMatchObject({
        code: 'upstream',
        message: expect.stringContaining('OPENAI_API_KEYS'),
      })
    }
  })

  test.each([
    ['vLLM', { id: 'a', max_model_len: 8_192 }, { name: 'a', chats: true, contextTokens: 8_192 }],
    ['LM Studio', { id: 'a', owned_by: 'organization_owner' }, { name: 'a', chats: true }],
    [
      'an older llama.cpp',
      { id: 'a', owned_by: 'llamacpp', meta: { n_ctx_train: 8_192 } },
      { name: 'a', chats: true, contextTokens: 1_024, parallel: 4 },
    ],
    ['a model that embeds', { id: 'text-embedding-nomic' }, { name: 'text-embedding-nomic', chats: false }],
  ])('reads the list of %s', async (_name, row, model) => {
    const origin = await serve((request, response) => {
      if (request.url === '/v1/models') return response.end(JSON.stringify({ data: [row] }))
      return response.end(JSON.stringify({ default_generation_settings: { n_ctx: 1_024 }, total_slots: 4 }))
    })
    expect(await (await open('openai', `${origin}/v1/`)).models(quiet())).toEqual([model])
  })

  test.each([true, false])('a llama.cpp says whether its model sees: %s', async (vision) => {
    const origin = await serve((request, response) => {
      const answer =
        request.url === '/v1/models'
          ? { data: [{ id: 'a', owned_by: 'llamacpp' }] }
          : { default_generation_settings: { n_ctx: 1_024 }, modalities: { vision, audio: false } }
      response.end(JSON.stringify(answer))
    })
    expect(await (await open('openai', `${origin}/v1`)).models(quiet())).toMatchObject([{ sees: vision }])
  })

  test('a llama.cpp that serves several models is not asked for the window of one, which would load it', async () => {
    const paths: (string | undefined)[] = []
    const row = { owned_by: 'llamacpp', meta: { n_ctx: 2_048, n_ctx_train: 8_192 } }
    const origin = await serve((request, response) => {
      paths.push(request.url)
      response.end(
        JSON.stringify({
          data: [
            { id: 'a', ...row },
            { id: 'b', ...row },
          ],
        }),
      )
    })
    const models = await (await open('openai', `${origin}/v1`)).models(quiet())
    expect(models.map(({ contextTokens }) => contextTokens)).toEqual([2_048, 2_048])
    expect(paths).toEqual(['/v1/models'])
  })

  test('an address without /v1 is taken as it is', async () => {
    const paths: (string | undefined)[] = []
    const origin = await serve((request, response) => {
      paths.push(request.url)
      response.end('{"data":[]}')
    })
    await (await open('openai', `${origin}/api`)).models(quiet())
    expect(paths).toEqual(['/api/models'])
  })

  test.each([
    ['a page of a proxy', 'text/html', '<html>'],
    ['an answer in one piece', 'application/json', '{"choices":[]}'],
  ])('%s is not mistaken for an answer that broke off', async (_name, type, body) => {
    const origin = await serve((_request, response) =>
      response.writeHead(200, { 'content-type': type }).end(body),
    )
    const provider = await open('openai', `${origin}/v1`)
    await expect(ask(provider)).rejects.toMatchObject({
      code: 'upstream',
      message: expect.stringContaining(type),
    })
    await expect(provider.models(quiet())).rejects.toMatchObject({ code: 'upstream' })
  })

  test('a server that talks on behind its last word cannot hold the caller', async () => {
    const origin = await serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(
        'data: {"choices":[{"delta":{"content":"Hm"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n',
      )
    })
    const sinceMs = performance.now()
    const deltas = await ask(await open('openai', `${origin}/v1`))
    expect(deltas.map(({ type }) => type)).toEqual(['text', 'done'])
    expect(performance.now() - sinceMs).toBeLessThan(1_000)
  })
})

describe.each([
  ['ollama', async () => closing(await openFakeOllama())],
  ['openai', async () => closing(await openFakeOpenAi())],
] as const)('%s, with a server that misbehaves', (kind, openServer) => {
  async function both(over: Partial<ProviderOptions> = {}) {
    const server = await openServer()
    const url = 'url' in server ? server.url : server.origin
    return { server, provider: await open(kind, url, over) }
  }

  test.each([
    ['dies', { dieAfter: 2 }, 'closed the connection in the middle of an answer'],
    ['ends without a last word', { endAfter: 2 }, 'ended in the middle of an answer'],
    ['reports an error', { failAfter: { chunks: 2, error: 'out of memory' } }, 'out of memory'],
  ])('a server that %s in mid answer leaves what it said, and an error', async (_name, script, message) => {
    const { server, provider } = await both()
    server.enqueue({ chunks: ['Good ', 'evening', '!'], ...script })
    const deltas: Delta[] = []
    const work = (async () => {
      for await (const delta of provider.stream(CALL, quiet())) deltas.push(delta)
    })()
    await expect(work).rejects.toMatchObject({ code: 'upstream', message: expect.stringContaining(message) })
    expect(textOf(deltas)).toBe('Good evening')
  })

  test.each([
    [429, 'unavailable'],
    [500, 'upstream'],
    [503, 'unavailable'],
  ])('status %i is %s, and the connection serves on', async (status, code) => {
    const { server, provider } = await both()
    server.enqueue({ status, error: 'busy with something else' })
    await expect(ask(provider)).rejects.toMatchObject({
      code,
      message: expect.stringContaining('busy with something else'),
    })
    expect((await ask(provider)).at(-1)).toMatchObject({ type: 'done' })
  })

  test('words are handed out as they come', async () => {
    const { server, provider } = await both()
    const beforeChunk = createGate()
    server.enqueue({ chunks: ['one', 'two'], beforeChunk })
    const answer = provider.stream(CALL, quiet())
    const first = answer.next()
    beforeChunk.open(1)
    expect(await first).toMatchObject({ value: { type: 'text', text: 'one' } })
    beforeChunk.open()
    expect(await answer.next()).toMatchObject({ value: { type: 'text', text: 'two' } })
    expect(await answer.next()).toMatchObject({ value: { type: 'done' } })
    expect(await answer.next()).toEqual({ done: true, value: undefined })
  })

  test('a reader that takes its time is not mistaken for a silent server', async () => {
    const { server, provider } = await both({ idleTimeoutMs: 1_000 })
    const beforeChunk = createGate()
    server.enqueue({ chunks: ['one', 'two', 'three'], beforeChunk })
    const answer = provider.stream(CALL, quiet())
    for (const text of ['one', 'two']) {
      beforeChunk.open(1)
      expect(await answer.next()).toMatchObject({ value: { text } })
    }
    await sleep(1_100)
    beforeChunk.open()
    expect(textOf(await allOf(answer))).toBe('three')
  })

  test('words that arrived already are not handed out once the call is cancelled', async () => {
    const bytes = await recordedAnswer(openServer, kind)
    const origin = await serve((request, response) => {
      if (!request.url?.includes('chat')) return response.writeHead(404).end()
      return response.writeHead(200, { 'content-type': bytes.type }).end(bytes.text)
    })
    const provider = await open(kind, `${origin}/v1`)
    const leaving = new AbortController()
    const answer = provider.stream(CALL, leaving.signal)
    expect(await answer.next()).toMatchObject({ value: { text: 'one' } })
    leaving.abort()
    await expect(answer.next()).rejects.toMatchObject({ code: 'cancelled' })
  })

  test('the server sees the client leave', async () => {
    const { server, provider } = await both()
    server.enqueue({ chunks: ['one', 'two'], stallAfter: 1 })
    const leaving = new AbortController()
    const answer = provider.stream(CALL, leaving.signal)
    await answer.next()
    leaving.abort()
    await expect(answer.next()).rejects.toMatchObject({ code: 'cancelled' })
    await expect.poll(() => server.chats()[0]?.wasAborted, { interval: 2 }).toBe(true)
    await expect
      .poll(() => server.openConnections(), { interval: 2 })
      .toBeLessThanOrEqual(kind === 'ollama' ? 1 : 0)
  })

  test('a thought and tool calls come through whole', async () => {
    const { server, provider } = await both()
    const toolCalls = [
      { name: 'look', arguments: { far: true } },
      { name: 'wait', arguments: {} },
    ]
    server.enqueue({ reasoning: ['Hm. '], chunks: [], toolCalls })
    expect(await ask(provider)).toEqual([
      { type: 'reasoning', text: 'Hm. ' },
      {
        type: 'tool',
        index: 0,
        call: { id: expect.stringMatching(/^call_/), name: 'look', arguments: '{"far":true}' },
      },
      {
        type: 'tool',
        index: 1,
        call: { id: expect.stringMatching(/^call_/), name: 'wait', arguments: '{}' },
      },
      expect.objectContaining({ type: 'done', reason: 'tool_calls' }),
    ])
  })
})

/** A whole answer of three words, as bytes that a server may send at once. */
async function recordedAnswer(openServer: () => Promise<FakeServer>, kind: ProviderKind) {
  const server = await openServer()
  server.enqueue({ chunks: ['one', 'two', 'three'] })
  const answer = await fetch(`${server.origin}${kind === 'ollama' ? '/api/chat' : '/v1/chat/completions'}`, {
    method: 'POST',
    body: JSON.stringify({ model: FAKE_MODEL.name, messages: [], stream: true }),
  })
  return { type: answer.headers.get('content-type') ?? '', text: await answer.text() }
}

test('the fake Ollama drops messages silently unless it is told not to, as the real one does', async () => {
  const server = closing(await openFakeOllama())
  const message = { role: 'user', content: 'wave '.repeat(400) }
  const body = {
    model: FAKE_MODEL.name,
    messages: Array.from({ length: 4 }, () => message),
    options: { num_ctx: 1_024, num_predict: 1 },
  }
  const post = (more: object) =>
    fetch(`${server.origin}/api/chat`, { method: 'POST', body: JSON.stringify({ ...body, ...more }) })
  expect((await post({})).status).toBe(200)
  expect((await post({ truncate: false })).status).toBe(400)
  expect(server.chats().map(({ droppedMessages }) => droppedMessages)).toEqual([2, 0])
})
