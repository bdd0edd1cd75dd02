/** The drivers over the real thing: the contract of all providers, and what only a real model server can show. */
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { LOAD_MS } from '#analytics/loads.ts'
import { drivers, type ProviderKind } from '#providers/index.ts'
import ollama from '#providers/ollama.ts'
import openai from '#providers/openai.ts'
import type { Delta, ModelCall, Provider } from '#providers/provider.ts'

import { EMBEDDED_MODEL, embeddedModelFile, startModelServer } from '../../scripts/setup/model-server.mjs'
import { startOllama } from '../../scripts/setup/ollama.mjs'
import { providerSuite, type Traits } from '../contract/providers.ts'
import { allOf, textOf } from '../support/replay.ts'

const LIMITS = { connectTimeoutMs: 2_000, headersTimeoutMs: 120_000, idleTimeoutMs: 120_000 }
const WINDOW = 2_048
/** That of one slot, as `scripts/model_server.py` starts it. */
const LLAMA_WINDOW = 8_192

let root: string
let llama: Awaited<ReturnType<typeof startModelServer>>
let realOllama: Awaited<ReturnType<typeof startOllama>>
const ollamaLog = () => path.join(root, 'ollama.log')

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'troupe-providers-'))
  llama = await startModelServer({ logFile: path.join(root, 'llama.log') })
  realOllama = await startOllama({ dataDir: path.join(root, 'ollama'), logFile: ollamaLog() })
})
afterAll(async () => {
  await Promise.all([llama.stop(), realOllama.stop()])
  await rm(root, { recursive: true, force: true })
})

const started = (baseUrl: string) => Promise.resolve({ baseUrl, close: () => Promise.resolve() })

/** A kind without a real server does not compile. */
const REAL = {
  ollama: {
    traits: {
      countsTokens: false,
      embeds: true,
      model: EMBEDDED_MODEL,
      contextTokens: WINDOW,
      missingModel: 'nobody:1b',
      keepsConnections: true,
      tellsTimings: true,
    },
    url: () => realOllama.url,
  },
  openai: {
    traits: {
      countsTokens: true,
      embeds: false,
      model: EMBEDDED_MODEL,
      contextTokens: LLAMA_WINDOW,
      keepsConnections: false,
      tellsTimings: true,
    },
    url: () => `${llama.url}/v1`,
  },
} satisfies Record<ProviderKind, { traits: Omit<Traits, 'driver'>; url: () => string }>

for (const kind of Object.keys(drivers) as ProviderKind[]) {
  const { default: driver } = await drivers[kind]()
  const { traits, url } = REAL[kind]
  providerSuite(`${kind}, a real server`, { ...traits, driver }, () => started(url()))
}

const CALL: ModelCall = {
  model: EMBEDDED_MODEL,
  messages: [],
  stream: true,
  sampling: { temperature: 0, seed: 1 },
  contextTokens: WINDOW,
  maxTokens: 24,
  keepTokens: 0,
  tools: [],
  extra: {},
}
const user = (text: string) => ({ role: 'user' as const, content: [{ type: 'text' as const, text }] })
const PERSONA = {
  role: 'system' as const,
  text: Array.from({ length: 40 }, (_, place) => `Rule ${String(place)}: the lamp is lit before dusk.`).join(
    ' ',
  ),
}

/** Opens a provider, asks once, closes it. */
async function ask(provider: Provider, over: Partial<ModelCall>): Promise<Delta[]> {
  return allOf(provider.stream({ ...CALL, ...over }, new AbortController().signal))
}

/** Leaves an endless answer after the first words. */
async function leaveEarly(provider: Provider): Promise<void> {
  const leaving = new AbortController()
  const messages = [user('Tell me a very long story.')]
  const answer = provider.stream(
    { ...CALL, messages, maxTokens: 1_500, extra: { ignore_eos: true } },
    leaving.signal,
  )
  await answer.next()
  leaving.abort()
  await expect(allOf(answer)).rejects.toMatchObject({ code: 'cancelled' })
}

const doneOf = (deltas: readonly Delta[]) => deltas.find((delta) => delta.type === 'done')

describe('a real llama.cpp', () => {
  const provider = () => openai.open({ baseUrl: `${llama.url}/v1`, ...LIMITS })

  async function metric(name: string): Promise<number> {
    const text = await (await fetch(`${llama.url}/metrics`)).text()
    return Number(new RegExp(`^llamacpp:${name} (.*)$`, 'm').exec(text)?.[1])
  }

  test('says how much of a second turn it knew already', async () => {
    const server = provider()
    const first = [PERSONA, user('Who lights the lamp?')]
    const cold = await ask(server, { messages: first })
    const second = [...first, { role: 'assistant' as const, text: textOf(cold) }, user('And when?')]
    const usage = doneOf(await ask(server, { messages: second }))?.usage
    const known = doneOf(cold)?.usage?.promptTokens ?? 0
    expect(known).toBeGreaterThan(300)
    // The last tokens of a prompt are read again, since the answer starts from them.
    expect(usage?.cachedTokens).toBeGreaterThanOrEqual(known - 8)
    expect(usage?.promptTokens).toBeGreaterThan(known)
    await server.close()
  })

  test('stops to work when the answer is not wanted any more', async () => {
    const server = provider()
    const before = await metric('tokens_predicted_total')
    await leaveEarly(server)
    await expect.poll(() => metric('requests_processing'), { timeout: 10_000, interval: 20 }).toBe(0)
    expect((await metric('tokens_predicted_total')) - before).toBeLessThan(1_000)
    await server.close()
  })
})

describe('a real Ollama', () => {
  const provider = () => ollama.open({ baseUrl: realOllama.url, ...LIMITS })

  async function post(route: string, body: object): Promise<unknown> {
    const answer = await fetch(`${realOllama.url}${route}`, { method: 'POST', body: JSON.stringify(body) })
    return answer.json()
  }

  /** The same weights with another template, from which Ollama concludes what the model can do. */
  const derive = (model: string, template: string) =>
    post('/api/create', { model, from: EMBEDDED_MODEL, template, stream: false })

  test('has the window that was asked for', async () => {
    const server = provider()
    await ask(server, { messages: [user('Hello')], contextTokens: 1_024 })
    const [loaded] = (await server.loaded?.(new AbortController().signal)) ?? []
    expect(loaded).toMatchObject({ name: EMBEDDED_MODEL, contextTokens: 1_024, gpuBytes: 0 })
    expect(loaded?.sizeBytes).toBeGreaterThan(100 * 1_048_576)
    expect(loaded?.untilMs).toBeGreaterThan(Date.now())
    await server.close()
  })

  test('loads the model once for all calls with the same window', async () => {
    const server = provider()
    const loads = async () =>
      (await readFile(ollamaLog(), 'utf8')).match(/msg="loaded runners"/g)?.length ?? 0
    await ask(server, { messages: [user('Hello')] })
    const before = await loads()
    await ask(server, {
      messages: [PERSONA, user('Hello')],
      maxTokens: 3,
      keepTokens: 100,
      sampling: { topK: 3 },
    })
    expect(await loads()).toBe(before)
    await ask(server, { messages: [user('Hello')], contextTokens: 1_024 })
    expect(await loads()).toBe(before + 1)
    await server.close()
  })

  test('tells a load of a model from a model that is loaded', async () => {
    const server = provider()
    const loadMs = async (contextTokens: number) => {
      const last = (await ask(server, { messages: [user('Hello')], contextTokens })).at(-1)
      return last?.type === 'done' ? (last.timings?.loadMs ?? 0) : 0
    }
    await loadMs(2_048)
    expect(await loadMs(1_024)).toBeGreaterThanOrEqual(LOAD_MS)
    // The machine may be busy for a moment; a model that is loaded anew takes long each time.
    const again = [await loadMs(1_024), await loadMs(1_024), await loadMs(1_024)]
    expect(Math.min(...again)).toBeLessThan(LOAD_MS)
    await server.close()
  })

  test('stops to work when the answer is not wanted any more', async () => {
    const server = provider()
    await leaveEarly(server)
    const sinceMs = performance.now()
    // One slot: the next answer can only begin once the last one is over.
    await ask(server, { messages: [user('Hello')], maxTokens: 1 })
    expect(performance.now() - sinceMs).toBeLessThan(20_000)
    await server.close()
  })

  test('takes a tool call back as it gave it', async () => {
    await derive(
      'with-tools',
      [
        '{{- if .Tools }}<|im_start|>system\n{{ .Tools }}\nAnswer with {"name": <name>, "parameters": <object>}<|im_end|>\n{{ end }}',
        '{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}',
        '{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}<|im_end|>\n',
        '{{ end }}<|im_start|>assistant\n',
      ].join(''),
    )
    const server = provider()
    const spec = {
      type: 'function',
      function: { name: 'look', parameters: { type: 'object', properties: { at: { type: 'string' } } } },
    }
    // A model this small calls nothing by itself; the grammar makes it.
    const parameters = {
      type: 'object',
      properties: { at: { type: 'string', enum: ['Zürich 🌊'] } },
      required: ['at'],
    }
    const schema = {
      type: 'object',
      properties: { name: { type: 'string', enum: ['look'] }, parameters },
      required: ['name', 'parameters'],
    }
    const call = { model: 'with-tools', tools: [{ name: 'look', spec }], maxTokens: 80 }
    const question = user('Look around.')
    const deltas = await ask(server, {
      ...call,
      messages: [question],
      responseFormat: { type: 'json_schema', json_schema: { schema } },
    })
    const toolCalls = deltas.flatMap((delta) => (delta.type === 'tool' ? [delta.call] : []))
    expect(toolCalls).toMatchObject([{ name: 'look', arguments: '{"at":"Zürich 🌊"}' }])
    expect(doneOf(deltas)?.reason).toBe('tool_calls')

    const answers = toolCalls.map(({ id }) => ({ role: 'tool' as const, text: 'fog', toolCallId: id }))
    const messages = [question, { role: 'assistant' as const, text: '', toolCalls }, ...answers]
    expect(doneOf(await ask(server, { ...call, messages, tools: [] }))).toBeDefined()
    await server.close()
  })

  test('makes a model from another one and from a file, and both can be asked', async () => {
    const server = provider()
    const { maker } = server
    if (maker === undefined) throw new Error('Ollama makes models')
    const signal = new AbortController().signal
    await maker.make({ name: 'terse', from: EMBEDDED_MODEL, parameters: { num_predict: 5 } }, signal)
    expect(
      doneOf(await ask(server, { model: 'terse', messages: [user('Hello')], maxTokens: 3 })),
    ).toBeDefined()

    const gguf = await readFile(await embeddedModelFile())
    const digest = `sha256:${createHash('sha256').update(gguf).digest('hex')}`
    // The bytes are there already under this digest, from the installation: another file shows the upload.
    const note = Buffer.from('not yet there')
    const noteDigest = `sha256:${createHash('sha256').update(note).digest('hex')}`
    expect(await maker.has(noteDigest, signal)).toBe(false)
    await maker.put(noteDigest, Readable.from([note]), note.length, signal)
    expect(await maker.has(noteDigest, signal)).toBe(true)
    await expect(
      maker.put(noteDigest.replace(/.$/, '0'), Readable.from([note]), note.length, signal),
    ).rejects.toThrow()

    if (!(await maker.has(digest, signal)))
      await maker.put(digest, Readable.from([gguf]), gguf.length, signal)
    await maker.make({ name: 'from-file', files: { 'model.gguf': digest } }, signal)
    expect(
      doneOf(await ask(server, { model: 'from-file', messages: [user('Hello')], maxTokens: 3 })),
    ).toBeDefined()
    await expect(maker.make({ name: 'x', from: 'nobody:1b' }, signal)).rejects.toMatchObject({
      name: 'AppError',
    })
    await server.close()
  })

  test('that cannot reach its registry says so in one sentence', async () => {
    const server = provider()
    const { maker } = server
    // Nothing listens on the port of this registry, so the test is the same with and without a network.
    const pull = maker?.pull('127.0.0.1:9/library/smollm2:135m', new AbortController().signal)
    if (pull === undefined) throw new Error('Ollama pulls models')
    await expect(allOf(pull)).rejects.toMatchObject({
      code: 'upstream',
      message: expect.stringMatching(/^Ollama at \S+ cannot reach the registry for "\S+"; [^\n.]+$/),
    })
    await server.close()
  })

  test('lets a model that can think be told not to', async () => {
    await derive(
      'thinker',
      '{{ range .Messages }}<think>{{ .Thinking }}</think>{{ .Content }}{{ end }}<think>',
    )
    const server = provider()
    const deltas = await ask(server, { model: 'thinker', messages: [user('Hello')], maxTokens: 4 })
    expect(deltas.filter((delta) => delta.type === 'reasoning')).toEqual([])
    expect(doneOf(deltas)).toBeDefined()
    await server.close()
  })
})

// The last one, since nobody is left to ask afterwards.
test('a real server that is stopped in mid answer breaks the answer, and says so', async () => {
  const server = openai.open({ baseUrl: `${llama.url}/v1`, ...LIMITS })
  const messages = [user('Tell me a very long story.')]
  const answer = server.stream(
    { ...CALL, messages, maxTokens: 3_000, extra: { ignore_eos: true } },
    new AbortController().signal,
  )
  await answer.next()
  const rest = allOf(answer)
  const stopped = llama.stop()
  await expect(rest).rejects.toMatchObject({
    code: 'upstream',
    message: expect.stringContaining('in the middle of an answer'),
  })
  await stopped
  await server.close()
})
