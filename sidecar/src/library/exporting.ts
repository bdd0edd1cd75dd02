/** A version of a character becomes a file that others read. */
import { z } from 'zod'

import { writeCard } from '#characters/write.ts'

import type { Files } from './files.ts'
import type { CharacterVersion, ExportFormat } from './library.ts'

const MEDIA_TYPES = { json: 'application/json', yaml: 'application/yaml', png: 'image/png' } as const

export async function exportCard(version: CharacterVersion, files: Files, format: ExportFormat) {
  const original = await files.original(version.originalHash)
  if (format === 'original')
    return { name: version.originalName, mediaType: 'application/octet-stream', bytes: original }
  const { card, characterId, createdAtMs } = version
  const extensions = {
    ...card.extensions,
    troupe: { ...asObject(card.extensions['troupe']), id: characterId },
  }
  const modifiedAtSeconds = Math.floor(createdAtMs / 1_000)
  const picture = format === 'png' ? await portraitFor(original, version, files) : undefined
  const bytes = writeCard({ ...card, extensions }, format, {
    modifiedAtSeconds,
    ...(picture === undefined ? {} : { picture }),
  })
  return { name: `${characterId}.${format}`, mediaType: MEDIA_TYPES[format], bytes }
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
