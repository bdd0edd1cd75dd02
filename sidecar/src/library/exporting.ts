/** A version of a character becomes a file that others read. */
import { z } from 'zod'

import type { Card } from '#characters/card.ts'
import { writeCard } from '#characters/write.ts'
import { writeCharx } from '#characters/write-charx.ts'

import type { Files } from './files.ts'
import type { CharacterVersion, ExportFormat } from './library.ts'

/** A CHARX has no type of its own; browsers keep the ending of the name. */
const MEDIA_TYPES = {
  json: 'application/json',
  yaml: 'application/yaml',
  png: 'image/png',
  charx: 'application/zip',
} as const

export async function exportCard(version: CharacterVersion, files: Files, format: ExportFormat) {
  const original = await files.original(version.originalHash)
  if (format === 'original')
    return { name: version.originalName, mediaType: 'application/octet-stream', bytes: original }
  const { characterId, createdAtMs } = version
  const card = signed(version)
  const modifiedAtSeconds = Math.floor(createdAtMs / 1_000)
  const bytes =
    format === 'charx'
      ? await writeCharx(card, { original, modifiedAtSeconds, ...(await iconFor(version, files)) })
      : writeCard(card, format, {
          modifiedAtSeconds,
          ...(format === 'png' && { picture: await portraitFor(original, version, files) }),
        })
  return { name: `${characterId}.${format}`, mediaType: MEDIA_TYPES[format], bytes }
}

/** With the id of its character: reading it back makes a new version instead of a twin. */
function signed({ card, characterId }: CharacterVersion): Card {
  const troupe = { ...asObject(card.extensions['troupe']), id: characterId }
  return { ...card, extensions: { ...card.extensions, troupe } }
}

async function iconFor({ pictureHash }: CharacterVersion, files: Files) {
  if (pictureHash === null) return {}
  return { picture: { bytes: await files.picture(pictureHash, 512), extension: 'webp' as const } }
}

const asObject = (value: unknown): Record<string, unknown> =>
  z.record(z.string(), z.unknown()).catch({}).parse(value)

const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47])

/** The uploaded PNG itself, else the portrait, else a plain square: a PNG card needs some picture. */
async function portraitFor(
  original: Uint8Array,
  { pictureHash }: CharacterVersion,
  files: Files,
): Promise<Uint8Array> {
  if (Buffer.from(original.subarray(0, 4)).equals(PNG_SIGNATURE)) return original
  return files.portraitPng(pictureHash)
}
