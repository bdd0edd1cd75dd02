/** What the library knows about a character, and what it can do. The implementation is `characters.ts`. */
import type { Card, Note } from '#characters/card.ts'

export interface CharacterSummary {
  /** Slug and model id. */
  id: string
  name: string
  /** One line for a picker: the first sentence of the creator's notes, else of the description. */
  tagline: string
  tags: string[]
  greetings: string[]
  publishedVersion: number | null
  latestVersion: number
  pictureHash: string | null
  notes: Note[]
  createdAtMs: number
  updatedAtMs: number
}

export interface CharacterVersion {
  characterId: string
  number: number
  card: Card
  originalHash: string
  originalName: string
  pictureHash: string | null
  notes: Note[]
  createdAtMs: number
}

export interface ImportResult {
  file: string
  status: 'created' | 'updated' | 'skipped' | 'failed'
  id?: string
  notes: Note[]
}

export interface UploadedFile {
  name: string
  bytes: Uint8Array
}

/** `original` is the uploaded file, byte by byte. */
export const EXPORT_FORMATS = ['json', 'yaml', 'png', 'original'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

export interface Library {
  /** All characters, by name. From memory; never waits for anything outside. */
  list(): Promise<CharacterSummary[]>
  /** Throws AppError `not_found`. */
  get(id: string): Promise<CharacterSummary>
  /** The published version, or undefined when there is none. Served from a cache that publish and import keep fresh. */
  published(id: string): Promise<CharacterVersion | undefined>
  versions(id: string): Promise<CharacterVersion[]>
  /** Imports and publishes; one bad file never stops the others. `picture` overrides the card's own portrait. */
  importFile(file: UploadedFile, picture?: UploadedFile): Promise<ImportResult>
  publish(id: string, version: number): Promise<CharacterSummary>
  delete(id: string): Promise<void>
  /** A portrait re-encoded by us; widths 96, 256, 512. Throws AppError `not_found`. */
  picture(hash: string, widthPixels: number): Promise<Uint8Array>
  /** The published (else latest) version as a file. `original` gives back the uploaded bytes. */
  exportFile(
    id: string,
    format: ExportFormat,
  ): Promise<{ name: string; mediaType: string; bytes: Uint8Array }>
  /** Called after any change, with the id. Returns a function that unsubscribes. */
  onChange(listener: (id: string) => void): () => void
}
