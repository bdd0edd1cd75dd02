/** A card and its pictures as a CHARX archive. Source: the V3 specification, "CHARX". */
import { buffer } from 'node:stream/consumers'

import { ZipFile } from 'yazl'

import type { Card } from './card.ts'
import { findArchive, openArchive } from './formats/zip.ts'
import { LIMITS } from './limits.ts'
import { createNotebook } from './notes.ts'
import { writeCard } from './write.ts'

export interface WriteCharxOptions {
  /** Becomes the icon, unless the original brings one. */
  picture?: { bytes: Uint8Array; extension: 'png' | 'webp' | 'jpeg' }
  /** The uploaded file. Of an archive, the files that the card names are taken over as they are. */
  original?: Uint8Array
  /** Goes into the card as its date of change. */
  modifiedAtSeconds: number
}

/** The official spelling has one "d". */
const SCHEME = 'embeded://'

/** No clock in an archive: the earliest that a zip can say. */
const MTIME = new Date(Date.UTC(1980, 0, 1))

/** Equal inputs give equal bytes. `card.json` stands first. Throws AppError for an original that is a damaged archive. */
export async function writeCharx(
  card: Card,
  { picture, original, modifiedAtSeconds }: WriteCharxOptions,
): Promise<Uint8Array> {
  const files = original === undefined ? new Map<string, Buffer>() : await packedFiles(card, original)
  const hasIcon = (card.assets ?? []).some(({ type, uri }) => type === 'icon' && files.has(pathOf(uri)))
  const icon = picture === undefined || hasIcon ? undefined : iconOf(picture.extension)
  const assets =
    icon === undefined ? card.assets : [icon, ...(card.assets ?? []).filter(({ type }) => type !== 'icon')]
  const written = writeCard({ ...card, ...(assets && { assets }) }, 'json', { modifiedAtSeconds })

  const zip = new ZipFile()
  const add = (path: string, bytes: Uint8Array) => {
    zip.addBuffer(Buffer.from(bytes), path, { mtime: MTIME, mode: 0o100644, forceDosTimestamp: true })
  }
  add('card.json', written)
  if (icon !== undefined && picture !== undefined) add(pathOf(icon.uri), picture.bytes)
  for (const [path, bytes] of files) add(path, bytes)
  zip.end()
  return buffer(zip.outputStream)
}

const iconOf = (extension: string) => ({
  type: 'icon',
  uri: `${SCHEME}assets/icon/images/main.${extension}`,
  name: 'main',
  ext: extension,
})

/** Empty for an address of another kind. Two spellings are seen. */
const pathOf = (uri: string): string => /^embedd?ed:\/\/(.+)$/i.exec(uri)?.[1] ?? ''

/** Files that the card does not name stay behind: they may be programs of other applications. */
async function packedFiles(card: Card, original: Uint8Array): Promise<Map<string, Buffer>> {
  const bytes = Buffer.from(original.buffer, original.byteOffset, original.byteLength)
  const place = findArchive(bytes)
  const files = new Map<string, Buffer>()
  if (place === undefined) return files
  const archive = await openArchive(bytes, place, createNotebook())
  let sizeBytes = 0
  for (const path of new Set((card.assets ?? []).map(({ uri }) => pathOf(uri)))) {
    if (!archive.names.includes(path)) continue
    const content = await archive.open(path, LIMITS.zipFileBytes)
    sizeBytes += content.length
    if (sizeBytes > LIMITS.fileBytes) break
    files.set(path, content)
  }
  return files
}
