/**
 * When work is to end before its time: the part of an AbortSignal that work listens to. Node (20) changes the prototype of
 * each of those, so that nothing that touches one is ever found in a cache: 4 % of the main thread under load (`perf`, `--perf-basic-prof`).
 */
export interface StopSignal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

/** Aborts once; who listens later hears nothing, and has to look first. */
export class Stopping implements StopSignal {
  #listeners: readonly (() => void)[] = []
  #aborted = false
  #reason: unknown

  get aborted(): boolean {
    return this.#aborted
  }

  get reason(): unknown {
    return this.#reason
  }

  addEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = [...this.#listeners, listener]
  }

  removeEventListener(_type: 'abort', listener: () => void): void {
    this.#listeners = this.#listeners.filter((other) => other !== listener)
  }

  abort(reason?: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    const listeners = this.#listeners
    this.#listeners = []
    for (const listener of listeners) listener()
  }
}
