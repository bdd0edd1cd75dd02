/** A card format: how its files are known, and where in them the card lies. */
import type { Note } from '../card.ts'

export type Container = 'json' | 'png' | 'apng'

/** Bytes that should be JSON. */
export interface Found {
  /** Where it was found, for notes. */
  name: string
  json: Buffer
}

export interface Opened {
  /** Best first: the first that can be read is the card. */
  candidates: readonly Found[]
  notes: Note[]
  container: Container
  picture?: Uint8Array
}

export interface CardFormat {
  /** Looks at bytes, never at the file's name. */
  sniff(bytes: Uint8Array): boolean
  /** Throws AppError `invalid` or `too_large`. */
  read(bytes: Uint8Array): Opened
}
