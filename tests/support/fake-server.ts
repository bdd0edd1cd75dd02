/**
 * What the fake model servers share: a real HTTP server that remembers every request, and answers that can be scripted.
 * Without a script they answer like a small model: always the same text, cut by `stop` and by the token limit.
 *
 * Counting is simple on purpose: **one token is four characters**, of the texts of all messages; a window of N tokens
 * refuses a prompt of more than N tokens.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Holds the playing of an answer until the test lets it go on. */
export interface Gate {
  /** Lets the next `count` waiters pass, now or later; all of them by default. */
  open(count?: number): void
  pass(): Promise<void>
}

export function createGate(): Gate {
  let permits = 0
  const waiting: (() => void)[] = []
  return {
    open(count = Number.POSITIVE_INFINITY) {
      permits += count
      while (permits > 0 && waiting.length > 0) {
        permits -= 1
        waiting.shift()?.()
      }
    },
    async pass() {
      if (permits > 0) {
        permits -= 1
        return
      }
      await new Promise<void>((resolve) => waiting.push(resolve))
    },
  }
}

/** How one chat request is answered. Everything left out is as a healthy server does it. */
export interface Script {
  /** The text, one piece per chunk. */
  chunks?: readonly string[]
  reasoning?: readonly string[]
  toolCalls?: readonly { name: string; arguments: Record<string, unknown> }[]
  /** Waits here before the headers. */
  beforeHeaders?: Gate
  /** Waits here before each chunk of text. */
  beforeChunk?: Gate
  /** Refuses instead of answering. `error` is the text inside the server's own envelope. */
  status?: number
  error?: string
  /** Destroys the socket after so many chunks. */
  dieAfter?: number
  /** Ends the bytes properly after so many chunks, but without a last word. */
  endAfter?: number
  /** Says nothing more after so many chunks, and keeps the connection. */
  stallAfter?: number
  /** Reports this error inside the stream after so many chunks, and ends. */
  failAfter?: { chunks: number; error: string }
  /** Prompt tokens that it claims to have known already. */
  cachedTokens?: number
}

export interface ReceivedRequest {
  method: string
  path: string
  bytes: Buffer
  headers: IncomingHttpHeaders
  /** The parsed JSON body; an empty object without one. */
  body: Record<string, unknown>
  /** `performance.now()` */
  atMs: number
  /** When the answer was over or the client was gone. */
  closedAtMs: number | undefined
  /** The client left before the answer was over. */
  wasAborted: boolean
  /** Messages that the server dropped to make room, as Ollama does unless told not to. */
  droppedMessages: number
}

export interface FakeModel {
  name: string
  contextTokens: number
  /** In Ollama's words: completion, tools, vision, thinking, embedding. */
  capabilities: readonly string[]
}

export interface FakeServerOptions {
  models?: readonly FakeModel[]
  /** Decides the answer to each chat request for which nothing is enqueued. */
  answer?: (request: ReceivedRequest) => Script
}

export interface FakeServer {
  /** Origin, e.g. `http://127.0.0.1:40123`. */
  origin: string
  /** All requests, oldest first. */
  requests: readonly ReceivedRequest[]
  /** Chat requests only. */
  chats(): ReceivedRequest[]
  /** Scripts the answer to the next chat request that has none yet. */
  enqueue(script: Script): void
  openConnections(): number
  close(): Promise<void>
}

export const FAKE_MODEL: FakeModel = {
  name: 'fake:1b',
  contextTokens: 4_096,
  capabilities: ['completion', 'tools'],
}

/** Told by every unscripted answer: several alphabets, a smile beyond the first plane, a line break. */
export const FAKE_STORY = Array.from(
  { length: 24 },
  (_, place) => `${place + 1}. Über dem Hafen ruft die Möwe „さようなら“ 🌊, und niemand\nantwortet ihr. `,
).join('')

export const tokensOf = (text: string): number => Math.ceil(text.length / 4)

/** What it returns does not matter; a rejection breaks the connection. */
export type FakeHandler = (request: ReceivedRequest, response: ServerResponse, next: () => Script) => unknown

export async function openFakeServer(options: FakeServerOptions, handle: FakeHandler): Promise<FakeServer> {
  const requests: ReceivedRequest[] = []
  const scripts: Script[] = []
  let connections = 0

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await receive(incoming)
    requests.push(request)
    response.on('close', () => {
      request.closedAtMs = performance.now()
      request.wasAborted = !response.writableFinished
    })
    await handle(request, response, () => scripts.shift() ?? options.answer?.(request) ?? {})
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch(() => response.destroy())
  })
  server.on('connection', (socket) => {
    connections += 1
    socket.on('close', () => (connections -= 1))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    origin: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    requests,
    chats: () => requests.filter(({ path }) => /chat|generate|\/completions/.test(path)),
    enqueue: (script) => void scripts.push(script),
    openConnections: () => connections,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

async function receive(incoming: IncomingMessage): Promise<ReceivedRequest> {
  const pieces: Buffer[] = []
  for await (const piece of incoming) pieces.push(piece as Buffer)
  const bytes = Buffer.concat(pieces)
  const isJson = bytes.length > 0 && incoming.headers['content-type'] !== 'application/octet-stream'
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: incoming.headers,
    bytes,
    body: isJson ? (JSON.parse(bytes.toString()) as Record<string, unknown>) : {},
    atMs: performance.now(),
    closedAtMs: undefined,
    wasAborted: false,
    droppedMessages: 0,
  }
}

/** How a fake writes its dialect. */
export interface Dialect {
  contentType: string
  /** A refusal, before anything was said. */
  refusal(status: number, error: string): string
  text(piece: string, isReasoning: boolean): string
  tools(calls: NonNullable<Script['toolCalls']>): string
  failure(error: string): string
  end(figures: Figures): string
  /** Everything in one document, where no stream was asked for. */
  whole(said: Said, figures: Figures): string
}

export interface Said {
  text: string
  reasoning: string
  toolCalls: NonNullable<Script['toolCalls']>
}

export interface Figures {
  reason: 'stop' | 'length' | 'tool_calls'
  promptTokens: number
  completionTokens: number
  cachedTokens: number
}

/** What the request asks for, read from either dialect. */
export interface Wish {
  promptTokens: number
  maxTokens: number | undefined
  stop: readonly string[]
  /** A JSON schema, or `{}` for any JSON. */
  schema: unknown
  /** The answer in one piece. */
  isWhole: boolean
}

/** Sends a small JSON document. */
export function send(response: ServerResponse, status: number, body: string): ServerResponse {
  return response.writeHead(status, { 'content-type': 'application/json' }).end(body)
}

/** Plays a script; stops by itself when the client has left. */
export async function play(
  script: Script,
  wish: Wish,
  response: ServerResponse,
  dialect: Dialect,
): Promise<unknown> {
  await script.beforeHeaders?.pass()
  if (script.status !== undefined) {
    return send(response, script.status, dialect.refusal(script.status, script.error ?? 'scripted refusal'))
  }
  if (wish.isWhole) return playWhole(script, wish, response, dialect)
  response.writeHead(200, { 'content-type': dialect.contentType })
  response.flushHeaders()
  for (const piece of script.reasoning ?? []) response.write(dialect.text(piece, true))
  const { pieces, reason } = answerOf(script, wish)
  for (const [said, piece] of [...pieces, undefined].entries()) {
    if (script.dieAfter === said) return die(response)
    if (script.endAfter === said) return response.end()
    if (script.stallAfter === said) return undefined
    if (script.failAfter?.chunks === said) return response.end(dialect.failure(script.failAfter.error))
    if (piece === undefined) break
    await script.beforeChunk?.pass()
    if (response.destroyed) return undefined
    response.write(dialect.text(piece, false))
  }
  if (script.toolCalls) response.write(dialect.tools(script.toolCalls))
  return response.end(dialect.end(figuresOf(script, wish, pieces, reason)))
}

/** Whoever dies or stalls at some piece of a stream does so here before the one document. */
async function playWhole(script: Script, wish: Wish, response: ServerResponse, dialect: Dialect) {
  const { pieces, reason } = answerOf(script, wish)
  for (const _piece of pieces) await script.beforeChunk?.pass()
  if (script.dieAfter !== undefined || script.endAfter !== undefined) return die(response)
  if (script.stallAfter !== undefined || response.destroyed) return undefined
  if (script.failAfter !== undefined) return send(response, 500, dialect.refusal(500, script.failAfter.error))
  const said = {
    text: pieces.join(''),
    reasoning: (script.reasoning ?? []).join(''),
    toolCalls: script.toolCalls ?? [],
  }
  return send(response, 200, dialect.whole(said, figuresOf(script, wish, pieces, reason)))
}

function figuresOf(
  script: Script,
  wish: Wish,
  pieces: readonly string[],
  reason: Figures['reason'],
): Figures {
  return {
    reason: script.toolCalls ? 'tool_calls' : reason,
    promptTokens: wish.promptTokens,
    completionTokens: tokensOf(pieces.join('')),
    cachedTokens: script.cachedTokens ?? 0,
  }
}

/** The same text always has the same one; texts that share a beginning are near each other. */
export function fakeVector(text: string, dimensions = 8): number[] {
  const sums = Array.from({ length: dimensions }, () => 0)
  for (let at = 0; at < text.length; at++)
    sums[text.charCodeAt(at) % dimensions] = (sums[text.charCodeAt(at) % dimensions] ?? 0) + 1 / (at + 1)
  const length = Math.hypot(...sums) || 1
  return sums.map((sum) => sum / length)
}

/** What was said reaches the client first, as with a server that has said it some time ago. */
async function die(response: ServerResponse): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 10))
  response.destroy()
}

function answerOf(script: Script, wish: Wish): { pieces: string[]; reason: 'stop' | 'length' } {
  const whole =
    script.chunks?.join('') ?? (wish.schema === undefined ? FAKE_STORY : JSON.stringify(example(wish.schema)))
  const stopAt = wish.stop.flatMap((word) => (whole.includes(word) ? [whole.indexOf(word)] : []))
  const stopped = whole.slice(0, Math.min(whole.length, ...stopAt))
  const limit = (wish.maxTokens ?? Number.POSITIVE_INFINITY) * 4
  const reason = stopped.length > limit ? 'length' : 'stop'
  const text = stopped.slice(0, limit)
  if (script.chunks !== undefined && text === whole) return { pieces: [...script.chunks], reason }
  return { pieces: text.match(/.{1,8}/gsu) ?? [], reason }
}

/** The smallest value that fits a JSON schema of objects, arrays, strings, numbers and booleans. */
function example(schema: unknown): unknown {
  const {
    type,
    properties,
    enum: choices,
  } = schema as { type?: string; properties?: Record<string, unknown>; enum?: unknown[] }
  if (choices?.length) return choices[0]
  if (type === 'string') return 'text'
  if (type === 'number' || type === 'integer') return 1
  if (type === 'boolean') return true
  if (type === 'array') return []
  return Object.fromEntries(Object.entries(properties ?? {}).map(([name, part]) => [name, example(part)]))
}
