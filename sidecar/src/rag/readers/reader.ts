/** What turns the bytes of one format into blocks. Readers run in a process of their own and may be killed at any time. */
import type { Note } from '#characters/card.ts'

import type { ParsedDocument } from '../document.ts'

export interface Reading {
  name: string
  bytes: Buffer
  /** Pages, chapters or whatever the format counts; `total` as soon as it is known. */
  progress(read: number, total: number): void
  note(note: Omit<Note, 'path'>): void
}

/** Throws AppError `invalid` or `too_large` with what to do. */
export type Reader = (reading: Reading) => Promise<ParsedDocument> | ParsedDocument
