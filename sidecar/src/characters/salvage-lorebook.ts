/** The lorebook inside a card, made strict entry by entry. */
import type { Lorebook, LorebookEntry } from './card.ts'
import { LIMITS } from './limits.ts'
import { isObject, present, without, type Fields, type Mender } from './mend.ts'

const BOOK = 'character_book'
const BOOK_OPTIONS = new Set(['name', 'description', 'scan_depth', 'token_budget', 'recursive_scanning'])

/** Undefined for a card without a book. */
export function salvageLorebook(value: unknown, mend: Mender): Lorebook | undefined {
  if (value === undefined || value === null || value === '') return undefined
  if (!isObject(value)) {
    mend.note('wrong_type', BOOK, 'The lorebook is not readable; it was left out.')
    return undefined
  }
  mend.nulls(value, ['extensions', 'entries'], BOOK)
  return {
    ...without(value, BOOK_OPTIONS),
    ...present({
      name: mend.optionalText(value['name'], `${BOOK}.name`),
      description: mend.optionalText(value['description'], `${BOOK}.description`),
      scan_depth: mend.number(value['scan_depth'], `${BOOK}.scan_depth`),
      token_budget: mend.number(value['token_budget'], `${BOOK}.token_budget`),
      recursive_scanning: mend.flag(value['recursive_scanning'], `${BOOK}.recursive_scanning`),
    }),
    extensions: mend.object(value['extensions'], `${BOOK}.extensions`),
    entries: entryList(value['entries'], mend).flatMap((entry, index) =>
      readEntry(entry, `${BOOK}.entries.${index}`, mend),
    ),
  }
}

/** Some programs write the entries as an object with numbers for keys. */
function entryList(entries: unknown, mend: Mender): unknown[] {
  const listed = isObject(entries) ? Object.values(entries) : entries
  return mend.items(listed, `${BOOK}.entries`, LIMITS.loreEntries)
}

/** Names of SillyTavern's own lorebook files, which some programs put into a card as they are. */
const ALIASES: Readonly<Record<string, string>> = {
  key: 'keys',
  keysecondary: 'secondary_keys',
  order: 'insertion_order',
  caseSensitive: 'case_sensitive',
  uid: 'id',
}

const REQUIRED = ['keys', 'content', 'extensions', 'enabled', 'insertion_order', 'use_regex'] as const
const OWN: ReadonlySet<string> = new Set([
  ...REQUIRED,
  'case_sensitive',
  'constant',
  'selective',
  'secondary_keys',
  'priority',
  'position',
  'name',
  'comment',
  'id',
])

/** Where an entry without a number stands; the editors begin with it too. */
const DEFAULT_ORDER = 100

function readEntry(value: unknown, path: string, mend: Mender): LorebookEntry[] {
  if (!isObject(value)) {
    mend.note('wrong_type', path, 'A lorebook entry is not readable; it was left out.')
    return []
  }
  const fields = underOwnNames(value, path, mend)
  mend.nulls(fields, REQUIRED, path)
  const place = readPosition(fields['position'], `${path}.position`, mend)
  const extensions = mend.object(fields['extensions'], `${path}.extensions`)
  // What is spread stands last: V8 makes a hidden class for each object that begins with it (docs/performance.md).
  return [
    {
      keys: readKeys(fields['keys'], `${path}.keys`, mend),
      content: mend.text(fields['content'], `${path}.content`),
      extensions: { ...present({ position: place.extension }), ...extensions },
      // A missing switch means on: nobody writes an entry to be silent.
      enabled: mend.flag(fields['enabled'], `${path}.enabled`) ?? true,
      insertion_order: mend.number(fields['insertion_order'], `${path}.insertion_order`) ?? DEFAULT_ORDER,
      use_regex: mend.flag(fields['use_regex'], `${path}.use_regex`) ?? false,
      ...optionals(fields, path, mend),
      ...(place.position !== undefined && { position: place.position }),
      ...without(fields, OWN),
    },
  ]
}

const isForeign = (name: string): boolean => name === 'disable' || ALIASES[name] !== undefined

function underOwnNames(value: Fields, path: string, mend: Mender): Fields {
  if (!Object.keys(value).some(isForeign)) return value
  const renamed = Object.entries(value).map(([name, item]): [string, unknown] => {
    const own = ALIASES[name]
    if (own === undefined || value[own] !== undefined) return [name, item]
    mend.note('renamed', `${path}.${name}`, `"${name}" of a lorebook entry was read as "${own}".`)
    return [own, item]
  })
  const fields = Object.fromEntries(renamed)
  if (fields['enabled'] !== undefined || fields['disable'] === undefined) return fields
  mend.note(
    'renamed',
    `${path}.disable`,
    '"disable" of a lorebook entry was read as the opposite of "enabled".',
  )
  const { disable, ...others } = fields
  return { ...others, enabled: mend.flag(disable, `${path}.disable`) !== true }
}

/** How each is read. An entry has few of them, and a book thousands of entries. */
const OPTIONAL_FIELDS: readonly (readonly [
  name: string,
  read: (value: unknown, path: string, mend: Mender) => unknown,
])[] = [
  ['case_sensitive', (value, path, mend) => mend.flag(value, path)],
  ['constant', (value, path, mend) => mend.flag(value, path)],
  ['selective', (value, path, mend) => mend.flag(value, path)],
  ['secondary_keys', (value, path, mend) => readKeys(value, path, mend)],
  ['priority', (value, path, mend) => mend.number(value, path)],
  ['name', (value, path, mend) => mend.optionalText(value, path)],
  ['comment', (value, path, mend) => mend.optionalText(value, path)],
  ['id', (value, path, mend) => (typeof value === 'number' ? value : mend.optionalText(value, path))],
]

function optionals(fields: Fields, path: string, mend: Mender): Fields {
  const read: Fields = {}
  for (const [name, readOne] of OPTIONAL_FIELDS) {
    const value = fields[name]
    if (value === undefined || value === null) continue
    const mended = readOne(value, `${path}.${name}`, mend)
    if (mended !== undefined) read[name] = mended
  }
  return read
}

type Position = NonNullable<LorebookEntry['position']>

/** SillyTavern's numbers and words for places that the specification has words for. The other six it keeps in `extensions.position`. */
const POSITIONS: ReadonlyMap<unknown, Position> = new Map<unknown, Position>([
  ['before_char', 'before_char'],
  ['after_char', 'after_char'],
  ['before_char_defs', 'before_char'],
  ['after_char_defs', 'after_char'],
  [0, 'before_char'],
  [1, 'after_char'],
])
const LAST_NUMBERED_POSITION = 7
/** A word seen for SillyTavern's place number 4, a number of messages above the end. */
const AT_DEPTH = 'in_chat'

interface Place {
  position?: Position
  extension?: number
}

function readPosition(value: unknown, path: string, mend: Mender): Place {
  if (value === undefined || value === null || value === '') return {}
  const known = POSITIONS.get(value)
  if (known !== undefined && known === value) return { position: known }
  if (value === AT_DEPTH || known !== undefined || isNumberedPosition(value)) {
    mend.note(
      'converted',
      path,
      `"${path}" had the value of another program; it was read as its nearest one.`,
    )
    return known === undefined ? { extension: value === AT_DEPTH ? 4 : Number(value) } : { position: known }
  }
  mend.note('wrong_type', path, `"${path}" is no known place; it was left out.`)
  return {}
}

const isNumberedPosition = (value: unknown): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value > 1 && value <= LAST_NUMBERED_POSITION

/** A list, or one text with commas. A pattern may hold commas of its own. */
function readKeys(value: unknown, path: string, mend: Mender): string[] {
  const isList = typeof value === 'string' && value.includes(',') && !value.trim().startsWith('/')
  if (isList) mend.note('converted', path, `"${path}" was one text; it was read as a list with commas.`)
  const keys = isList ? value.split(',', LIMITS.listItems) : mend.texts(value, path)
  const usable = keys.map((key) => (isList ? key.trim() : key)).filter((key) => key.trim() !== '')
  const short = usable.filter((key) => key.length <= LIMITS.keyCharacters)
  if (short.length < usable.length)
    mend.note('shortened', path, `Keys longer than ${LIMITS.keyCharacters} characters were left out.`)
  return short
}
