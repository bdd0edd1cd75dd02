/** Reads documents in the process of the test: what a process of their own adds has its own tests, and its start takes a second. */
import { readFile } from 'node:fs/promises'

import { AppError } from '#base/errors.ts'
import { prepareDocument } from '#rag/prepare.ts'
import type { readInChild } from '#rag/read-in-child.ts'

export const readHere: typeof readInChild = async ({ file, name, chunking }, { onProgress, signal }) => {
  const prepared = await prepareDocument(
    { name, bytes: await readFile(file), progress: (pages, total) => onProgress?.(pages, total) },
    chunking,
  )
  if (signal.aborted) throw new AppError('cancelled', 'Stopped')
  return prepared
}
