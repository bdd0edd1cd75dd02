/** Figures that were read, each under its question; what was read just now is not asked for again. */
import { SvelteMap } from 'svelte/reactivity'

import { ApiError } from './api/calling.ts'
import { askFigure } from './api/figures.ts'
import type { Figure } from './figures/figure.ts'
import { addressOf, type Question } from './figures/questions.ts'
import { RETRY_MS, type Session } from './session.svelte.ts'

/** Records are in the roll-ups within a minute. */
const FRESH_MS = 60_000
/** A long look around; the oldest go first. */
const MOST_READINGS = 100

export interface Reading {
  figure: Figure | null
  readAtMs: number
  /** Why the last reading failed, or empty. */
  trouble: string
  /** No answer came at all: it is asked again by itself. */
  isCutOff: boolean
  isAsking: boolean
}

const UNREAD: Reading = { figure: null, readAtMs: 0, trouble: '', isCutOff: false, isAsking: true }

export class Figures {
  /** Of the house, as soon as it is known: its days are asked for. */
  timeZone = $state(Intl.DateTimeFormat().resolvedOptions().timeZone)

  readonly #session: Session
  readonly #readings = new SvelteMap<string, Reading>()
  #wanted: readonly Question[] = []
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  of(question: Question): Reading {
    return this.#readings.get(addressOf(question)) ?? UNREAD
  }

  /** What is shown now: asks for all of it at once that was not read within a minute. */
  show(questions: readonly Question[]): void {
    this.#wanted = questions
    for (const question of questions) {
      const { isAsking, trouble, readAtMs } = this.#readings.get(addressOf(question)) ?? {}
      const isFresh = trouble === '' && readAtMs !== undefined && Date.now() - readAtMs < FRESH_MS
      if (isAsking !== true && !isFresh) void this.ask(question)
    }
  }

  /** Everything that is shown, whenever it was read. */
  renew(): void {
    for (const question of this.#wanted) void this.ask(question)
  }

  async ask(question: Question): Promise<void> {
    const address = addressOf(question)
    const before = this.of(question)
    this.#keep(address, { ...before, isAsking: true })
    try {
      const figure = await askFigure(question)
      this.timeZone = figure.base.timeZone
      this.#keep(address, { figure, readAtMs: Date.now(), trouble: '', isCutOff: false, isAsking: false })
    } catch (error) {
      this.#keep(address, { ...before, isAsking: false })
      if (this.#session.end(error)) return
      if (!(error instanceof ApiError)) throw error
      const isCutOff = error.status === 0
      this.#keep(address, { ...before, trouble: error.message, isCutOff, isAsking: false })
      if (isCutOff) this.#askAgain()
    }
  }

  #askAgain(): void {
    clearTimeout(this.#retry)
    this.#retry = setTimeout(() => {
      for (const question of this.#wanted) if (this.of(question).isCutOff) void this.ask(question)
    }, RETRY_MS)
  }

  #keep(address: string, reading: Reading): void {
    this.#readings.delete(address)
    this.#readings.set(address, reading)
    const [oldest] = this.#readings.keys()
    if (this.#readings.size > MOST_READINGS && oldest !== undefined) this.#readings.delete(oldest)
  }
}
