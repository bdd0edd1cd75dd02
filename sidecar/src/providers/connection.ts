/**
 * The wire to one model server: kept connections, the time limits of a call, and what a failure of the wire means.
 * Drivers say what to ask and how to read the answer; only this file knows sockets.
 */
import { Readable } from 'node:stream'

import { Client } from 'undici'

import { AppError } from '#base/errors.ts'
import { readLines } from '#base/ndjson.ts'

import type { Delta, ProviderOptions } from './provider.ts'
import { refusalError, type ServerWords } from './refusal.ts'

/** Connections stay open this long without work; the server may ask for less. */
const KEEP_ALIVE_MS = 60_000

/** After its last word a server gets this long to end the answer, so that the connection can serve again. */
const DRAIN_MS = 250

/** Lists of models and descriptions of one are small; a longer one is nonsense. */
const MAX_DOCUMENT_BYTES = 16 * 1_048_576

/** More of an error page tells nobody anything. */
const MAX_ERROR_BYTES = 65_536

export interface Reply {
  status: number
  text: string
}

export interface Step<State> {
  state: State
  deltas: readonly Delta[]
}

/** How a driver reads an answer: `step` and `end` are pure and throw AppError. */
export interface Reader<Item, State> {
  /** The content types that an answer may have. */
  contentType: RegExp
  items(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Item>
  start: State
  step(state: State, item: Item): Step<State>
  /** The bytes are over: the last deltas, or AppError `upstream` if the answer is not. */
  end(state: State): readonly Delta[]
}

export interface StreamRequest<Item, State> {
  path: string
  /** Named in error messages. */
  model: string
  /** May ask the server first; the signal ends with the call. */
  body: (signal: AbortSignal) => Promise<unknown>
  reader: Reader<Item, State>
}

/** What the bytes of an answer need to know of it. */
type BytesRequest = Omit<StreamRequest<unknown, unknown>, 'reader'> & { reader: { contentType: RegExp } }

/** Plain JSON is how a server answers where there is nothing to stream. */
const NDJSON = /^application\/(?:x-nd)?json/

export interface Connection {
  readonly words: ServerWords
  /** Asks for a small document, with POST if there is a body. Throws AppError `unavailable`, `upstream`, `upstream_timeout`, `cancelled`. */
  ask(path: string, body: unknown, signal: AbortSignal): Promise<Reply>
  /** Asks whether something is there. Throws as `ask`. */
  head(path: string, signal: AbortSignal): Promise<Pick<Reply, 'status'>>
  /** Sends bytes of a known length, and reads a small answer. Throws as `ask`. */
  upload(
    path: string,
    bytes: AsyncIterable<Uint8Array>,
    sizeBytes: number,
    signal: AbortSignal,
  ): Promise<Reply>
  /**
   * Asks with POST and hands out an NDJSON answer line by line. Throws as `ask`, and what `refusalError` makes of a refusal;
   * ends without a word where the answer ends. Closes its connection as `stream` does.
   */
  lines(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<string, void, undefined>
  /** As `Provider.stream`. `return()` is heard at once, even while the next chunk is awaited. */
  stream<Item, State>(
    request: StreamRequest<Item, State>,
    signal: AbortSignal,
  ): AsyncGenerator<Delta, void, undefined>
  /** Ends every call. */
  close(): Promise<void>
}

export function openConnection(options: ProviderOptions, speaks: Omit<ServerWords, 'name'>): Connection {
  const base = new URL(options.baseUrl)
  const words: ServerWords = { ...speaks, name: base.origin }
  const prefix = base.pathname.replace(/\/+$/, '')
  const headers = { 'content-type': 'application/json', ...authorization(base, options.apiKey) }
  const lines = openLines(base.origin, options.connectTimeoutMs)
  const begin = (signal: AbortSignal): Call => new Call(signal, options.headersTimeoutMs, words, lines)

  async function send(path: string, body: unknown, call: Call) {
    const sent =
      body === undefined
        ? ({ method: 'GET' } as const)
        : ({ method: 'POST', body: JSON.stringify(body) } as const)
    for (;;) {
      const { client, isFresh } = call.connect()
      try {
        const answer = await call.during(() => client.request({ ...sent, path: `${prefix}${path}`, headers }))
        // Whoever reads the body sees its faults; a fault that comes while nobody does must not end the process.
        answer.body.on('error', () => undefined)
        return answer
      } catch (cause) {
        // llama.cpp promises to keep a connection and closes it behind every stream. The next call then finds it closed,
        // before anything of it was read, and may be made anew.
        if (isFresh || !CLOSED_BY_SERVER.has(codeOf(cause))) throw wireError(cause, words, 'before')
      }
    }
  }

  /** The bytes of an answer that began well. */
  async function* chunks(request: BytesRequest, call: Call) {
    call.open()
    try {
      const body = await call.during(request.body)
      const answer = await send(request.path, body, call)
      const bytes = bytesOf(answer.body, call, words)
      if (answer.statusCode !== 200) {
        throw refusalError(answer.statusCode, await textOf(bytes, MAX_ERROR_BYTES), request.model, words)
      }
      const type = String(answer.headers['content-type'] ?? '')
      if (type !== '' && !request.reader.contentType.test(type)) throw notAStream(type, words)
      yield* bytes
    } finally {
      call.close()
    }
  }

  return {
    words,
    async ask(path, body, signal) {
      const call = begin(signal)
      call.open()
      try {
        const answer = await send(path, body, call)
        const text = await textOf(bytesOf(answer.body, call, words), MAX_DOCUMENT_BYTES)
        return { status: answer.statusCode, text }
      } finally {
        call.close()
      }
    },
    async head(path, signal) {
      const call = begin(signal)
      call.open()
      try {
        const { client } = call.connect()
        const asked = { method: 'HEAD', path: `${prefix}${path}`, headers } as const
        const answer = await call.during(() => client.request(asked))
        await answer.body.dump()
        return { status: answer.statusCode }
      } catch (cause) {
        throw wireError(cause, words, 'before')
      } finally {
        call.close()
      }
    },
    async upload(path, bytes, sizeBytes, signal) {
      const call = begin(signal)
      call.open()
      try {
        const sent = {
          method: 'POST',
          path: `${prefix}${path}`,
          headers: {
            ...headers,
            'content-type': 'application/octet-stream',
            'content-length': String(sizeBytes),
          },
          body: Readable.from(bytes, { objectMode: false }),
        } as const
        const { client } = call.connect()
        const answer = await call.during(() => client.request(sent))
        answer.body.on('error', () => undefined)
        const text = await textOf(bytesOf(answer.body, call, words), MAX_DOCUMENT_BYTES)
        return { status: answer.statusCode, text }
      } catch (cause) {
        throw wireError(cause, words, 'before')
      } finally {
        call.close()
      }
    },
    lines(path, body, signal) {
      const call = begin(signal)
      const request = { path, model: '', body: () => Promise.resolve(body), reader: { contentType: NDJSON } }
      return leavable(readLines(chunks(request, call)), call)
    },
    stream(request, signal) {
      const call = begin(signal)
      return leavable(translate(chunks(request, call), request.reader, call, options.idleTimeoutMs), call)
    },
    close: () => lines.close(),
  }
}

// -- connections ------------------------------------------------------------------------------------------------------

/** Kept connections to one server; each serves one call at a time. */
interface Lines {
  /** A kept connection; undefined if there is none. */
  idle(): Client | undefined
  open(): Client
  /** For a connection whose answer was read to its end. */
  keep(client: Client): void
  /** For every other one: closes it, and fails the call that may still run on it. */
  drop(client: Client, reason: AppError): void
  close(): Promise<void>
}

/** Not undici's Pool: after every call that was cancelled that one connects anew, for nobody. */
function openLines(origin: string, connectTimeoutMs: number): Lines {
  const all = new Set<Client>()
  const idle: Client[] = []

  return {
    idle: () => idle.pop(),
    open() {
      const client = new Client(origin, {
        connect: { timeout: connectTimeoutMs },
        keepAliveTimeout: KEEP_ALIVE_MS,
        // The time limits of a call are its own business: undici's do not know a first token from the next.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      all.add(client)
      return client
    },
    keep: (client) => void idle.push(client),
    drop(client, reason) {
      all.delete(client)
      void client.destroy(reason)
    },
    async close() {
      idle.length = 0
      await Promise.all([...all].map((client) => client.destroy(cancelled())))
      all.clear()
    },
  }
}

/** The value of a JSON text; undefined for anything else, so that callers check once and say what they expected. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** A password in the URL is for a proxy in front of the server. */
function authorization(base: URL, apiKey: string | undefined): { authorization?: string } {
  if (apiKey !== undefined && apiKey !== '') return { authorization: `Bearer ${apiKey}` }
  if (base.username === '') return {}
  const login = `${decodeURIComponent(base.username)}:${decodeURIComponent(base.password)}`
  return { authorization: `Basic ${Buffer.from(login).toString('base64')}` }
}

// -- reading ----------------------------------------------------------------------------------------------------------

/** A generator that waits does not hear `return()`; so the call is stopped first, which ends the waiting. */
function leavable<T>(
  generator: AsyncGenerator<T, void, undefined>,
  call: Call,
): AsyncGenerator<T, void, undefined> {
  const leave = generator.return.bind(generator)
  return Object.assign(generator, {
    return(value: void | PromiseLike<void>) {
      call.stop(cancelled())
      return leave(value)
    },
  })
}

async function* translate<Item, State>(
  chunks: AsyncIterable<Uint8Array>,
  reader: Reader<Item, State>,
  call: Call,
  idleTimeoutMs: number,
): AsyncGenerator<Delta, void, undefined> {
  let state = reader.start
  let isDone = false
  try {
    for await (const item of reader.items(chunks)) {
      if (isDone) return
      const step = reader.step(state, item)
      state = step.state
      for (const delta of step.deltas) {
        isDone = delta.type === 'done'
        call.limit(isDone ? DRAIN_MS : idleTimeoutMs)
        yield delta
        // One chunk may hold many deltas; they are not handed out once the call is stopped.
        if (!isDone) call.check()
      }
    }
  } catch (error) {
    // Whatever goes wrong behind the last word takes nothing from the answer.
    if (isDone) return
    throw error
  }
  if (!isDone) yield* reader.end(state)
}

async function* bytesOf(
  body: Readable,
  call: Call,
  words: ServerWords,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    call.wait()
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      call.rest()
      yield chunk
      call.wait()
    }
    call.keep()
  } catch (cause) {
    throw wireError(cause, words, 'within')
  } finally {
    call.rest()
  }
}

async function textOf(chunks: AsyncIterable<Uint8Array>, maxBytes: number): Promise<string> {
  const kept: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of chunks) {
    kept.push(chunk)
    bytes += chunk.length
    if (bytes > maxBytes) break
  }
  return Buffer.concat(kept).toString('utf8', 0, maxBytes)
}

/** A page of a proxy, or a server that ignored `stream`, must not look like an answer that broke off. */
function notAStream(type: string, words: ServerWords): AppError {
  return new AppError(
    'upstream',
    `${words.title} at ${words.name} answered with ${type} instead of a stream; check its URL`,
  )
}

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EADDRNOTAVAIL',
  'ETIMEDOUT',
  'UND_ERR_CONNECT_TIMEOUT',
])

const CLOSED_BY_SERVER = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE'])

const CLOSED_BY_US = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'])

function wireError(cause: unknown, words: ServerWords, when: 'before' | 'within'): AppError {
  if (cause instanceof AppError) return cause
  const code = codeOf(cause)
  const at = `${words.title} at ${words.name}`
  if (CLOSED_BY_US.has(code)) return cancelled()
  if (when === 'before' && UNREACHABLE.has(code)) {
    const message = `${words.title} does not answer at ${words.name}; ${words.whenSilent}`
    return new AppError('unavailable', message, { cause, facts: { cause: code } })
  }
  const what =
    when === 'before'
      ? 'closed the connection instead of answering'
      : 'closed the connection in the middle of an answer'
  return new AppError('upstream', `${at} ${what}`, { cause, facts: { cause: code } })
}

function codeOf(cause: unknown): string {
  const code: unknown = cause instanceof Error && 'code' in cause ? cause.code : undefined
  return typeof code === 'string' ? code : 'unknown'
}

function cancelled(): AppError {
  return new AppError('cancelled', 'The request was cancelled')
}

// -- one call ---------------------------------------------------------------------------------------------------------

/** One call: stopped when its caller aborts, when its reader leaves, and when the server is silent for too long. */
class Call {
  readonly #controller = new AbortController()
  readonly #signal = this.#controller.signal
  readonly #caller: AbortSignal
  readonly #words: ServerWords
  readonly #lines: Lines
  readonly #onAbort = (): void => this.stop(cancelled())
  #line: Client | undefined
  #limitMs: number
  #timer: NodeJS.Timeout | undefined
  #isWaiting = false

  constructor(caller: AbortSignal, limitMs: number, words: ServerWords, lines: Lines) {
    this.#caller = caller
    this.#limitMs = limitMs
    this.#words = words
    this.#lines = lines
  }

  /** Starts to listen; `close` ends it. Throws if there is nothing left to do. */
  open(): void {
    if (this.#caller.aborted) throw cancelled()
    this.#caller.addEventListener('abort', this.#onAbort)
  }

  /** Gives this call a connection, a fresh one if it had one before; it is closed with the call unless it is kept. */
  connect(): { client: Client; isFresh: boolean } {
    const idle = this.#line === undefined ? this.#lines.idle() : undefined
    this.#drop(cancelled())
    const client = idle ?? this.#lines.open()
    this.#line = client
    return { client, isFresh: idle === undefined }
  }

  /** The answer was read to its end, so the connection can serve the next call. */
  keep(): void {
    if (this.#line !== undefined) this.#lines.keep(this.#line)
    this.#line = undefined
  }

  /** Closes the connection. The reason is what the reader of the answer gets to see. */
  stop(reason: AppError): void {
    this.#controller.abort(reason)
    this.#drop(reason)
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#caller.removeEventListener('abort', this.#onAbort)
    this.#drop(cancelled())
  }

  #drop(reason: AppError): void {
    if (this.#line !== undefined) this.#lines.drop(this.#line, reason)
    this.#line = undefined
  }

  /** Throws the reason if the call was stopped. */
  check(): void {
    this.#signal.throwIfAborted()
  }

  /** From now on the server may be silent for so long. */
  limit(ms: number): void {
    if (ms === this.#limitMs) return
    this.#limitMs = ms
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  /** The server's time runs. One timer serves all chunks: to restart it costs less than to make another. */
  wait(): void {
    this.#isWaiting = true
    if (this.#timer === undefined) this.#timer = setTimeout(() => this.#tooLong(), this.#limitMs)
    else this.#timer.refresh()
  }

  /** It is the reader's turn; a slow one must not count as a silent server. */
  rest(): void {
    this.#isWaiting = false
  }

  /** Waits for one step of the call. Stopping ends the waiting at once, whatever the step itself makes of it. */
  async during<T>(step: (signal: AbortSignal) => Promise<T>): Promise<T> {
    this.check()
    let stop = (): void => undefined
    const stopped = new Promise<never>((_resolve, reject) => {
      stop = () => reject(this.#signal.reason as AppError)
    })
    this.#signal.addEventListener('abort', stop)
    this.wait()
    try {
      return await Promise.race([step(this.#signal), stopped])
    } finally {
      this.#signal.removeEventListener('abort', stop)
      this.rest()
    }
  }

  #tooLong(): void {
    if (!this.#isWaiting) return
    const { title, name } = this.#words
    const message = `${title} at ${name} was silent for ${this.#limitMs} ms`
    this.stop(new AppError('upstream_timeout', message, { facts: { limitMs: this.#limitMs } }))
  }
}
