/** The API keys on the page, and the one that is being made. */
import { ApiError } from './api/calling.ts'
import { changeKey, createKey, listKeys, revokeKey, rotateKey, type Rotation } from './api/keys.ts'
import type { FreshKey, Key } from './key.ts'
import {
  fieldOf,
  newDraft,
  sentenceOf,
  wishOf,
  type Draft,
  type Faults,
  type KeyChange,
} from './key-draft.ts'
import { Listing } from './listing.svelte.ts'
import type { Session } from './session.svelte.ts'

/** Why something was not done: at the fields that it is about, or as a sentence of its own. */
export interface Refusal {
  faults: Faults
  trouble: string
}

export class Keys {
  readonly listing: Listing<Key>
  /** Kept until it is made or thrown away: neither a step back nor a login that ends takes what was typed. */
  draft = $state<Draft>(newDraft())

  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
    this.listing = new Listing(session, listKeys)
  }

  byId(id: string): Key | undefined {
    return this.listing.items.find((key) => key.id === id)
  }

  load(): Promise<void> {
    return this.listing.load()
  }

  forgetDraft(): void {
    this.draft = newDraft()
  }

  /** Makes what is drafted. Throws ApiError; the draft is kept then. */
  async create(): Promise<FreshKey> {
    const fresh = await createKey(wishOf(this.draft))
    this.forgetDraft()
    void this.load()
    return fresh
  }

  /** Throws ApiError. */
  async change(id: string, change: KeyChange): Promise<void> {
    await changeKey(id, change)
    await this.load()
  }

  /** Throws ApiError. */
  async rotate(id: string, rotation: Rotation): Promise<FreshKey> {
    const fresh = await rotateKey(id, rotation)
    void this.load()
    return fresh
  }

  /** Throws ApiError. */
  async revoke(id: string): Promise<void> {
    await revokeKey(id)
    await this.load()
  }

  /** Nothing to show where the login has ended: the door says that. */
  explain(error: unknown): Refusal {
    if (!(error instanceof ApiError)) throw error
    if (this.#session.end(error)) return { faults: {}, trouble: '' }
    const field = fieldOf(error.param)
    if (field === undefined) return { faults: {}, trouble: error.message }
    return { faults: { [field]: sentenceOf(error.message) }, trouble: '' }
  }
}
