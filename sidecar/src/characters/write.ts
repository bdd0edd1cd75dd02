/** A card → the bytes of a file that others read: strict V3, and for PNG a V2 copy for older programs. */
import type { Card, LorebookEntry } from './card.ts'
import { writePngTexts } from './formats/png.ts'
import { isObject } from './mend.ts'
import { ROOT_KEY } from './salvage.ts'

export interface WriteOptions {
  /** A PNG; needed for that format. */
  picture?: Uint8Array
  /** Goes into the card as its date of change. */
  modifiedAtSeconds: number
}

/** Equal inputs give equal bytes. Throws AppError `invalid` when the picture is no PNG. */
export function writeCard(
  card: Card,
  format: 'json' | 'png',
  { picture = new Uint8Array(), modifiedAtSeconds }: WriteOptions,
): Uint8Array {
  const v3 = toV3({ ...card, modification_date: modifiedAtSeconds })
  if (format === 'json') return Buffer.from(`${JSON.stringify(v3, null, 2)}\n`)
  return writePngTexts(picture, [
    { keyword: 'chara', text: encode(toV2(card)) },
    { keyword: 'ccv3', text: encode(v3) },
  ])
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')

function toV3(card: Card): object {
  const { root, extensions } = splitRoot(card)
  return { ...root, spec: 'chara_card_v3', spec_version: '3.0', data: { ...card, extensions } }
}

/** The keys that stood beside `data` in the file that we read. */
function splitRoot({ extensions }: Card): { root: object; extensions: Card['extensions'] } {
  const own = extensions['troupe']
  if (!isObject(own) || !isObject(own[ROOT_KEY])) return { root: {}, extensions }
  const { [ROOT_KEY]: root, ...rest } = own
  const { troupe: _troupe, ...others } = extensions
  return { root, extensions: Object.keys(rest).length === 0 ? others : { ...others, troupe: rest } }
}

/** Says to people with older programs that they see less; recognised by its beginning. */
export const BACKFILL_WARNING = 'This is a V2 copy of a V3 card; some of it may be missing.'

const V3_ONLY = [
  'nickname',
  'group_only_greetings',
  'creation_date',
  'modification_date',
  'source',
  'assets',
  'creator_notes_multilingual',
]

function toV2(card: Card): object {
  const kept = Object.fromEntries(Object.entries(card).filter(([key]) => !V3_ONLY.includes(key)))
  const book = card.character_book
  return {
    spec: 'chara_card_v2',
    spec_version: '2.0',
    data: {
      ...kept,
      creator_notes: `${BACKFILL_WARNING}\n\n${card.creator_notes}`,
      ...(book === undefined
        ? {}
        : { character_book: { ...book, entries: book.entries.map(withoutDecorators) } }),
    },
  }
}

/** Lines that begin with `@@` at the top of an entry are instructions that V2 programs would print. */
function withoutDecorators(entry: LorebookEntry): LorebookEntry {
  const lines = entry.content.split('\n')
  const first = lines.findIndex((line) => !line.startsWith('@@'))
  return { ...entry, content: first === -1 ? '' : lines.slice(first).join('\n') }
}
