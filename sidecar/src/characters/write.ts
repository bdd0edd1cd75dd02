/** A card → the bytes of a file that others read: strict V3, and for PNG a V2 copy for older programs. */
import { stringify } from 'yaml'

import { AppError } from '#base/errors.ts'

import type { Card, LorebookEntry } from './card.ts'
import { writePngText } from './formats/png.ts'
import { LIMITS } from './limits.ts'
import { without } from './mend.ts'
import { BACKFILL_WARNING, rootOf, withoutRoot } from './salvage.ts'

export interface WriteOptions {
  /** A PNG; needed for that format. */
  picture?: Uint8Array
  /** Goes into the card as its date of change. */
  modifiedAtSeconds: number
}

/**
 * Equal inputs give equal bytes, and reading them gives the same card. Pictures that an older PNG card kept in chunks of
 * their own are not written: V3 asks programs not to. Throws AppError `invalid` when the picture is no PNG, `too_large` for
 * more than 1 MB of YAML.
 */
export function writeCard(
  card: Card,
  format: 'json' | 'yaml' | 'png',
  { picture = new Uint8Array(), modifiedAtSeconds }: WriteOptions,
): Uint8Array {
  const v3 = toV3({ ...card, modification_date: modifiedAtSeconds })
  if (format === 'json') return Buffer.from(`${JSON.stringify(v3, null, 2)}\n`)
  // Long lines stay whole: folding a paragraph is how a blank gets lost.
  if (format === 'yaml') return bounded(Buffer.from(stringify(v3, { lineWidth: 0 })))
  return writePngText(picture, [
    { keyword: 'chara', text: encode(toV2(card)) },
    { keyword: 'ccv3', text: encode(v3) },
  ])
}

/** What we would not read back is not written. */
function bounded(yaml: Buffer): Buffer {
  if (yaml.length <= LIMITS.yamlBytes) return yaml
  throw new AppError('too_large', 'The card is too long for YAML, which takes 1 MB; export it as JSON')
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')

function toV3(card: Card): object {
  const data = { ...card, extensions: withoutRoot(card.extensions) }
  return { spec: 'chara_card_v3', spec_version: '3.0', data, ...rootOf(card.extensions) }
}

const V3_ONLY = new Set([
  'nickname',
  'group_only_greetings',
  'creation_date',
  'modification_date',
  'source',
  'assets',
  'creator_notes_multilingual',
])

/** Begins its notes with a warning, so that people with older programs know that they see less. */
function toV2(card: Card): object {
  const book = card.character_book
  const data = {
    ...without(card, V3_ONLY),
    creator_notes: `${BACKFILL_WARNING}\n\n${card.creator_notes}`,
    extensions: withoutRoot(card.extensions),
    ...(book && { character_book: { ...book, entries: book.entries.map(withoutDecorators) } }),
  }
  return { spec: 'chara_card_v2', spec_version: '2.0', data, ...rootOf(card.extensions) }
}

/** Lines that begin with `@@` at the top of an entry are instructions that V2 programs would print. */
function withoutDecorators(entry: LorebookEntry): LorebookEntry {
  const lines = entry.content.split('\n')
  const first = lines.findIndex((line) => !line.startsWith('@@'))
  return { ...entry, content: first === -1 ? '' : lines.slice(first).join('\n') }
}
