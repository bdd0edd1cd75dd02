/**
 * One request and its answer on the wire. Built on undici's `dispatch`, which hands out bytes where they arrive: a web or
 * Node stream in between costs more than all that Troupe does (docs/performance.md).
 */
import type { Readable } from 'node:stream'

import type { Client, Dispatcher } from 'undici'

import { AppError } from '#base/errors.ts'
import { Stopping, type StopSignal } from '#base/stopping.ts'

import type { KeptConnections } from './kept-connections.ts'
import type { ServerWords } from './refusal.ts'
import { cancelled, isClosedByServer, wireError } from './wire-error.ts'

/** Who gets the answer. Exactly one of `end` and `fail` comes, and nothing after it. */
export interface Sink {
  /** `retryAfter` is the header of that name. */
  begin(status: number, contentType: string, retryAfter: string | undefined): void
  data(chunk: Buffer): void
  /** False while nobody reads: a slow reader must not count as a silent server. */
  isAwaited?(): boolean
  end(): void
  fail(error: AppError): void
}

export interface WireRequest {
  method: 'GET' | 'HEAD' | 'POST'
  path: string
  headers: Record<string, string>
  body?: string | Readable
}

export interface ExchangeParts {
  connections: KeptConnections
  words: ServerWords
  /** How long the server may be silent, in milliseconds; see `limit`. */
  silenceMs: number
  /** How long all of it may take; absent for no bound. */
  totalMs?: number | undefined
}

/** Ends by itself: with the answer, when its caller aborts, and when the server is silent for too long. */
export class Exchange implements Dispatcher.DispatchHandler {
  readonly #on: ExchangeParts
  readonly #sink: Sink
  readonly #caller: StopSignal
  /** Ends with the exchange. */
  readonly signal = new Stopping()
  readonly #onAbort = (): void => this.stop(cancelled())
  #request: WireRequest | undefined
  #client: Client | undefined
  #isFresh = false
  #flow: Dispatcher.DispatchController | undefined
  #silenceMs: number
  #silence: NodeJS.Timeout | undefined
  #total: NodeJS.Timeout | undefined
  #isOver = false

  constructor(sink: Sink, caller: StopSignal, on: ExchangeParts) {
    this.#sink = sink
    this.#caller = caller
    this.#on = on
    this.#silenceMs = on.silenceMs
  }

  /** The clock starts. Fails the sink if there is nothing left to do; the answer says whether there is. */
  open(): boolean {
    if (this.#caller.aborted) {
      this.stop(cancelled())
      return false
    }
    this.#caller.addEventListener('abort', this.#onAbort)
    this.#silence = setTimeout(this.#onSilence, this.#silenceMs)
    const { totalMs } = this.#on
    if (totalMs !== undefined)
      this.#total = setTimeout(() => this.#tooLong(totalMs, 'took longer than'), totalMs)
    return true
  }

  send(request: WireRequest): void {
    if (this.#isOver) return
    this.#request = request
    const { connections } = this.#on
    const isAgain = this.#client !== undefined
    if (isAgain) this.#drop(cancelled())
    // A stream of bytes can be sent only once, so it does not risk a connection that the server may have closed.
    const idle = isAgain || typeof request.body === 'object' ? undefined : connections.idle()
    this.#isFresh = idle === undefined
    this.#client = idle ?? connections.open()
    this.#client.dispatch(request, this)
  }

  /** From now on the server may be silent for so long. */
  limit(silenceMs: number): void {
    if (silenceMs === this.#silenceMs || this.#isOver) return
    this.#silenceMs = silenceMs
    clearTimeout(this.#silence)
    this.#silence = setTimeout(this.#onSilence, silenceMs)
  }

  /** The reader is behind: the server has to wait. */
  pause(): void {
    this.#flow?.pause()
  }

  resume(): void {
    if (!this.#isOver) this.#flow?.resume()
  }

  /** Closes the connection. The sink is told the reason. */
  stop(reason: AppError): void {
    if (this.#isOver) return
    this.#close(reason)
    this.#sink.fail(reason)
  }

  onRequestStart(): void {
    // undici asks for this method; there is nothing to do before the answer.
  }

  onResponseStart(
    flow: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.#isOver || status < 200) return
    this.#flow = flow
    // Only a call that has not begun is made anew, and a prompt is larger than all else that a running answer holds.
    this.#request = undefined
    this.#silence?.refresh()
    try {
      const { 'content-type': type, 'retry-after': retryAfter } = headers
      this.#sink.begin(status, String(type ?? ''), typeof retryAfter === 'string' ? retryAfter : undefined)
    } catch (thrown) {
      this.#sinkFailed(thrown)
    }
  }

  onResponseData(_flow: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#isOver) return
    this.#silence?.refresh()
    try {
      this.#sink.data(chunk)
    } catch (thrown) {
      this.#sinkFailed(thrown)
    }
  }

  onResponseEnd(): void {
    if (this.#isOver) return
    if (this.#client !== undefined) this.#on.connections.keep(this.#client)
    this.#client = undefined
    this.#close()
    this.#sink.end()
  }

  onResponseError(_flow: Dispatcher.DispatchController, cause: Error): void {
    if (this.#isOver) return
    // llama.cpp promises to keep a connection and closes it behind every stream. The next call then finds it closed,
    // before anything of it was read, and may be made anew.
    const request = this.#request
    const hasBegun = this.#flow !== undefined
    if (!hasBegun && !this.#isFresh && isClosedByServer(cause) && request !== undefined) this.send(request)
    else this.stop(wireError(cause, this.#on.words, hasBegun ? 'within' : 'before'))
  }

  /** undici would take what a sink throws for a failure of its own. */
  #sinkFailed(thrown: unknown): void {
    this.stop(wireError(thrown, this.#on.words, 'within'))
  }

  /** Without a reason after a good end: no connection is left to be closed. */
  #close(reason?: AppError): void {
    this.#isOver = true
    clearTimeout(this.#silence)
    clearTimeout(this.#total)
    this.#caller.removeEventListener('abort', this.#onAbort)
    if (reason === undefined) return
    this.signal.abort(reason)
    this.#drop(reason)
  }

  #drop(reason: AppError): void {
    if (this.#client !== undefined) this.#on.connections.drop(this.#client, reason)
    this.#client = undefined
  }

  readonly #onSilence = (): void => {
    if (this.#sink.isAwaited?.() === false) this.#silence?.refresh()
    else this.#tooLong(this.#silenceMs, 'was silent for')
  }

  #tooLong(limitMs: number, what: string): void {
    const { title, name } = this.#on.words
    const message = `${title} at ${name} ${what} ${String(limitMs)} ms`
    this.stop(new AppError('upstream_timeout', message, { facts: { limitMs } }))
  }
}
