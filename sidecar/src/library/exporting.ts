/** A version of a character becomes a file that others read. */
import { z } from 'zod'

import type { Card } from '#characters/card.ts'
import { png, writePngText } from '#characters/formats/png.ts'
import { LIMITS } from '#characters/limits.ts'
import { writeCard } from '#characters/write.ts'
import { writeCharx } from '#characters/write-charx.ts'

import type { CardReader } from './card-reader.ts'
import { pictureKind, toPng, type Files, type PictureKind } from './files.ts'
import { UNREADABLE_PICTURE } from './importing.ts'
import type { CharacterVersion, ExportFormat, VersionSummary } from './library.ts'

/** A CHARX has no type of its own; browsers keep the ending of the name. */
const MEDIA_TYPES = {
  json: 'application/json',
  yaml: 'application/yaml',
  png: 'image/png',
  charx: 'application/zip',
} as const

interface ExportParts {
  files: Files
  cards: CardReader
}

/** `versions`: those of the character, of which an older one may hold the picture in full. */
export async function exportCard(
  version: CharacterVersion,
  versions: readonly VersionSummary[],
  { files, cards }: ExportParts,
  format: ExportFormat,
) {
  const original = await files.original(version.originalHash)
  if (format === 'original')
    return { name: version.originalName, mediaType: 'application/octet-stream', bytes: original }
  const { characterId, createdAtMs } = version
  const card = signed(version)
  const modifiedAtSeconds = Math.floor(createdAtMs / 1_000)
  const picture = () => pictureOf(version, versions, { files, cards })
  const bytes =
    format === 'charx'
      ? await writeCharx(card, {
          original,
          modifiedAtSeconds,
          ...(await iconFor(await picture(), version, files)),
        })
      : writeCard(card, format, {
          modifiedAtSeconds,
          ...(format === 'png' && { picture: await portraitFor(original, await picture(), version, files) }),
        })
  return { name: `${characterId}.${format}`, mediaType: MEDIA_TYPES[format], bytes }
}

/** With the id of its character: reading it back makes a new version instead of a twin. */
function signed({ card, characterId }: CharacterVersion): Card {
  const troupe = { ...asObject(card.extensions['troupe']), id: characterId }
  return { ...card, extensions: { ...card.extensions, troupe } }
}

interface Picture {
  bytes: Uint8Array
  extension: PictureKind
}

/** The picture as it was uploaded, out of the file of this version or of one with the same portrait. */
async function pictureOf(
  { number, pictureHash }: CharacterVersion,
  versions: readonly VersionSummary[],
  { files, cards }: ExportParts,
): Promise<Picture | undefined> {
  if (pictureHash === null) return undefined
  const alike = versions
    .filter((other) => other.number <= number && other.pictureHash === pictureHash)
    .filter(({ notes }) => !notes.some(({ code }) => code === UNREADABLE_PICTURE.code))
  for (const hash of new Set(alike.reverse().map(({ originalHash }) => originalHash))) {
    const bytes = await files
      .original(hash)
      .then((original) => cards.readCard(original, ''))
      .then(
        ({ picture }) => picture,
        () => undefined,
      )
    const extension = bytes && (await pictureKind(bytes))
    if (bytes !== undefined && extension !== undefined) return { bytes, extension }
  }
  return undefined
}

/** Without the card that a PNG carries: it is in the archive. One that would not be read back is made smaller. */
async function iconFor(picture: Picture | undefined, { pictureHash }: CharacterVersion, files: Files) {
  if (pictureHash === null) return {}
  if (picture === undefined)
    return { picture: { bytes: await files.picture(pictureHash, 512), extension: 'webp' as const } }
  const bytes = picture.extension === 'png' ? writePngText(picture.bytes, []) : picture.bytes
  if (bytes.length <= LIMITS.zipFileBytes) return { picture: { ...picture, bytes } }
  return { picture: { bytes: await toPng(bytes), extension: 'png' as const } }
}

const asObject = (value: unknown): Record<string, unknown> =>
  z.record(z.string(), z.unknown()).catch({}).parse(value)

/** The uploaded PNG itself, else the picture as PNG, else a plain square: a PNG card needs some picture. */
async function portraitFor(
  original: Uint8Array,
  picture: Picture | undefined,
  { pictureHash }: CharacterVersion,
  files: Files,
): Promise<Uint8Array> {
  if (png.sniff(original)) return original
  if (picture === undefined) return files.portraitPng(pictureHash)
  return picture.extension === 'png' ? picture.bytes : toPng(picture.bytes)
}
