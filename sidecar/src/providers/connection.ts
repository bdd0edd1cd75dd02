/**
 * One model server as its driver sees it: what is asked, and how the answer is read. Drivers say what to ask and how to read
 * it; sockets, time limits and kept connections are the business of `exchange.ts`.
 */
import { Readable } from 'node:stream'

import type { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'
import { splitLines } from '#base/ndjson.ts'
import type { StopSignal } from '#base/stopping.ts'

import { Exchange, type ExchangeParts, type Sink, type WireRequest } from './exchange.ts'
import { keepConnections } from './kept-connections.ts'
import { Flow } from './flow.ts'
import type { Delta, ProviderOptions } from './provider.ts'
import type { Reader, StreamRequest } from './reader.ts'
import type { ServerWords } from './refusal.ts'
import { cancelled } from './wire-error.ts'

/** Lists of models and descriptions of one are small; a longer one is nonsense. */
const MAX_DOCUMENT_BYTES = 16 * 1_048_576

export interface Reply {
  status: number
  text: string
}

export interface Connection {
  /** As `Provider.id`. */
  readonly id: string
  readonly words: ServerWords
  /** Asks for a small document, with POST if there is a body. Throws AppError `unavailable`, `upstream`, `upstream_timeout`, `cancelled`. */
  ask(path: string, body: unknown, signal: StopSignal): Promise<Reply>
  /** Asks whether something is there. Throws as `ask`. */
  head(path: string, signal: StopSignal): Promise<Pick<Reply, 'status'>>
  /** Sends bytes of a known length, and reads a small answer. Throws as `ask`. */
  upload(
    path: string,
    bytes: AsyncIterable<Uint8Array>,
    sizeBytes: number,
    signal: StopSignal,
  ): Promise<Reply>
  /**
   * Asks with POST and hands out an NDJSON answer line by line. Throws as `ask`, and what `refusalError` makes of a refusal;
   * ends without a word where the answer ends. Closes its connection as `stream` does.
   */
  lines(path: string, body: unknown, signal: StopSignal): AsyncGenerator<string, void, undefined>
  /** As `Provider.stream`. `return()` is heard at once, even while the next chunk is awaited. */
  stream<Item, State>(
    request: StreamRequest<Item, State, Delta>,
    signal: StopSignal,
  ): AsyncGenerator<Delta, void, undefined>
  /** Ends every call. */
  close(): Promise<void>
}

export function openConnection(options: ProviderOptions, speaks: Omit<ServerWords, 'name'>): Connection {
  const base = new URL(options.baseUrl)
  const proof = authorization(base, options.apiKey)
  const secrets = [(proof.authorization ?? '').replace(/^\w+ /, ''), decodeURIComponent(base.password)]
  const words: ServerWords = {
    name: base.origin,
    ...speaks,
    secrets: secrets.filter((secret) => secret !== ''),
  }
  const prefix = base.pathname.replace(/\/+$/, '')
  const headers = { 'content-type': 'application/json', ...proof }
  const connections = keepConnections(base.origin, options.connectTimeoutMs)
  const parts: ExchangeParts = { connections, words, silenceMs: options.headersTimeoutMs }
  const document = (request: WireRequest, signal: StopSignal): Promise<Reply> =>
    new Promise((resolve, reject) => {
      const exchange = new Exchange(collect(resolve, reject), signal, parts)
      if (exchange.open()) exchange.send(request)
    })

  return {
    id: sha256Hex(`${base.href} ${options.apiKey ?? ''}`),
    words,
    ask(path, body, signal) {
      const sent =
        body === undefined
          ? { method: 'GET' as const }
          : { method: 'POST' as const, body: JSON.stringify(body) }
      return document({ path: `${prefix}${path}`, headers, ...sent }, signal)
    },
    head: (path, signal) => document({ method: 'HEAD', path: `${prefix}${path}`, headers }, signal),
    upload(path, bytes, sizeBytes, signal) {
      const body = Readable.from(bytes, { objectMode: false })
      return document(
        {
          method: 'POST',
          path: `${prefix}${path}`,
          headers: {
            'content-type': 'application/octet-stream',
            ...proof,
            'content-length': String(sizeBytes),
          },
          body,
        },
        signal,
      )
    },
    lines(path, body, signal) {
      const request = { path: `${prefix}${path}`, model: '', body: () => body, reader: LINES, headers }
      return new Flow(request, signal, { idleMs: options.headersTimeoutMs, ...parts })
    },
    stream(request, signal) {
      const on = { totalMs: options.totalTimeoutMs, idleMs: options.idleTimeoutMs, ...parts }
      const { traceparent } = request
      const sent = traceparent === undefined ? headers : { traceparent, ...headers }
      return new Flow({ headers: sent, ...request, path: `${prefix}${request.path}` }, signal, on)
    },
    close: () => connections.close(cancelled()),
  }
}

/** Plain JSON is how a server answers where there is nothing to stream. */
const LINES: Reader<string, null, string> = {
  contentType: /^application\/(?:x-nd)?json/,
  split: splitLines,
  start: null,
  step: (state, line) => ({ state, deltas: [line] }),
  isLast: () => false,
  end: () => [],
}

/** The whole of a small answer; what is too much of it is left out. */
function collect(resolve: (reply: Reply) => void, reject: (error: AppError) => void): Sink {
  const chunks: Buffer[] = []
  let status = 0
  let bytes = 0
  return {
    begin: (answered) => void (status = answered),
    data(chunk) {
      if (bytes < MAX_DOCUMENT_BYTES) chunks.push(chunk)
      bytes += chunk.length
    },
    end: () => resolve({ status, text: Buffer.concat(chunks).toString('utf8', 0, MAX_DOCUMENT_BYTES) }),
    fail: reject,
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
