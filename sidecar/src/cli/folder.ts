/** A character folder (card.json, avatar.png) becomes one PNG card; a file is uploaded as it is. */
import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'

/** Throws AppError `invalid` when nothing can be read there. */
export async function readUpload(name: string): Promise<{ name: string; bytes: Uint8Array }> {
  const found = await stat(name).catch(() => undefined)
  if (found === undefined) throw new AppError('invalid', `${name} does not exist`)
  if (!found.isDirectory()) return { name: path.basename(name), bytes: await readFile(name) }
  return readFolder(name)
}

/** The same folder always gives the same bytes, so importing it again changes nothing. */
async function readFolder(folder: string): Promise<{ name: string; bytes: Uint8Array }> {
  const cardFile = path.join(folder, 'card.json')
  const json = await readFile(cardFile).catch((cause: unknown) => {
    throw new AppError('invalid', `${folder} is no character folder: it has no card.json`, { cause })
  })
  const picture = await readFile(path.join(folder, 'avatar.png')).catch(() => undefined)
  const name = path.basename(path.resolve(folder))
  if (picture === undefined) return { name: `${name}.json`, bytes: json }
  const { card } = await readCard(json, 'card.json')
  const modifiedAtSeconds = card.modification_date ?? 0
  return { name: `${name}.png`, bytes: writeCard(card, 'png', { picture, modifiedAtSeconds }) }
}
