/** Bytes → a JSON value that is safe to walk: bounded, well-formed text, no keys that reach into prototypes. */
import { AppError } from '#base/errors.ts'
import { isDeeperThan } from '#base/json-depth.ts'

import { LIMITS } from './limits.ts'
import { isObject, type Fields } from './mend.ts'
import type { Notebook } from './notes.ts'
import { cut, wellFormed } from './text.ts'

/** Keys that mean something to JavaScript itself; a merge with them changes every object. */
const REFUSED_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

/** Enough of a key to find it; a path of whole keys could be longer than the file. */
const PATH_KEY_CHARACTERS = 40

/** Throws AppError `invalid` or `too_large`. */
export function parseCardJson(bytes: Buffer, notebook: Notebook): unknown {
  if (bytes.length > LIMITS.jsonBytes)
    throw new AppError('too_large', 'The card has more than 8 MB of text; take large pictures out of it')
  const text = decodeText(bytes, notebook)
  if (text.trimStart().startsWith('rcc||')) {
    throw new AppError('invalid', 'This card is encrypted by RisuAI; export it there without a password')
  }
  if (isDeeperThan(LIMITS.jsonDepth, text))
    throw new AppError(
      'invalid',
      `The card is nested deeper than ${LIMITS.jsonDepth} levels; export it again from where it was made`,
    )
  return clean(parseJson(text), undefined, notebook)
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    if (beginsChatLog(text)) throw new AppError('invalid', CHAT_LOG, { cause })
    throw new AppError('invalid', 'The card is not valid JSON; export it again from where it was made', {
      cause,
    })
  }
}

export const CHAT_LOG =
  'This is the log of a chat, which holds no character; export the character itself from where the chat was held, as PNG or JSON'

/** The line before the messages of a chat. */
export const isChatHead = (value: unknown): boolean =>
  isObject(value) &&
  !('name' in value || 'data' in value) &&
  ('chat_metadata' in value || ('user_name' in value && 'character_name' in value))

/** A log is JSON line by line. */
function beginsChatLog(text: string): boolean {
  try {
    return isChatHead(JSON.parse(text.slice(0, text.indexOf('\n') + 1)))
  } catch {
    // No JSON in the first line either: it is what the caller says then.
    return false
  }
}

/** How JSON begins in UTF-16: with a byte order mark, or with a brace and the empty half of its two bytes. */
const UTF16_STARTS = [
  { encoding: 'utf-16le', start: [0xff, 0xfe] },
  { encoding: 'utf-16le', start: [0x7b, 0x00] },
  { encoding: 'utf-16be', start: [0xfe, 0xff] },
  { encoding: 'utf-16be', start: [0x00, 0x7b] },
] as const

/** The encoding of a text in UTF-16, undefined for every other text. */
export function utf16Of(bytes: Uint8Array): 'utf-16le' | 'utf-16be' | undefined {
  return UTF16_STARTS.find(({ start }) => start.every((byte, at) => bytes[at] === byte))?.encoding
}

function decodeText(bytes: Buffer, { note }: Notebook): string {
  const utf16 = utf16Of(bytes)
  if (utf16 !== undefined) {
    note('not_utf8', '', 'The text is UTF-16, not UTF-8; it was read all the same.')
    return new TextDecoder(utf16).decode(bytes)
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // Old exporters wrote Latin-1; every byte is a character there, so this cannot fail.
    note('not_utf8', '', 'The text is not UTF-8; it was read as Latin-1. Look at its accents.')
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

/** The way to a value, from its end; its text is made for a note alone, since a file may hold a million values. */
interface Trail {
  key: string | number
  above: Trail | undefined
}

/**
 * What comes out is the same value after every `JSON.stringify`, and PostgreSQL takes it. Changes the value in place: it was
 * just parsed, nobody else has it, and a second copy of a large file is mostly work for the garbage collector.
 */
function clean(value: unknown, trail: Trail | undefined, notebook: Notebook): unknown {
  if (typeof value === 'string') return cleanText(value, trail, notebook)
  if (typeof value === 'number') return cleanNumber(value, trail, notebook)
  if (Array.isArray(value)) cleanItems(value, trail, notebook)
  else if (isObject(value)) cleanFields(value, trail, notebook)
  return value
}

function cleanItems(items: unknown[], trail: Trail | undefined, notebook: Notebook): void {
  // One more than are kept, so that whoever keeps them still sees that there were too many.
  if (isLorebook(trail) && items.length > LIMITS.loreEntries) items.length = LIMITS.loreEntries + 1
  for (const [index, item] of items.entries())
    items[index] = clean(item, { key: index, above: trail }, notebook)
}

/** The entries of a card's lorebook, or of a lorebook of its own; not a list of that name in what we do not know. */
function isLorebook(trail: Trail | undefined): boolean {
  if (trail?.above === undefined) return trail?.key === 'entries' || trail?.key === 'data'
  return trail.key === 'entries' && LOREBOOKS.has(trail.above.key)
}

const LOREBOOKS = new Set<Trail['key']>(['character_book', 'data'])

function cleanFields(fields: Fields, trail: Trail | undefined, notebook: Notebook): void {
  for (const key of Object.keys(fields)) {
    const below = { key, above: trail }
    const name = cleanText(key, below, notebook)
    const item = fields[key]
    if (REFUSED_KEYS.has(name)) {
      Reflect.deleteProperty(fields, key)
      const message = `The key "${name}" was left out: it has no place in a card.`
      notebook.note('refused_key', pathOf(below), message)
    } else if (name === key) fields[key] = clean(item, below, notebook)
    else {
      Reflect.deleteProperty(fields, key)
      // A whole key that is the same after mending keeps its place.
      if (!Object.hasOwn(fields, name)) fields[name] = clean(item, below, notebook)
    }
  }
}

/** As a reader of the card counts: `data` is where its fields are. */
function pathOf(trail: Trail | undefined): string {
  const keys: string[] = []
  for (let at = trail; at !== undefined; at = at.above) {
    const key = String(at.key)
    keys.push(key.length <= PATH_KEY_CHARACTERS ? key : `${cut(key, PATH_KEY_CHARACTERS)}…`)
  }
  if (keys.length > 1 && keys.at(-1) === 'data') keys.pop()
  return keys.reverse().join('.')
}

const BROKEN = /[\0\p{Surrogate}]/u

function cleanText(text: string, trail: Trail | undefined, { note }: Notebook): string {
  if (!BROKEN.test(text)) return text
  const path = pathOf(trail)
  note('broken_characters', path, `"${path}" held characters that no text can hold; they were taken out.`)
  return wellFormed(text.replaceAll('\0', ''))
}

function cleanNumber(number: number, trail: Trail | undefined, { note }: Notebook): number | null {
  if (!Number.isFinite(number)) {
    const path = pathOf(trail)
    note('not_finite', path, `"${path}" is too large for a number; it was left out.`)
    return null
  }
  return number === 0 ? 0 : number // −0 would come back as 0.
}
