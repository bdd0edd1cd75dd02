/** The characters on the page, and whether the sidecar can be reached. */
import { ApiError } from './api/calling.ts'
import { deleteCharacter, listCharacters, restoreCharacter, type Character } from './api/characters.ts'
import { RETRY_MS, type Session } from './session.svelte.ts'

export class Library {
  characters = $state.raw<Character[]>([])
  /** When the list was read, or null while it never was. */
  readAtMs = $state<number | null>(null)
  /** Why the last reading failed, or empty. */
  trouble = $state('')
  /** No answer came at all: the page asks again by itself. */
  isCutOff = $state(false)

  readonly #session: Session
  #reading: Promise<void> | undefined
  #wishes = 0
  #retry: ReturnType<typeof setTimeout> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  byId(id: string): Character | undefined {
    return this.characters.find((character) => character.id === id)
  }

  /** Reads the list anew. Calls that come while it is read share one further reading. */
  load(): Promise<void> {
    this.#wishes += 1
    this.#reading ??= this.#readUntilFresh().finally(() => (this.#reading = undefined))
    return this.#reading
  }

  /** Throws ApiError; a character that is gone already counts as deleted. */
  async delete(id: string): Promise<void> {
    try {
      await deleteCharacter(id)
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    }
    this.characters = this.characters.filter((character) => character.id !== id)
  }

  /** Out of the trash. Throws ApiError. */
  async restore(id: string): Promise<void> {
    await restoreCharacter(id)
    await this.load()
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
      this.characters = await listCharacters()
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
