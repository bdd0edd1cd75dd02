/** The lorebooks on the page, and those on their way in. */
import { ApiError } from './api/calling.ts'
import { importLorebook, UPLOAD_LIMIT_BYTES, type ImportStatus } from './api/imports.ts'
import { attachLorebook, deleteLorebook, listLorebooks, type Lorebook } from './api/lorebooks.ts'
import type { Session } from './session.svelte.ts'
import { size } from './words.ts'

/** What became of an uploaded file. */
export interface Arrived {
  file: string
  isIn: boolean
  sentence: string
}

const SENTENCES: Readonly<Record<Exclude<ImportStatus, 'failed'>, string>> = {
  created: 'added; no character has it yet',
  updated: 'updated',
  skipped: 'already here',
}

export class Lorebooks {
  books = $state.raw<Lorebook[]>([])
  /** When the list was read, or null while it never was. */
  readAtMs = $state<number | null>(null)
  /** Why the last reading failed, or empty. */
  trouble = $state('')
  isSending = $state(false)
  arrived = $state.raw<Arrived[]>([])

  readonly #session: Session
  readonly #waiting: File[] = []

  constructor(session: Session) {
    this.#session = session
  }

  byId(id: string): Lorebook | undefined {
    return this.books.find((book) => book.id === id)
  }

  async load(): Promise<void> {
    try {
      this.books = await listLorebooks()
      this.readAtMs = Date.now()
      this.trouble = ''
    } catch (error) {
      if (this.#session.end(error)) return
      if (!(error instanceof ApiError)) throw error
      this.trouble = error.message
    }
  }

  /** One after the other, also those that come meanwhile; what becomes of each is shown as it is known. */
  async add(files: readonly File[]): Promise<void> {
    this.#waiting.push(...files)
    if (files.length === 0 || this.isSending) return
    this.isSending = true
    this.arrived = []
    try {
      for (let file = this.#waiting.shift(); file !== undefined; file = this.#waiting.shift())
        this.arrived = [...this.arrived, await this.#send(file)]
    } finally {
      this.isSending = false
      await this.load()
    }
  }

  forget(): void {
    this.arrived = []
  }

  /** Null is for all characters. Throws ApiError. */
  async attach(id: string, characterIds: string[] | null): Promise<void> {
    await attachLorebook(id, characterIds)
    await this.load()
  }

  /** Throws ApiError; one that is gone already counts as deleted. */
  async delete(id: string): Promise<void> {
    try {
      await deleteLorebook(id)
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    }
    this.books = this.books.filter((book) => book.id !== id)
  }

  async #send(file: File): Promise<Arrived> {
    const failed = (sentence: string) => ({ file: file.name, isIn: false, sentence })
    if (file.size > UPLOAD_LIMIT_BYTES) return failed(`is larger than ${size(UPLOAD_LIMIT_BYTES)}`)
    try {
      const { status, notes } = await importLorebook(file)
      if (status === 'failed') return failed(notes[0]?.message ?? 'Troupe gave no reason.')
      const noted = status === 'created' ? notes.map(({ message }) => ` ${message}`).join('') : ''
      return { file: file.name, isIn: true, sentence: `${SENTENCES[status]}.${noted}` }
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      this.#session.end(error)
      return failed(error.message)
    }
  }
}
