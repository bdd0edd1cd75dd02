/**
 * Any JSON that means to be a card becomes one: lenient in, strict out. Each field is repaired by itself, with a note for
 * each repair, and every key that we do not know stays where it was.
 */
import { AppError } from '#base/errors.ts'

import { Card, type Note } from './card.ts'
import { LIMITS } from './limits.ts'
import { createMender, cut, isObject, type Fields, type Mender } from './mend.ts'
import { salvageLorebook } from './salvage-lorebook.ts'

export type CardSpec = 'v1' | 'v2' | 'v3'

export interface Salvaged {
  card: Card
  spec: CardSpec
}

/** Names that other programs use for the fields of V1. */
const ALIASES: Readonly<Record<string, string>> = {
  char_name: 'name',
  char_persona: 'description',
  char_greeting: 'first_mes',
  example_dialogue: 'mes_example',
  world_scenario: 'scenario',
}

const TEXTS = [
  'description',
  'personality',
  'scenario',
  'first_mes',
  'mes_example',
  'creator_notes',
  'system_prompt',
  'post_history_instructions',
  'creator',
  'character_version',
] as const

/** Where root keys outside of `data` are kept, so that export can put them back. */
export const ROOT_KEY = 'root'

/** `fallbackName` is used when the card names nobody. Throws AppError `invalid` when nothing in it looks like a card. */
export function salvage(value: unknown, fallbackName: string, notes: Note[]): Salvaged {
  if (!isObject(value))
    throw new AppError(
      'invalid',
      'The file is JSON, but not a card: a card is an object with a name and a description',
    )
  const { fields, spec, root } = locate(value)
  const mend = createMender(notes)
  const texts = Object.fromEntries(TEXTS.map((key) => [key, mend.text(fields[key], key)]))
  const book = salvageLorebook(fields['character_book'], mend)
  const draft = {
    ...withoutKnown(fields),
    ...texts,
    name: nameOf(fields['name'], fallbackName, mend),
    alternate_greetings: mend.texts(fields['alternate_greetings'], 'alternate_greetings'),
    group_only_greetings: mend.texts(fields['group_only_greetings'], 'group_only_greetings'),
    tags: mend.texts(fields['tags'], 'tags').filter((tag) => tag.trim() !== ''),
    extensions: keepRoot(mend.object(fields['extensions'], 'extensions'), root),
    ...(book === undefined ? {} : { character_book: book }),
    ...optionals(fields, mend),
  }
  return { card: Card.parse(draft), spec }
}

interface Located {
  fields: Fields
  spec: CardSpec
  /** Keys beside `data` that we do not know. */
  root: Fields
}

/** Looks at `spec` and `data` before anything else: many files repeat V1's fields at their root. */
function locate(value: Fields): Located {
  const { spec, spec_version: version, data, ...root } = value
  if (spec === 'lorebook_v3' || (data === undefined && 'entries' in value && !('first_mes' in value))) {
    throw new AppError('invalid', 'This is a lorebook, not a character; attach it to a character instead')
  }
  if (isObject(data))
    return {
      fields: data,
      spec: spec === 'chara_card_v2' || String(version).startsWith('2') ? 'v2' : 'v3',
      root,
    }
  if (spec === 'chara_card_v2' || spec === 'chara_card_v3')
    return { fields: root, spec: spec === 'chara_card_v2' ? 'v2' : 'v3', root: {} }
  const renamed = Object.fromEntries(Object.entries(value).map(([key, item]) => [ALIASES[key] ?? key, item]))
  if (!['name', 'description', 'first_mes', 'personality'].some((key) => key in renamed)) {
    throw new AppError('invalid', 'The file is JSON, but not a card: it has neither a name nor a description')
  }
  return { fields: renamed, spec: 'v1', root: {} }
}

function nameOf(value: unknown, fallbackName: string, mend: Mender): string {
  const name = mend.text(value, 'name').trim()
  if (name === '') {
    mend.note('no_name', 'name', `The card has no name; "${fallbackName}" from the file was used.`)
    return fallbackName
  }
  if (name.length <= LIMITS.nameCharacters) return name
  mend.note(
    'shortened',
    'name',
    `The name was longer than ${String(LIMITS.nameCharacters)} characters; its end was left out.`,
  )
  return cut(name, LIMITS.nameCharacters)
}

/** Fields that a card may have or not; a broken one is left out. */
function optionals(fields: Fields, mend: Mender): Fields {
  const nickname = mend.text(fields['nickname'], 'nickname')
  const source = mend.texts(fields['source'], 'source')
  const assets = Array.isArray(fields['assets'])
    ? fields['assets'].flatMap((asset, index) => readAsset(asset, `assets.${String(index)}`, mend))
    : undefined
  const created = readDate(fields['creation_date'], 'creation_date', mend)
  const modified = readDate(fields['modification_date'], 'modification_date', mend)
  const translations = Object.entries(
    mend.object(fields['creator_notes_multilingual'], 'creator_notes_multilingual'),
  )
  return {
    ...(nickname === '' ? {} : { nickname }),
    ...(source.length === 0 ? {} : { source }),
    ...(assets === undefined ? {} : { assets }),
    ...(created === undefined ? {} : { creation_date: created }),
    ...(modified === undefined ? {} : { modification_date: modified }),
    ...(translations.length === 0
      ? {}
      : {
          creator_notes_multilingual: Object.fromEntries(
            translations.map(([language, text]) => [
              language,
              mend.text(text, `creator_notes_multilingual.${language}`),
            ]),
          ),
        }),
  }
}

function readAsset(value: unknown, path: string, mend: Mender): Fields[] {
  if (!isObject(value)) {
    mend.note('wrong_type', path, `"${path}" is not an asset; it was left out.`)
    return []
  }
  const uri = mend.text(value['uri'], `${path}.uri`)
  if (/^https?:/i.test(uri)) mend.note('remote_asset', path, 'A remote picture will not be loaded.')
  return [
    {
      ...value,
      type: mend.text(value['type'], `${path}.type`),
      uri,
      name: mend.text(value['name'], `${path}.name`),
      ext: mend.text(value['ext'], `${path}.ext`),
    },
  ]
}

/** Milliseconds since 1970 have three digits more than the seconds that the specification asks for. */
const LARGEST_SECONDS = 100_000_000_000

function readDate(value: unknown, path: string, mend: Mender): number | undefined {
  if (value === undefined || value === null) return undefined
  const number = typeof value === 'string' && Number.isNaN(Number(value)) ? Date.parse(value) : Number(value)
  if (!Number.isFinite(number) || number < 0) {
    mend.note('wrong_date', path, `"${path}" is not a date; it was left out.`)
    return undefined
  }
  return number > LARGEST_SECONDS ? Math.floor(number / 1_000) : number
}

const KNOWN = new Set([
  ...TEXTS,
  'name',
  'alternate_greetings',
  'group_only_greetings',
  'tags',
  'extensions',
  'character_book',
  'nickname',
  'source',
  'assets',
  'creation_date',
  'modification_date',
  'creator_notes_multilingual',
  'spec',
  'spec_version',
])

function withoutKnown(fields: Fields): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([key]) => !KNOWN.has(key)))
}

function keepRoot(extensions: Fields, root: Fields): Fields {
  if (Object.keys(root).length === 0) return extensions
  const own = isObject(extensions['troupe']) ? extensions['troupe'] : {}
  return { ...extensions, troupe: { ...own, [ROOT_KEY]: root } }
}
