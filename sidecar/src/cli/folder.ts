/** A character folder (card.json, avatar.png) becomes one PNG card; a file is uploaded as it is. */
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import { FOLDER_CARD, FOLDER_PICTURE, packFolder } from '#characters/folder.ts'

/** Throws AppError `invalid` when nothing can be read there. */
export async function readUpload(name: string): Promise<{ name: string; bytes: Uint8Array }> {
  const found = await stat(name).catch(() => undefined)
  if (found === undefined) throw new AppError('invalid', `${name} does not exist`)
  if (!found.isDirectory()) return { name: path.basename(name), bytes: await readFile(name) }
  return readFolder(name)
}

async function readFolder(folder: string): Promise<{ name: string; bytes: Uint8Array }> {
  const card = await readFile(path.join(folder, FOLDER_CARD)).catch((cause: unknown) => {
    throw new AppError('invalid', `${folder} is no character folder: it has no ${FOLDER_CARD}`, { cause })
  })
  const picture = await readFile(path.join(folder, FOLDER_PICTURE)).catch(() => undefined)
  return packFolder(path.basename(path.resolve(folder)), card, picture)
}
