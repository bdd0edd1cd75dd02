/** Cards on their way in: one request per file, so that progress is honest and one bad file stops nothing. */
import { ApiError } from './api/calling.ts'
import {
  importCard,
  UPLOAD_LIMIT_BYTES,
  type ImportResult,
  type ImportStatus,
  type Note,
} from './api/imports.ts'
import type { Library } from './library.svelte.ts'
import type { Session } from './session.svelte.ts'
import { size } from './words.ts'

/** Browsers keep six connections to a host; the gallery's pictures need some of them. */
const AT_ONCE = 3

export type UploadState = 'waiting' | 'sending' | 'checking' | 'stopped' | ImportStatus

const ON_THE_WAY: ReadonlySet<UploadState> = new Set<UploadState>(['waiting', 'sending', 'checking'])

/** Failures first, then what has notes: the list of a finished round begins with what needs a look. */
const WEIGHT: Readonly<Record<UploadState, number>> = {
  failed: 0,
  stopped: 1,
  updated: 3,
  created: 3,
  skipped: 4,
  waiting: 5,
  sending: 5,
  checking: 5,
}

export class Upload {
  readonly file: File
  /** A view of a picture file, until the tray is closed. */
  readonly previewUrl: string | null
  state = $state<UploadState>('waiting')
  /** 0 to 1. */
  sentShare = $state(0)
  /** Why it failed, or empty. */
  trouble = $state('')
  /** Whether sending the same file again could end differently. */
  canRetry = $state(false)
  wasHeldBack = false
  notes = $state.raw<Note[]>([])
  characterId = $state<string | null>(null)

  constructor(file: File) {
    this.file = file
    this.previewUrl = file.type.startsWith('image/') ? URL.createObjectURL(file) : null
  }
}

export class Uploads {
  entries = $state<Upload[]>([])
  isFolded = $state(false)

  readonly pending = $derived(this.entries.filter(({ state }) => ON_THE_WAY.has(state)).length)
  readonly retryable = $derived(this.entries.filter(({ canRetry }) => canRetry).length)
  readonly shown = $derived(
    this.pending > 0 ? this.entries : this.entries.toSorted((one, other) => weightOf(one) - weightOf(other)),
  )
  /** 0 to 1, by files: a sent one counts half until its card has been read. */
  readonly share = $derived(
    this.entries.reduce((sum, { state, sentShare }) => sum + (ON_THE_WAY.has(state) ? sentShare / 2 : 1), 0) /
      Math.max(1, this.entries.length),
  )

  readonly #library: Library
  readonly #session: Session
  #stop = new AbortController()
  #running = 0

  constructor({ library, session }: { library: Library; session: Session }) {
    this.#library = library
    this.#session = session
  }

  /** Adds files to the round that is running, or begins a new one. */
  add(files: readonly File[]): void {
    if (files.length === 0) return
    if (this.pending === 0) this.close()
    this.isFolded = false
    this.entries.push(...files.map((file) => new Upload(file)))
    this.resume()
  }

  /** Starts what may start. While the sidecar is not there, nothing does; to be called when it is back. */
  resume(): void {
    while (this.#running < AT_ONCE && !this.#library.isCutOff) {
      const next = this.entries.find(({ state }) => state === 'waiting')
      if (next === undefined) return
      void this.#send(next)
    }
  }

  /** Stops what is on the way; what has arrived stays. */
  stop(): void {
    for (const entry of this.entries) if (entry.state === 'waiting') entry.state = 'stopped'
    this.#stop.abort()
    this.#stop = new AbortController()
  }

  retry(): void {
    for (const entry of this.entries) {
      if (!entry.canRetry) continue
      entry.canRetry = false
      entry.state = 'waiting'
      entry.sentShare = 0
    }
    this.resume()
  }

  /** Forgets a finished round. */
  close(): void {
    for (const { previewUrl } of this.entries) if (previewUrl !== null) URL.revokeObjectURL(previewUrl)
    this.entries = []
  }

  async #send(entry: Upload): Promise<void> {
    if (entry.file.size > UPLOAD_LIMIT_BYTES) {
      fail(entry, `This file has ${size(entry.file.size)}; a card may have ${size(UPLOAD_LIMIT_BYTES)}.`)
      return
    }
    const { signal } = this.#stop
    this.#running += 1
    entry.state = 'sending'
    try {
      this.#arrived(entry, await importCard(entry.file, { signal, onSent: (share) => advance(entry, share) }))
    } catch (error) {
      if (signal.aborted) entry.state = 'stopped'
      else await this.#refused(entry, error)
    } finally {
      this.#running -= 1
      this.resume()
    }
  }

  #arrived(entry: Upload, result: ImportResult): void {
    entry.notes = result.notes
    entry.characterId = result.id
    entry.state = result.status
    if (result.status === 'failed') fail(entry, result.notes[0]?.message ?? 'Troupe gave no reason.')
    else void this.#library.load()
  }

  async #refused(entry: Upload, error: unknown): Promise<void> {
    if (!(error instanceof ApiError)) throw error
    if (error.status === 0) {
      // Reading the list tells whether the sidecar is gone. Then the file waits with the others, but only once: a file
      // that brings the sidecar down must not do so again and again. Sending one twice is safe, the twin is recognised.
      await this.#library.load()
      if (this.#library.isCutOff && !entry.wasHeldBack) {
        entry.wasHeldBack = true
        entry.state = 'waiting'
        return
      }
    }
    fail(entry, error.message)
    entry.canRetry = error.status !== 413 && error.status !== 400
    this.#session.end(error)
  }
}

function fail(entry: Upload, trouble: string): void {
  entry.trouble = trouble
  entry.state = 'failed'
}

function advance(entry: Upload, share: number): void {
  entry.sentShare = share
  entry.state = share < 1 ? 'sending' : 'checking'
}

const weightOf = ({ state, notes }: Upload): number =>
  WEIGHT[state] === 3 && notes.length > 0 ? 2 : WEIGHT[state]

/** What a finished round came to: what is in the library now, and what became of the rest (empty when nothing is left). */
export function summaryOf(entries: readonly Upload[]): { done: string; rest: string } {
  const told = (words: Partial<Record<UploadState, string>>) =>
    Object.entries(words)
      .map(([state, word]) => ({ word, count: entries.filter((entry) => entry.state === state).length }))
      .filter(({ count }) => count > 0)
      .map(({ word, count }) => `${count} ${word}`)
      .join(', ')
  const done = told({ created: 'added', updated: 'updated' })
  return {
    done: done || 'Nothing was added',
    rest: told({ skipped: 'already here', stopped: 'stopped', failed: 'not added' }),
  }
}
