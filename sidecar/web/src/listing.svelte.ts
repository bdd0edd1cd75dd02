/** A list on the page that is read again and again, and whether the sidecar can be reached. */
import { ApiError } from './api/calling.ts'
import { RETRY_MS, type Session } from './session.svelte.ts'

export class Listing<Item> {
  items = $state.raw<Item[]>([])
  /** When it was read, or null while it never was. */
  readAtMs = $state<number | null>(null)
  /** Why the last reading failed, or empty. */
  trouble = $state('')
  /** No answer came at all: the page asks again by itself. */
  isCutOff = $state(false)

  readonly #session: Session
  readonly #ask: () => Promise<Item[]>
  #reading: Promise<void> | undefined
  #wishes = 0
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session, ask: () => Promise<Item[]>) {
    this.#session = session
    this.#ask = ask
  }

  /** Reads it anew. Calls that come while it is read share one further reading. */
  load(): Promise<void> {
    this.#wishes += 1
    this.#reading ??= this.#readUntilFresh().finally(() => (this.#reading = undefined))
    return this.#reading
  }

  async #readUntilFresh(): Promise<void> {
    let served: number
    do {
      served = this.#wishes
      await this.#read()
    } while (served !== this.#wishes)
  }

  async #read(): Promise<void> {
    try {
      this.items = await this.#ask()
      this.readAtMs = Date.now()
      this.trouble = ''
      this.isCutOff = false
    } catch (error) {
      if (this.#session.end(error)) return
      if (!(error instanceof ApiError)) throw error
      this.trouble = error.message
      this.isCutOff = error.status === 0
      clearTimeout(this.#retry)
      if (this.isCutOff) this.#retry = setTimeout(() => void this.load(), RETRY_MS)
    }
  }
}
