/**
 * Any JSON that means to be a card becomes one: lenient in, strict out. Each field is repaired by itself, with a note for
 * each repair, and every key that we do not know stays where it was.
 */
import { AppError } from '#base/errors.ts'

import { Card } from './card.ts'
import { FOREIGN_FORMS } from './foreign.ts'
import { LIMITS } from './limits.ts'
import { createMender, isObject, present, without, type Fields, type Mender } from './mend.ts'
import type { Notebook } from './notes.ts'
import { CHAT_LOG, isChatHead } from './parse.ts'
import { remark } from './remarks.ts'
import { salvageLorebook } from './salvage-lorebook.ts'
import { toName } from './text.ts'

export type CardSpec = 'v1' | 'v2' | 'v3'

export interface Salvaged {
  card: Card
  spec: CardSpec
  /** The keys beside `data` that are no fields of a card; the card carries them under `extensions.troupe.root`. */
  rootExtra: Fields
}

/**
 * Where the keys beside `data` are kept, inside `extensions.troupe`: a card is its `data` object, and nothing of a file
 * may get lost. `write.ts` puts them back beside `data`, so that reading its file again gives the same card.
 */
const ROOT_KEY = 'root'

/** Stands at the beginning of the creator's notes in the V2 copy that `write.ts` makes; taken out when that copy is read. */
export const BACKFILL_WARNING = 'This is a V2 copy of a V3 card; some of it may be missing.'

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

const LISTS = ['alternate_greetings', 'group_only_greetings', 'tags'] as const

const OPTIONS = [
  'nickname',
  'character_book',
  'source',
  'assets',
  'creation_date',
  'modification_date',
  'creator_notes_multilingual',
] as const

const FIELDS = ['name', ...TEXTS, ...LISTS, 'extensions', ...OPTIONS] as const
const ENVELOPE = ['spec', 'spec_version', 'data'] as const
const KNOWN: ReadonlySet<string> = new Set([...FIELDS, ...ENVELOPE])

/** `fallbackName` is used when the card names nobody. Throws AppError `invalid` when nothing in it looks like a card. */
export function salvage(value: unknown, fallbackName: string, notebook: Notebook): Salvaged {
  if (!isObject(value)) throw noCard()
  const mend = createMender(notebook)
  const { fields, spec, rootExtra } = locate(value, mend)
  mend.nulls(fields, [...TEXTS, ...LISTS, 'extensions'])
  const texts = Object.fromEntries(TEXTS.map((key) => [key, mend.text(fields[key], key)]))
  const lists = Object.fromEntries(LISTS.map((key) => [key, mend.texts(fields[key], key)]))
  const draft = {
    ...without(fields, KNOWN),
    ...texts,
    ...lists,
    name: nameOf(fields['name'], fallbackName, mend),
    creator_notes: withoutWarning(texts['creator_notes'] ?? ''),
    tags: (lists['tags'] ?? []).filter((tag) => tag.trim() !== ''),
    extensions: keepRoot(mend.object(fields['extensions'], 'extensions'), rootExtra, mend),
    ...present(optionals(fields, mend)),
  }
  const card = Card.parse(draft)
  remark(card, notebook)
  return { card, spec, rootExtra: rootOf(card.extensions) }
}

const noCard = () =>
  new AppError('invalid', 'The file is JSON, but not a card: it has neither a name nor a description')

// -- where the fields are ---------------------------------------------------------------------------------------------

interface Located {
  fields: Fields
  spec: CardSpec
  rootExtra: Fields
}

/** Looks at `spec` and `data` before anything else: many files repeat V1's fields at their root. */
function locate(value: Fields, mend: Mender): Located {
  const other = OTHER_KINDS.find(({ is }) => is(value))
  if (other !== undefined) throw new AppError('invalid', other.message)
  const { spec, spec_version: version, data, ...root } = value
  const foreign = isObject(data) ? undefined : FOREIGN_FORMS.find(({ is }) => is(value))
  if (foreign !== undefined) mend.note('foreign_form', '', foreign.message)
  // V1, or a newer card that lost its `data`: no key stands beside the card then, all stand in it.
  const located = isObject(data)
    ? inData(data, root, mend)
    : { fields: foreign?.toCard(root) ?? underOwnNames(root), rootExtra: {} }
  if (!TELLING.some((key) => key in located.fields)) throw noCard()
  mend.object(data, 'data')
  return { ...located, spec: isObject(data) || isGiven(spec) ? specOf(spec, version, mend) : 'v1' }
}

/** One of these makes an object a card. */
const TELLING = [
  'name',
  'description',
  'personality',
  'scenario',
  'first_mes',
  'mes_example',
  'system_prompt',
]

/** A field that only the root has is taken from there; a copy of one that `data` has is stale or says the same. */
function inData(data: Fields, root: Fields, mend: Mender): Omit<Located, 'spec'> {
  const isFree = (key: string) => data[key] === undefined || data[key] === null
  const strays = FIELDS.filter((key) => isGiven(root[key]) && isFree(key))
  for (const key of strays)
    mend.note('outside_data', key, `"${key}" stood outside of "data"; it was taken from there.`)
  const stale = FIELDS.filter((key) => isGiven(root[key]) && !isFree(key) && !isSame(root[key], data[key]))
  for (const key of stale)
    mend.note(
      'stale_copy',
      key,
      `The file says "${key}" differently outside of "data"; that copy was left out.`,
    )
  const taken = Object.fromEntries(strays.map((key) => [key, root[key]]))
  return { fields: { ...data, ...taken }, rootExtra: without(root, KNOWN) }
}

const isSame = (a: unknown, b: unknown): boolean => a === b || JSON.stringify(a) === JSON.stringify(b)

const isGiven = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

/** Names that gradio front-ends, text-generation-webui and Pygmalion use for the fields of V1. */
const ALIASES: Readonly<Record<string, string>> = {
  char_name: 'name',
  char_persona: 'description',
  char_greeting: 'first_mes',
  example_dialogue: 'mes_example',
  world_scenario: 'scenario',
  greeting: 'first_mes',
  context: 'description',
}

/** Files with both names are seen with one of them empty. */
function underOwnNames(root: Fields): Fields {
  const renamed = Object.entries(ALIASES).filter(
    ([alias, own]) => isGiven(root[alias]) && !isGiven(root[own]),
  )
  return {
    ...without(root, new Set(renamed.map(([alias]) => alias))),
    ...Object.fromEntries(renamed.map(([alias, own]) => [own, root[alias]])),
  }
}

const NEWEST_VERSION = 3

/** The version decides nothing but what we say: every card is read by the same rules. */
function specOf(spec: unknown, version: unknown, mend: Mender): CardSpec {
  const number =
    version === undefined ? undefined : typeof version === 'string' ? parseFloat(version) : Number(version)
  if (spec !== 'chara_card_v2' && spec !== 'chara_card_v3')
    mend.note(
      'unknown_spec',
      'spec',
      'The file does not say which kind of card it is; it was read by its fields.',
    )
  if (number !== undefined && Number.isNaN(number))
    mend.note(
      'unknown_version',
      'spec_version',
      'The version of the card format is no number; it was not used.',
    )
  if (number !== undefined && number > NEWEST_VERSION)
    mend.note(
      'newer_version',
      'spec_version',
      `The card is of version ${number}, newer than ours; what we do not know was kept.`,
    )
  if (spec === 'chara_card_v3') return 'v3'
  if (spec === 'chara_card_v2') return 'v2'
  return number !== undefined && number >= NEWEST_VERSION ? 'v3' : 'v2'
}

const LOREBOOK =
  'This is a lorebook, not a character; add it with the lorebooks, and say there which characters have it'

/** JSON that other programs write and that is no card. */
const OTHER_KINDS: readonly { is: (value: Fields) => boolean; message: string }[] = [
  { is: ({ spec }) => spec === 'lorebook_v3', message: LOREBOOK },
  {
    is: ({ entries, data, first_mes: greeting }) => isListed(entries) && !isGiven(data) && !isGiven(greeting),
    message: LOREBOOK,
  },
  {
    is: ({ lorebookVersion: version, kind, type, data }) =>
      version !== undefined || kind === 'memory' || (type === 'risu' && Array.isArray(data)),
    message: LOREBOOK,
  },
  { is: isChatHead, message: CHAT_LOG },
]

const isListed = (value: unknown): boolean => Array.isArray(value) || isObject(value)

// -- the fields -------------------------------------------------------------------------------------------------------

function nameOf(value: unknown, fallbackName: string, mend: Mender): string {
  const given = typeof value === 'string' ? value : typeof value === 'number' ? mend.text(value, 'name') : ''
  const name = toName(given, LIMITS.nameCharacters)
  if (name === '') {
    mend.note('no_name', 'name', `The card has no readable name; "${fallbackName}" from the file was used.`)
    return fallbackName
  }
  if (name !== given.trim())
    mend.note(
      'shortened',
      'name',
      'The name was very long or held characters that cannot be seen; it was tidied.',
    )
  return name
}

function withoutWarning(notes: string): string {
  return notes.startsWith(BACKFILL_WARNING)
    ? notes.slice(BACKFILL_WARNING.length).replace(/^\n{1,2}/, '')
    : notes
}

/** Fields that a card may have or not; one that is empty or broken is left out. */
function optionals(fields: Fields, mend: Mender): Fields {
  const nickname = toName(mend.text(fields['nickname'], 'nickname'), LIMITS.nameCharacters)
  const source = mend.texts(fields['source'], 'source')
  return {
    nickname: nickname || undefined,
    character_book: salvageLorebook(fields['character_book'], mend),
    source: source.length === 0 ? undefined : source,
    assets: readAssets(fields['assets'], mend),
    creation_date: mend.date(fields['creation_date'], 'creation_date'),
    modification_date: mend.date(fields['modification_date'], 'modification_date'),
    creator_notes_multilingual: readTranslations(fields['creator_notes_multilingual'], mend),
  }
}

function readTranslations(value: unknown, mend: Mender): Fields | undefined {
  const path = 'creator_notes_multilingual'
  const given = Object.entries(mend.object(value, path)).filter(([, text]) => text !== null)
  const translations = mend
    .items(given, path)
    .filter((item): item is [string, unknown] => Array.isArray(item))
  if (translations.length === 0) return undefined
  return Object.fromEntries(
    translations.map(([language, text]) => [language, mend.text(text, `${path}.${language}`)]),
  )
}

function readAssets(value: unknown, mend: Mender): Fields[] | undefined {
  if (value === undefined || value === null || value === '') return undefined
  return mend.items(value, 'assets').flatMap((asset, index) => readAsset(asset, `assets.${index}`, mend))
}

function readAsset(value: unknown, path: string, mend: Mender): Fields[] {
  if (!isObject(value)) {
    mend.note('wrong_type', path, `"${path}" is not an asset; it was left out.`)
    return []
  }
  mend.nulls(value, ['type', 'uri', 'name', 'ext'], path)
  // A picture in a data URL is longer than any text that a person writes, and half of it is no picture.
  const uri = typeof value['uri'] === 'string' ? value['uri'] : mend.text(value['uri'], `${path}.uri`)
  if (/^\s*https?:/i.test(uri)) mend.note('remote_asset', path, 'A remote picture will not be loaded.')
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

// -- the keys beside `data` -------------------------------------------------------------------------------------------

/** The keys beside `data` of the file from which this card came. */
export function rootOf(extensions: Card['extensions']): Fields {
  const own = extensions['troupe']
  return isObject(own) && isObject(own[ROOT_KEY]) ? without(own[ROOT_KEY], KNOWN) : {}
}

/** The extensions with these keys put into `troupe.root`, or taken out of it where there are none. */
function keepRoot(extensions: Fields, rootExtra: Fields, mend: Mender): Fields {
  const { troupe, ...others } = extensions
  const root = { ...rootOf(extensions), ...rootExtra }
  const own = isObject(troupe) ? troupe : {}
  if (Object.keys(root).length > 0) {
    if (troupe !== undefined) mend.object(troupe, 'extensions.troupe')
    return { ...others, troupe: { ...own, [ROOT_KEY]: root } }
  }
  return isObject(own[ROOT_KEY]) ? withoutRoot(extensions) : extensions
}

/** The extensions as they stand in a file: the keys that belong beside `data` are no part of them there. */
export function withoutRoot(extensions: Fields): Fields {
  const { troupe, ...others } = extensions
  if (!isObject(troupe) || !isObject(troupe[ROOT_KEY])) return extensions
  const { [ROOT_KEY]: _root, ...own } = troupe
  return Object.keys(own).length === 0 ? others : { ...others, troupe: own }
}
