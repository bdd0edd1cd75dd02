/** A card format: how its files are known, and where in them the card lies. */
import { AppError } from '#base/errors.ts'

import type { Notebook } from '../notes.ts'

export type Container = 'json' | 'yaml' | 'png' | 'apng' | 'jpeg' | 'webp' | 'charx'

/** Bytes that should be JSON. */
export interface Found {
  /** Where it was found, for notes. */
  name: string
  /** Whether the file ends inside of them. */
  isCutOff?: boolean
  /** Unpacks them, which may cost time and memory. Throws AppError `invalid` or `too_large`. */
  open(): Buffer
}

export interface Opened {
  /** Best group first; inside a group, newest first. The first group with a card in it has the card. */
  groups: readonly (readonly Found[])[]
  container: Container
  picture?: Uint8Array
}

export interface CardFormat {
  /** Looks at bytes, never at the file's name. */
  sniff(bytes: Uint8Array): boolean
  /** Throws AppError `invalid` or `too_large`. */
  read(bytes: Uint8Array, notebook: Notebook): Opened | Promise<Opened>
}

export const cutOff = (cause?: unknown): AppError =>
  new AppError(
    'invalid',
    'The file is cut off: its picture is truncated, and there is no whole character in what is left of it; download it again',
    { cause },
  )

export const noCard = (): AppError =>
  new AppError(
    'invalid',
    'This is a picture without a character in it; chat programs often strip the card, so take the original file',
  )
