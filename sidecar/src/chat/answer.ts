/**
 * An answer that has begun. Written by hand, like the flow behind it: each async generator on the way of a token costs as much
 * as to read it.
 */
import type { AppError } from '#base/errors.ts'
import type { Placed } from '#providers/pool.ts'
import type { Delta, FinishReason, Usage } from '#providers/provider.ts'

type Begun = Pick<Placed, 'first' | 'rest' | 'release'>

export interface Listening {
  /** What is thrown instead of an end without a word before it; undefined where that is no fault. */
  whenEmpty: (reason: FinishReason) => AppError | undefined
  onUsage: (usage: Usage) => void
}

/** Releases its place at the model server when it ends, fails or is left. */
export class Answer implements AsyncIterableIterator<Delta, undefined> {
  readonly #begun: Begun
  readonly #on: Listening
  #first: IteratorResult<Delta, void> | undefined
  #hasWords = false

  constructor(begun: Begun, on: Listening) {
    this.#begun = begun
    this.#on = on
    this.#first = begun.first
  }

  next(): Promise<IteratorResult<Delta, undefined>> {
    const first = this.#first
    this.#first = undefined
    const next = first === undefined ? this.#begun.rest.next() : Promise.resolve(first)
    return next.then(this.#see, this.#fail)
  }

  async return(): Promise<IteratorResult<Delta, undefined>> {
    this.#begun.release()
    await this.#begun.rest.return()
    return { done: true, value: undefined }
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  readonly #see = (result: IteratorResult<Delta, void>): IteratorResult<Delta, undefined> => {
    if (result.done === true) {
      this.#begun.release()
      return { done: true, value: undefined }
    }
    const delta = result.value
    if (delta.type === 'done') this.#seeEnd(delta)
    else this.#hasWords = true
    return { done: false, value: delta }
  }

  #seeEnd({ reason, usage }: Extract<Delta, { type: 'done' }>): void {
    const fault = this.#hasWords ? undefined : this.#on.whenEmpty(reason)
    if (fault !== undefined) this.#fail(fault)
    if (usage !== undefined) this.#on.onUsage(usage)
  }

  readonly #fail = (thrown: unknown): never => {
    this.#begun.release()
    void this.#begun.rest.return()
    throw thrown
  }
}
