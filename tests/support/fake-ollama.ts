/**
 * An Ollama without a model, as strict as the real one (0.17.4) in what Troupe relies on: it refuses a prompt that is too long if told
 * `truncate: false` and drops messages otherwise, counts a load whenever `num_ctx` changes, and does not know every model.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { ServerResponse } from 'node:http'

import {
  type Dialect,
  FAKE_MODEL,
  type FakeModel,
  type FakeServer,
  type FakeServerOptions,
  fakeVector,
  type Figures,
  type Gate,
  openFakeServer,
  play,
  type ReceivedRequest,
  send,
  type Script,
  tokensOf,
} from './fake-server.ts'

/** What the registry has of a model; all of it at once unless told otherwise. */
export interface FakeLayer {
  digest: string
  totalBytes: number
  /** Bytes of each report on the way; the whole layer in one by default. */
  stepBytes?: number
  /** Waits here before each report. */
  beforeStep?: Gate
}

export type FakePull = { layers: readonly FakeLayer[]; brokenAfter?: string } | { error: string }

export interface FakeOllama extends FakeServer {
  /** What a pull of this name finds; every other name is one that the registry does not have. */
  offer(name: string, pull: FakePull): void
  /** How often a model had to be loaded: at its first request, and again for each other `num_ctx`. */
  loads(): number
}

interface OllamaMessage {
  role: string
  content?: string
}

/** Ollama's own default window on a small machine. */
const DEFAULT_WINDOW = 4_096

/** What it says that a load took, and that it took to find a model loaded; it does not really wait. */
const LOAD_NS = 700_000_000
const READY_NS = 1_000_000

export async function openFakeOllama(options: FakeServerOptions = {}): Promise<FakeOllama> {
  const models = [...(options.models ?? [FAKE_MODEL])]
  const windows = new Map<string, number>()
  let loads = 0

  function load(model: FakeModel, wanted: number) {
    const window = Math.min(wanted, model.contextTokens)
    const isNew = windows.get(model.name) !== window
    if (isNew) loads += 1
    windows.set(model.name, window)
    return { window, loadNs: isNew ? LOAD_NS : READY_NS }
  }

  async function chat(
    request: ReceivedRequest,
    response: ServerResponse,
    next: () => Script,
  ): Promise<unknown> {
    const body = request.body as {
      model: string
      messages?: OllamaMessage[]
      truncate?: boolean
      options?: Record<string, unknown>
    }
    const model = models.find(({ name }) => name === body.model)
    if (model === undefined) return send(response, 404, refusal(`model '${body.model}' not found`))
    if (request.body.tools !== undefined && !model.capabilities.includes('tools')) {
      return send(response, 400, refusal(`registry.ollama.ai/library/${model.name} does not support tools`))
    }
    if (request.body.think === true && !model.capabilities.includes('thinking')) {
      return send(response, 400, refusal(`"${model.name}" does not support thinking`))
    }
    const settings = body.options ?? {}
    const { window, loadNs } = load(model, Number(settings.num_ctx ?? DEFAULT_WINDOW))
    const said = body.messages ?? [{ role: 'user', content: String(request.body.prompt) }]
    const messages = body.truncate === false ? said : fitting(said, window)
    request.droppedMessages = said.length - messages.length
    const promptTokens = count(messages)
    if (promptTokens > window)
      return send(response, 400, refusal('the input length exceeds the context length'))
    const wish = {
      promptTokens,
      maxTokens: positive(settings.num_predict),
      stop: (settings.stop as string[] | undefined) ?? [],
      isWhole: request.body.stream === false,
      schema: request.body.format === 'json' ? {} : request.body.format,
    }
    await play(next(), wish, response, dialectOf(model.name, body.messages === undefined, loadNs))
  }

  function embed({ body }: ReceivedRequest, response: ServerResponse) {
    const texts = [body.input].flat() as string[]
    const model = models.find(({ name }) => name === body.model)
    if (model === undefined) return send(response, 404, refusal(`model '${String(body.model)}' not found`))
    const settings = (body.options ?? {}) as Record<string, unknown>
    const { window, loadNs } = load(model, Number(settings.num_ctx ?? DEFAULT_WINDOW))
    // Without being told not to, the real one cuts what is too long and says nothing.
    if (body.truncate === false && texts.some((text) => tokensOf(text) > window))
      return send(response, 400, refusal('the input length exceeds the context length'))
    const embeddings = texts.map((text) =>
      fakeVector(text.slice(0, window * 4), body.dimensions as number | undefined),
    )
    const promptTokens = texts.reduce((sum, text) => sum + tokensOf(text), 0)
    const figures = { prompt_eval_count: promptTokens, load_duration: loadNs }
    return answer(response, { model: model.name, embeddings, ...figures })
  }

  const blobs = new Set<string>()

  function receiveBlob({ method, bytes }: ReceivedRequest, response: ServerResponse, digest: string) {
    if (method === 'HEAD') return response.writeHead(blobs.has(digest) ? 200 : 404).end()
    const found = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    if (found !== digest) return send(response, 400, refusal('digest mismatch, expected ' + digest))
    blobs.add(digest)
    return response.writeHead(201).end()
  }

  function create({ body }: ReceivedRequest, response: ServerResponse) {
    const files = Object.values<string>({ ...(body.files as object), ...(body.adapters as object) })
    const base = models.find(({ name }) => name === body.from)
    if (files.some((digest) => !blobs.has(digest))) return send(response, 400, refusal('invalid digest'))
    if (body.files === undefined && base === undefined)
      return send(response, 404, refusal(`model '${String(body.from)}' not found`))
    models.push({
      ...(base ?? FAKE_MODEL),
      name: `${String(body.model)}:latest`.replace(/(:.+):latest$/, '$1'),
    })
    return answer(response, { status: 'success' })
  }

  const offers = new Map<string, FakePull>()
  /** Bytes that are here already, by digest: they stay when a pull is left, as Ollama keeps them. */
  const pulled = new Map<string, number>()

  /** One layer after the other; as the real one, without a last report that a layer is whole. */
  async function pull({ body }: ReceivedRequest, response: ServerResponse): Promise<unknown> {
    const name = String(body.model)
    const offer = offers.get(name) ?? { error: 'pull model manifest: file does not exist' }
    response.writeHead(200, { 'content-type': 'application/x-ndjson' })
    const tell = (line: object) => response.write(`${JSON.stringify(line)}\n`)
    tell({ status: 'pulling manifest' })
    if ('error' in offer) return response.end(`${refusal(offer.error)}\n`)
    for (const { digest, totalBytes, stepBytes = totalBytes, beforeStep } of offer.layers) {
      const report = () =>
        tell({
          status: `pulling ${digest.slice(7, 19)}`,
          digest,
          total: totalBytes,
          completed: pulled.get(digest) ?? 0,
        })
      report()
      while ((pulled.get(digest) ?? 0) < totalBytes) {
        await beforeStep?.pass()
        if (response.destroyed) return undefined
        pulled.set(digest, Math.min(totalBytes, (pulled.get(digest) ?? 0) + stepBytes))
        if (pulled.get(digest) !== totalBytes) report()
      }
    }
    if (offer.brokenAfter !== undefined) return response.end(`${refusal(offer.brokenAfter)}\n`)
    for (const status of ['verifying sha256 digest', 'writing manifest', 'success']) tell({ status })
    models.push({ ...FAKE_MODEL, name })
    return response.end()
  }

  const server = await openFakeServer(options, (request, response, next) => {
    const [, digest] = /^\/api\/blobs\/(.+)$/.exec(request.path) ?? []
    if (digest !== undefined) return receiveBlob(request, response, digest)
    switch (request.path) {
      case '/api/version':
        return answer(response, { version: '0.17.4' })
      case '/api/tags':
        return answer(response, {
          models: models.map(({ name }) => ({ name, model: name, digest: `digest-of-${name}` })),
        })
      case '/api/ps':
        return answer(response, {
          models: [...windows].map(([name, window]) => ({
            ...{ name, model: name, size: 163_676_160, size_vram: 0, context_length: window },
            expires_at: '2026-11-28T12:00:00.123456789Z',
          })),
        })
      case '/api/show': {
        const model = models.find(({ name }) => name === request.body.model)
        if (model === undefined)
          return send(response, 404, refusal(`model '${String(request.body.model)}' not found`))
        const info = { 'general.architecture': 'fake', 'fake.context_length': model.contextTokens }
        return answer(response, { capabilities: model.capabilities, model_info: info })
      }
      case '/api/create':
        return create(request, response)
      case '/api/pull':
        return pull(request, response)
      case '/api/chat':
      case '/api/generate':
        return chat(request, response, next)
      case '/api/embed':
        return embed(request, response)
      default:
        return response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found')
    }
  })
  return {
    ...server,
    loads: () => loads,
    offer: (name, pull) => void offers.set(name, pull),
  }
}

/** The oldest messages go first; system messages and the last one stay, whatever it costs. */
function fitting(messages: OllamaMessage[], window: number): OllamaMessage[] {
  const kept = [...messages]
  while (count(kept) > window) {
    const oldest = kept.findIndex((message, place) => message.role !== 'system' && place < kept.length - 1)
    if (oldest === -1) return kept
    kept.splice(oldest, 1)
  }
  return kept
}

const count = (messages: readonly OllamaMessage[]): number =>
  tokensOf(messages.map(({ content }) => content ?? '').join(''))

/** Ollama's negative limits mean none. */
const positive = (limit: unknown): number | undefined =>
  typeof limit === 'number' && limit >= 0 ? limit : undefined

const refusal = (error: string): string => JSON.stringify({ error })

const answer = (response: ServerResponse, value: unknown): ServerResponse =>
  send(response, 200, JSON.stringify(value))

function dialectOf(model: string, isCompletion: boolean, loadNs: number): Dialect {
  const line = (rest: Record<string, unknown>): string =>
    `${JSON.stringify({ model, created_at: '2026-01-01T00:00:00.000000000Z', ...rest })}\n`
  const saying = (content: string, rest: Record<string, unknown> = {}) =>
    isCompletion ? { response: content, ...rest } : { message: { role: 'assistant', content, ...rest } }
  const last = ({ reason, promptTokens, completionTokens }: Figures) => ({
    done: true,
    // Ollama calls the end of a tool call a plain stop.
    done_reason: reason === 'length' ? 'length' : 'stop',
    total_duration: 9_000_000,
    load_duration: loadNs,
    prompt_eval_count: promptTokens,
    prompt_eval_duration: 2_000_000,
    eval_count: completionTokens,
    eval_duration: 6_000_000,
  })
  const callsOf = (calls: NonNullable<Script['toolCalls']>) => ({
    tool_calls: calls.map((call) => ({ id: randomUUID(), function: call })),
  })
  return {
    contentType: 'application/x-ndjson',
    refusal: (_status, error) => refusal(error),
    text: (piece, isReasoning) =>
      line({ ...(isReasoning ? saying('', { thinking: piece }) : saying(piece)), done: false }),
    tools: (calls) => line({ ...saying('', callsOf(calls)), done: false }),
    failure: (error) => `${refusal(error)}\n`,
    end: (figures) => line({ ...saying(''), ...last(figures) }),
    whole({ text, reasoning, toolCalls }, figures) {
      const more = {
        ...(reasoning !== '' && { thinking: reasoning }),
        ...(toolCalls.length > 0 && callsOf(toolCalls)),
      }
      return line({ ...saying(text, more), ...last(figures) })
    },
  }
}
