/** Files that a person names. Whatever is wrong with one is told in a sentence with its name. */
import { existsSync } from 'node:fs'
import { open, readFile, stat, writeFile, type FileHandle } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'

/** By the system's codes. */
const REASONS: Readonly<Record<string, (file: string) => string>> = {
  // To write a file needs its folder alone, so the folder is what is missing then.
  ENOENT: (file) =>
    existsSync(path.dirname(file))
      ? `${file} does not exist`
      : `There is no folder ${path.dirname(file)} for ${path.basename(file)}`,
  ENOTDIR: (file) => `${file}: a part of that path is a file, not a folder`,
  EISDIR: isFolder,
  EACCES: (file) => `${file} may not be opened by you`,
  EPERM: (file) => `${file} may not be opened by you`,
  EROFS: (file) => `${file} cannot be written: the disk may only be read`,
  ENOSPC: (file) => `${file} was not written whole: the disk is full`,
}

function isFolder(file: string): string {
  return `${file} is a folder; name a file`
}

/** Undefined for what is no fault of a file. Some faults do not say which file they are about; `named` does. */
export function fileFault(thrown: unknown, named?: string): AppError | undefined {
  if (!(thrown instanceof Error) || !('code' in thrown)) return undefined
  const file = named ?? ('path' in thrown ? thrown.path : undefined)
  const reason = REASONS[String(thrown.code)]
  if (typeof file !== 'string' || reason === undefined) return undefined
  return new AppError('invalid', reason(file), { cause: thrown })
}

const orFault = (file: string) => (thrown: unknown) => {
  throw fileFault(thrown, file) ?? thrown
}

/** Throws AppError `invalid` for what cannot be read, like all of these. */
export const readNamed = (file: string): Promise<Buffer> => readFile(file).catch(orFault(file))

export const writeNamed = (file: string, bytes: Uint8Array): Promise<void> =>
  writeFile(file, bytes).catch(orFault(file))

/** The caller closes it, or the stream that it makes of it does. */
export const openToWrite = (file: string): Promise<FileHandle> => open(file, 'w').catch(orFault(file))

/** The caller closes it, or the stream that it makes of it does. */
export async function openToRead(file: string): Promise<{ handle: FileHandle; sizeBytes: number }> {
  const found = await stat(file).catch(orFault(file))
  // Opening one works, and reading it fails too late to be told from a sidecar that does not answer.
  if (found.isDirectory()) throw new AppError('invalid', isFolder(file))
  return { handle: await open(file).catch(orFault(file)), sizeBytes: found.size }
}
