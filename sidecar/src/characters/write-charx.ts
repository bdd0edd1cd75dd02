/** A card and its pictures as a CHARX archive. Source: the V3 specification, "CHARX". */
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'

import { AppError } from '#base/errors.ts'
import { createZip } from '#base/zip.ts'

import type { Card } from './card.ts'
import { findArchive, openArchive, type Archive } from './formats/zip.ts'
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

/**
 * Equal inputs give equal bytes. `card.json` stands first. Throws AppError `invalid` for an original that is a damaged
 * archive, `too_large` for one whose files unpack to more than 512 MB.
 */
export async function writeCharx(
  card: Card,
  { picture, original, modifiedAtSeconds }: WriteCharxOptions,
): Promise<Uint8Array> {
  const archive = original && (await archiveOf(original))
  const paths = archive === undefined ? [] : packedPaths(card, archive)
  const hasIcon = (card.assets ?? []).some(({ type, uri }) => type === 'icon' && paths.includes(pathOf(uri)))
  const icon = picture === undefined || hasIcon ? undefined : iconOf(picture.extension)
  const assets = icon === undefined ? card.assets : withIcon(icon, card.assets)
  const written = writeCard({ ...card, ...(assets && { assets }) }, 'json', { modifiedAtSeconds })

  const zip = createZip()
  const add = (path: string, open: () => Promise<Uint8Array | Readable>) => {
    zip.add(path, open, { mtime: MTIME, mode: 0o100644, forceDosTimestamp: true })
  }
  add('card.json', () => Promise.resolve(written))
  if (icon !== undefined && picture !== undefined) add(pathOf(icon.uri), () => Promise.resolve(picture.bytes))
  if (archive !== undefined) for (const path of paths) add(path, () => archive.stream(path))
  // Packed again they are about as long as they came.
  return buffer(zip.end()).catch((cause: unknown) => {
    throw cause instanceof AppError ? cause : DAMAGED(cause)
  })
}

type CardAsset = NonNullable<Card['assets']>[number]

/** In the place of the one that is shown; further ones stay. */
function withIcon(icon: CardAsset, assets: readonly CardAsset[] = []): CardAsset[] {
  const icons = assets.filter(({ type }) => type === 'icon')
  const shown = icons.find(({ name }) => name === 'main') ?? icons[0]
  return [icon, ...assets.filter((asset) => asset !== shown)]
}

const DAMAGED = (cause: unknown) =>
  new AppError(
    'invalid',
    'A file in the uploaded archive is damaged; export the format "original", or import the card again from where it was made',
    { cause },
  )

const iconOf = (extension: string) => ({
  type: 'icon',
  uri: `${SCHEME}assets/icon/images/main.${extension}`,
  name: 'main',
  ext: extension,
})

/** Empty for an address of another kind. Two spellings are seen. */
const pathOf = (uri: string): string => /^embedd?ed:\/\/(.+)$/i.exec(uri)?.[1] ?? ''

async function archiveOf(original: Uint8Array): Promise<Archive | undefined> {
  const bytes = Buffer.from(original.buffer, original.byteOffset, original.byteLength)
  const place = findArchive(bytes)
  return place && openArchive(bytes, place, createNotebook())
}

/** Files that the card does not name stay behind: they may be programs of other applications. */
function packedPaths(card: Card, archive: Archive): string[] {
  const named = new Set((card.assets ?? []).map(({ uri }) => pathOf(uri)))
  const paths = archive.names.filter((name) => named.has(name) && name !== 'card.json')
  const sizeBytes = paths.reduce((sum, path) => sum + archive.sizeOf(path), 0)
  if (sizeBytes <= LIMITS.charxUnpackedBytes) return paths
  throw new AppError(
    'too_large',
    'The files of this card unpack to more than 512 MB; export the format "original", which has them all',
  )
}
