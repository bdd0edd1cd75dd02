/** What the library knows about a character, and what it can do. The implementation is `characters.ts`. */
import type { Card, Note } from '#characters/card.ts'
import type { Difference } from '#characters/content.ts'
import type { CardSummary } from '#store/tables.ts'

/** Of the published version, or of the newest while nothing is published. */
export interface CharacterSummary extends CardSummary {
  /** Slug and model id. */
  id: string
  name: string
  /** Null for a draft. */
  publishedVersion: number | null
  latestVersion: number
  /** Names of the groups of Open WebUI that see it; null leaves that to Open WebUI. */
  groups: string[] | null
  pictureHash: string | null
  notes: Note[]
  /** Set while it lies in the trash. */
  deletedAtMs: number | null
  createdAtMs: number
  updatedAtMs: number
}

export interface VersionSummary {
  characterId: string
  number: number
  originalHash: string
  originalName: string
  pictureHash: string | null
  notes: Note[]
  /** Why it was made. */
  note: string | null
  /** Null for versions of the first release. */
  createdBy: string | null
  createdAtMs: number
  publishedAtMs: number | null
}

export interface CharacterVersion extends VersionSummary {
  card: Card
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
export const EXPORT_FORMATS = ['json', 'yaml', 'png', 'charx', 'original'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** Who does something, for the audit: the name of a person or of a key. */
export interface By {
  actor: string
}

export interface ImportWish extends By {
  /** False keeps it as a draft. */
  publishes?: boolean
  /** Makes it a new version of this character, whatever the card says. */
  into?: string
  note?: string
}

export interface Edit extends By {
  /** Fields of the card that change; null takes an optional one away. `extensions` are merged one level deep. */
  card?: Readonly<Record<string, unknown>>
  groups?: string[] | null
  /** The newest version that the editor has seen; a newer one is a conflict. */
  baseVersion?: number
  publishes?: boolean
  note?: string
}

export const STATES = ['published', 'draft', 'trash'] as const
export type State = (typeof STATES)[number]

export interface Find {
  /** Words that all stand in the name, id, tagline or tags. */
  search?: string
  tag?: string
  /** Absent: all but the trash. */
  state?: State
  /** From the page before. */
  cursor?: string
  limit?: number
}

export interface CharacterPage {
  characters: CharacterSummary[]
  /** How many match, over all pages. */
  total: number
  /** Null on the last page. */
  nextCursor: string | null
  /** All tags of what is not in the trash, with how many characters have them, most used first. */
  tags: { name: string; characters: number }[]
}

export interface Told extends By {
  action: 'make_model' | 'pull_model'
  /** What it was done to, with its kind in front: `model small`. */
  target: string
  detail: Record<string, unknown>
}

export interface AuditEvent {
  id: string
  atMs: number
  actor: string
  action: string
  target: string
  detail: Record<string, unknown>
}

export interface Library {
  /** All characters but the trash, by name. From memory; never waits for anything outside. */
  list(): Promise<CharacterSummary[]>
  /** A page of the list. Throws AppError `invalid` for a cursor that is not ours. */
  find(find: Find): Promise<CharacterPage>
  /** Also from the trash. Throws AppError `not_found`. */
  get(id: string): Promise<CharacterSummary>
  /** The published version, or undefined when there is none. */
  published(id: string): Promise<CharacterVersion | undefined>
  /** Oldest first, without their cards. Throws AppError `not_found`. */
  versions(id: string): Promise<VersionSummary[]>
  /** Throws AppError `not_found`. */
  version(id: string, number: number): Promise<CharacterVersion>
  /** How the card changed between two versions. Throws AppError `not_found`. */
  diff(id: string, from: number, to: number): Promise<Difference[]>
  /** Imports, and publishes unless the wish says otherwise; never throws for a bad file. */
  importFile(file: UploadedFile, wish: ImportWish): Promise<ImportResult>
  /** A new version with the changed card; without a change of the card none. Throws AppError. */
  edit(id: string, edit: Edit): Promise<CharacterSummary>
  /** Makes a version the one that answers. Throws AppError `not_found`. */
  publish(id: string, version: number, by: By & { note?: string }): Promise<CharacterSummary>
  /** Publishes the version that answered before this one, or the one given. */
  rollback(id: string, version: number | undefined, by: By & { note?: string }): Promise<CharacterSummary>
  /** Makes a draft of it: nobody can call it any more. */
  unpublish(id: string, by: By): Promise<CharacterSummary>
  /** Into the trash, for 30 days; or for good. Throws AppError `not_found`. */
  delete(id: string, by: By & { forGood?: boolean }): Promise<void>
  /** Out of the trash. */
  restore(id: string, by: By): Promise<CharacterSummary>
  /** Deletes for good what has lain in the trash for 30 days; how many. */
  purge(): Promise<number>
  /** Writes down what was done to something that is not in the library. */
  tell(event: Told): Promise<void>
  /** Newest first. */
  audit(find: { target?: string; cursor?: string; limit?: number }): Promise<{
    events: AuditEvent[]
    nextCursor: string | null
  }>
  /** A portrait re-encoded by us; widths 96, 256, 512. Throws AppError `not_found`. */
  picture(hash: string, widthPixels: number, format?: PictureFormat): Promise<Uint8Array>
  /** The published (else latest) version as a file. `original` gives back the uploaded bytes. */
  exportFile(
    id: string,
    format: ExportFormat,
    version?: number,
  ): Promise<{ name: string; mediaType: string; bytes: Uint8Array }>
  /** Called after any change, with the id. Returns a function that unsubscribes. */
  onChange(listener: (id: string) => void): () => void
}

export const PICTURE_FORMATS = ['webp', 'avif'] as const
export type PictureFormat = (typeof PICTURE_FORMATS)[number]
