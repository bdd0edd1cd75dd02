/** The characters on the page. */
import { ApiError } from './api/calling.ts'
import { deleteCharacter, listCharacters, restoreCharacter, type Character } from './api/characters.ts'
import { Listing } from './listing.svelte.ts'
import type { Session } from './session.svelte.ts'

export class Library {
  readonly #listing: Listing<Character>

  constructor(session: Session) {
    this.#listing = new Listing(session, listCharacters)
  }

  get characters(): readonly Character[] {
    return this.#listing.items
  }

  /** When the list was read, or null while it never was. */
  get readAtMs(): number | null {
    return this.#listing.readAtMs
  }

  /** Why the last reading failed, or empty. */
  get trouble(): string {
    return this.#listing.trouble
  }

  /** No answer came at all: the page asks again by itself. */
  get isCutOff(): boolean {
    return this.#listing.isCutOff
  }

  byId(id: string): Character | undefined {
    return this.characters.find((character) => character.id === id)
  }

  load(): Promise<void> {
    return this.#listing.load()
  }

  /** Throws ApiError; a character that is gone already counts as deleted. */
  async delete(id: string): Promise<void> {
    try {
      await deleteCharacter(id)
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    }
    this.#listing.items = this.#listing.items.filter((character) => character.id !== id)
  }

  /** Out of the trash. Throws ApiError. */
  async restore(id: string): Promise<void> {
    await restoreCharacter(id)
    await this.load()
  }
}
