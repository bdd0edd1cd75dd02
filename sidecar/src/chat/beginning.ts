/** An answer that has not begun yet, and what is told to who waits for it: pushed by those who begin it, pulled by the turn. */
import type { StopSignal } from '#base/stopping.ts'
import type { Delta, Notice } from '#providers/provider.ts'

import type { Asker } from './begin.ts'

export type Deltas = AsyncIterableIterator<Delta, void>

export class Beginning implements Asker {
  readonly signal: StopSignal
  readonly admitted: Promise<unknown> | undefined
  readonly #answer: Promise<Deltas>
  #notices: Notice[] = []
  #reader: ((notice: Notice | undefined) => void) | undefined
  #isOver = false
  #isTaken = false
  #isLeft = false

  constructor(
    { signal, admitted }: Pick<Asker, 'signal' | 'admitted'>,
    begin: (asker: Asker) => Promise<Deltas>,
  ) {
    this.signal = signal
    this.admitted = admitted
    this.#answer = begin(this)
    this.#answer.then(this.#end, this.#end)
  }

  get isThere(): boolean {
    return !this.#isLeft
  }

  /** How far something is, is told as it is when somebody asks. */
  tell(notice: Notice): void {
    if (this.#notices.at(-1)?.isDone === false) this.#notices.pop()
    this.#notices.push(notice)
    this.#hand()
  }

  /** Undefined when nothing more comes before the answer. */
  notice(): Promise<Notice | undefined> {
    return new Promise((resolve) => {
      this.#reader = resolve
      this.#hand()
    })
  }

  /** Rejects with what kept it from beginning. */
  answer(): Promise<Deltas> {
    this.#isTaken = true
    return this.#answer
  }

  /** Nobody waits any more: an answer that was not taken ends as soon as it is there. */
  leave(): void {
    if (this.#isTaken) return
    this.#isLeft = true
    this.#answer.then((deltas) => deltas.return?.()).catch(() => undefined)
  }

  readonly #end = (): void => {
    this.#isOver = true
    this.#hand()
  }

  #hand(): void {
    const reader = this.#reader
    if (reader === undefined || (this.#notices.length === 0 && !this.#isOver)) return
    this.#reader = undefined
    reader(this.#notices.shift())
  }
}
