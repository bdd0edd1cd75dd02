/** What characters may look up, as doors and flows see it. */
import type { Note } from '#characters/card.ts'
import type { DocumentFailure, KnowledgeSettings } from '#store/knowledge-tables.ts'

export interface By {
  /** Name of the key or person. */
  actor: string
}

export interface KnowledgeBase {
  /** A slug of its name; never changes. */
  id: string
  name: string
  note: string | null
  settings: KnowledgeSettings
  /** Who may look into it. */
  characterIds: string[]
  documents: Record<DocumentState, number>
  chunks: number
  sizeBytes: number
  /** By words alone while no embedding model has read it, and while none is set. */
  searchedBy: 'words' | 'words and meaning'
  /** While it is cut anew: how many of its documents are; what was there before answers until all are. */
  rebuilding: { done: number; total: number } | null
  createdAtMs: number
  updatedAtMs: number
  /** While it lies in the trash. */
  deletedAtMs: number | null
}

/**
 * `waiting` → `parsing` → `embedding` → `ready`, or `failed` with its cause, or `stopped` by somebody. One that is `deleting`
 * answers nothing and is gone soon.
 */
export type DocumentState = 'waiting' | 'parsing' | 'embedding' | 'ready' | 'failed' | 'stopped' | 'deleting'

export interface KnowledgeDocument {
  id: string
  baseId: string
  /** Name of the file, with the folders that it was sent with. */
  file: string
  title: string
  mediaType: string
  sizeBytes: number
  sha256: string
  state: DocumentState
  progress: Progress
  failure: DocumentFailure | null
  notes: Note[]
  addedBy: string
  createdAtMs: number
  updatedAtMs: number
}

export interface Progress {
  pagesRead: number
  /** Null until it is known, and for formats without pages. */
  pagesTotal: number | null
  chunksEmbedded: number
  chunksTotal: number | null
  /** Of the step that it is in; null while nothing can be said. */
  secondsLeft: number | null
}

export interface KnowledgeChunk {
  id: number
  documentId: string
  /** From 0, in the order of the document. */
  number: number
  header: string
  text: string
  page: number | null
  startOffset: number
  endOffset: number
  isDisabled: boolean
  /** What the document says, where somebody changed the text. */
  originalText: string | null
  editedBy: string | null
  editedAtMs: number | null
}

export interface Added {
  file: string
  status: 'created' | 'updated' | 'skipped' | 'failed'
  id?: string
  notes: Note[]
}

export interface BaseWish {
  name: string
  note?: string | null
  /** What is not named stays as it is; null takes the default again. */
  settings?: { [Name in keyof KnowledgeSettings]: KnowledgeSettings[Name] | null }
  characterIds?: string[]
}

export interface Bases {
  /** Ids of the bases that a character may look into; from memory, for every turn. */
  of(characterId: string): readonly string[]
  /** By name; those in the trash only when asked. */
  list(find?: { isDeleted?: boolean }): Promise<KnowledgeBase[]>
  /** Those of `of` as they are. Throws AppError `not_found` for a character that is not there. */
  ofCharacter(characterId: string): Promise<KnowledgeBase[]>
  /** Throws AppError `not_found`. */
  get(id: string): Promise<KnowledgeBase>
  /** As `get`. Throws AppError `conflict` for one in the trash, which answers nothing. */
  kept(id: string): Promise<KnowledgeBase>
  /**
   * The same name never overwrites. Throws AppError `not_found` for a character that is not there, `invalid` for an overlap of
   * more than half a passage.
   */
  create(wish: BaseWish, by: By): Promise<KnowledgeBase>
  /** Other sizes of passages cut all documents anew, in the background. Throws as `create`. */
  edit(id: string, changes: Partial<BaseWish>, by: By): Promise<KnowledgeBase>
  /** Into the trash: it answers nothing from now on. */
  delete(id: string, by: By): Promise<void>
  restore(id: string, by: By): Promise<KnowledgeBase>
  deleteForGood(id: string, by: By): Promise<void>
  /** The base of one character alone; made when it is first asked for. */
  ownOf(characterId: string, by: By): Promise<KnowledgeBase>
  /** Reads all documents again from their files and cuts them anew; the old passages answer until all are done. */
  rebuild(id: string, by: By): Promise<KnowledgeBase>
}

export interface Documents {
  /** Keeps the file and queues it. A file of the same name is replaced once the new one is ready. Never throws for one file. */
  add(baseId: string, file: { name: string; bytes: AsyncIterable<Uint8Array> }, by: By): Promise<Added>
  /** In the order in which they were added, without those that are being deleted. */
  list(baseId: string): Promise<KnowledgeDocument[]>
  /** Throws AppError `not_found`. */
  get(id: string): Promise<KnowledgeDocument>
  /** Throws AppError `not_found`, also when the file lies on another machine. */
  original(id: string): Promise<{ name: string; mediaType: string; file: string }>
  delete(id: string, by: By): Promise<void>
  /** Throws AppError `conflict` for one that is not at work. */
  stop(id: string): Promise<KnowledgeDocument>
  /** Goes on with a stopped or failed one. Throws AppError `conflict` for others. */
  retry(id: string, by: By): Promise<KnowledgeDocument>
  chunks(
    id: string,
    find: { after?: number; limit?: number },
  ): Promise<{ chunks: KnowledgeChunk[]; nextAfter: number | null }>
  chunk(id: number): Promise<KnowledgeChunk>
  /** Throws AppError `invalid` for an empty or endless text. */
  editChunk(
    id: number,
    changes: { text?: string | null; isDisabled?: boolean },
    by: By,
  ): Promise<KnowledgeChunk>
}

export interface Knowledge {
  bases: Bases
  documents: Documents
  /** Empties the trash of a month ago, and forgets what nobody refers to. */
  purge(): Promise<void>
  /** What is at work goes on at the next start. */
  close(): Promise<void>
}
