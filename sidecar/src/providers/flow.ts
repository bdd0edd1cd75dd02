/**
 * One answer on its way from the socket to the turn: pushed by the wire, pulled by a `for await`. Written by hand, since each
 * async generator between the two would cost a queue of promises for every token.
 */
import { AppError, toAppError } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'

import { Exchange, type ExchangeParts, type Sink } from './exchange.ts'
import type { Splitter, StreamRequest } from './reader.ts'
import { refusalError } from './refusal.ts'
import { cancelled } from './wire-error.ts'

/** After its last word a server gets this long to end the answer, so that the connection can serve again. */
const DRAIN_MS = 250

/** More of an error page tells nobody anything. */
const MAX_ERROR_BYTES = 65_536

/** A hundred times the longest answers of models in use; a server that sends more has lost its way. */
const MAX_ANSWER_BYTES = 64 * 1_048_576

/** The server waits while the reader is so far behind, and goes on when it is nearly through. */
const MOST_WAITING = 64
const FEW_WAITING = 16

export interface FlowParts extends ExchangeParts {
  /** How long the server may be silent between two chunks, in milliseconds. */
  idleMs: number
}

/** An error answer as far as it has come. */
interface Refused {
  status: number
  retryAfter: string | undefined
  chunks: Buffer[]
  bytes: number
}

const OVER: IteratorReturnResult<void> = { done: true, value: undefined }

export class Flow<Item, State, Out> implements AsyncGenerator<Out, void, undefined>, Sink {
  readonly #request: StreamRequest<Item, State, Out> & { headers: Record<string, string> }
  readonly #on: FlowParts
  readonly #signal: StopSignal
  readonly #exchange: Exchange
  #splitter: Splitter<Item> | undefined
  #state: State
  #isBegun = false
  #waiting: Out[] = []
  #isPaused = false
  /** The last word was read; whatever comes behind it changes nothing. */
  #isDone = false
  #isOver = false
  #failure: AppError | undefined
  #refusal: Refused | undefined
  #bytes = 0
  #reader:
    { resolve: (result: IteratorResult<Out, void>) => void; reject: (error: AppError) => void } | undefined

  constructor(
    request: StreamRequest<Item, State, Out> & { headers: Record<string, string> },
    signal: StopSignal,
    on: FlowParts,
  ) {
    this.#request = request
    this.#on = on
    this.#signal = signal
    this.#state = request.reader.start
    this.#exchange = new Exchange(this, signal, on)
  }

  // -- pulled ---------------------------------------------------------------------------------------------------------

  next(): Promise<IteratorResult<Out, void>> {
    if (!this.#isBegun) this.#begin()
    // Until then the exchange listens to the signal, and `fail` forgets.
    if (this.#isOver && this.#signal.aborted) this.#forget()
    const delta = this.#waiting.shift()
    if (delta !== undefined) {
      if (this.#isPaused && this.#waiting.length <= FEW_WAITING) this.#goOn()
      return Promise.resolve({ done: false, value: delta })
    }
    const failure = this.#failure
    if (failure !== undefined) {
      this.#failure = undefined
      return Promise.reject(failure)
    }
    if (this.#isOver) return Promise.resolve(OVER)
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject }
    })
  }

  /** The reader leaves: the connection is closed, unless the answer was whole. */
  return(): Promise<IteratorResult<Out, void>> {
    this.#isBegun = true
    this.#waiting = []
    if (!this.#isDone) this.#exchange.stop(cancelled())
    this.#failure = undefined
    this.#isOver = true
    this.#hand(OVER)
    return Promise.resolve(OVER)
  }

  async throw(error: unknown): Promise<IteratorResult<Out, void>> {
    await this.return()
    throw error
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  #begin(): void {
    this.#isBegun = true
    if (!this.#exchange.open()) return
    const fail = (thrown: unknown) => this.#exchange.stop(toAppError(thrown))
    try {
      const body = this.#request.body(this.#exchange.signal)
      if (body instanceof Promise) body.then(this.#send, fail)
      else this.#send(body)
    } catch (thrown) {
      fail(thrown)
    }
  }

  readonly #send = (body: unknown): void => {
    const { path, headers } = this.#request
    this.#exchange.send({ method: 'POST', path, headers, body: JSON.stringify(body) })
  }

  /** Words that arrived already are not handed out once the call is cancelled. */
  #forget(): void {
    if (this.#waiting.length === 0) return
    this.#waiting = []
    this.#failure = cancelled()
  }

  #holdBack(): void {
    if (this.#waiting.length < MOST_WAITING || this.#isPaused || this.#isDone) return
    this.#isPaused = true
    this.#exchange.pause()
  }

  #goOn(): void {
    this.#isPaused = false
    this.#exchange.resume()
  }

  // -- pushed ---------------------------------------------------------------------------------------------------------

  begin(status: number, contentType: string, retryAfter: string | undefined): void {
    if (status !== 200) this.#refusal = { status, retryAfter, chunks: [], bytes: 0 }
    else if (contentType !== '' && !this.#request.reader.contentType.test(contentType))
      throw this.#notAStream(contentType)
    else this.#splitter = this.#request.reader.split()
  }

  data(chunk: Buffer): void {
    if (this.#isDone) return
    if (this.#refusal !== undefined) {
      this.#readRefusal(this.#refusal, chunk)
      return
    }
    this.#bytes += chunk.length
    if (this.#bytes > MAX_ANSWER_BYTES) throw this.#broken(`sent more than ${String(MAX_ANSWER_BYTES)} bytes`)
    this.#read(this.#splitter?.push(chunk) ?? [])
    this.#holdBack()
  }

  isAwaited(): boolean {
    return this.#reader !== undefined
  }

  end(): void {
    try {
      this.#readEnd()
    } catch (thrown) {
      this.fail(toAppError(thrown))
      return
    }
    this.#isOver = true
    if (this.#waiting.length === 0) this.#hand(OVER)
  }

  /** Whatever goes wrong behind the last word takes nothing from the answer. */
  fail(error: AppError): void {
    this.#isOver = true
    if (this.#isDone) {
      if (this.#waiting.length === 0) this.#hand(OVER)
      return
    }
    if (error.code === 'cancelled') this.#waiting = []
    const reader = this.#reader
    this.#reader = undefined
    if (reader === undefined) this.#failure = error
    else reader.reject(error)
  }

  #readEnd(): void {
    if (this.#refusal !== undefined) throw this.#refused(this.#refusal)
    this.#read(this.#splitter?.rest() ?? [])
    if (this.#isDone) return
    for (const delta of this.#request.reader.end(this.#state)) this.#push(delta)
  }

  #read(items: readonly Item[]): void {
    for (const item of items) {
      if (this.#isDone) return
      const step = this.#request.reader.step(this.#state, item)
      this.#state = step.state
      for (const delta of step.deltas) this.#push(delta)
    }
  }

  #push(delta: Out): void {
    this.#isDone = this.#request.reader.isLast(delta)
    this.#exchange.limit(this.#isDone ? DRAIN_MS : this.#on.idleMs)
    if (this.#reader === undefined) this.#waiting.push(delta)
    else this.#hand({ done: false, value: delta })
  }

  #hand(result: IteratorResult<Out, void>): void {
    const reader = this.#reader
    this.#reader = undefined
    reader?.resolve(result)
  }

  #readRefusal(refusal: Refused, chunk: Buffer): void {
    if (refusal.bytes < MAX_ERROR_BYTES) refusal.chunks.push(chunk)
    refusal.bytes += chunk.length
  }

  #refused({ status, retryAfter, chunks }: Refused): AppError {
    const text = Buffer.concat(chunks).toString('utf8', 0, MAX_ERROR_BYTES)
    return refusalError(status, text, this.#request.model, this.#on.words, retryAfter)
  }

  /** A page of a proxy, or a server that ignored `stream`, must not look like an answer that broke off. */
  #notAStream(type: string): AppError {
    return this.#broken(`answered with ${type} instead of a stream; check its URL`)
  }

  #broken(what: string): AppError {
    const { title, name } = this.#on.words
    return new AppError('upstream', `${title} at ${name} ${what}`)
  }
}
