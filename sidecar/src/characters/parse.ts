/** Bytes → a JSON value that is safe to walk: bounded, well-formed text, no keys that reach into prototypes. */
import { AppError } from '#base/errors.ts'

import type { Note } from './card.ts'
import { LIMITS } from './limits.ts'

/** Keys that mean something to JavaScript itself; a merge with them changes every object. */
const REFUSED_KEYS = new Set(['__proto__', 'constructor', 'prototype'])

/** Throws AppError `invalid` or `too_large`. */
export function parseCardJson(bytes: Buffer, notes: Note[]): unknown {
  if (bytes.length > LIMITS.jsonBytes)
    throw new AppError('too_large', 'The card has more than 8 MB of text; take large pictures out of it')
  const text = decodeText(bytes, notes)
  if (text.startsWith('rcc||')) {
    throw new AppError('invalid', 'This card is encrypted by RisuAI; export it there without a password')
  }
  refuseDepth(text)
  try {
    return clean(JSON.parse(text) as unknown, notes)
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('invalid', 'The card is not valid JSON; export it again from where it was made', {
      cause,
    })
  }
}

function decodeText(bytes: Buffer, notes: Note[]): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return bytes.toString('utf16le').slice(1)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // Old exporters wrote Latin-1; every byte is a character there, so this cannot fail.
    notes.push({
      code: 'not_utf8',
      path: '',
      message: 'The text is not UTF-8; it was read as Latin-1. Look at its accents.',
    })
    return bytes.toString('latin1')
  }
}

/** Counts brackets outside of strings: `JSON.parse` takes 200,000 levels, and everything after it overflows. */
function refuseDepth(text: string): void {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      for (at++; at < text.length && text[at] !== '"'; at++) if (text[at] === '\\') at++
    } else if (character === '{' || character === '[') depth++
    else if (character === '}' || character === ']') depth--
    if (depth > LIMITS.jsonDepth)
      throw new AppError('invalid', `The card is nested deeper than ${String(LIMITS.jsonDepth)} levels`)
  }
}

/** Takes out NUL (PostgreSQL refuses it), half characters and dangerous keys. */
function clean(value: unknown, notes: Note[]): unknown {
  if (typeof value === 'string') return wellFormed(value.replaceAll('\0', ''))
  if (Array.isArray(value)) return value.map((item) => clean(item, notes))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key]) => {
    if (!REFUSED_KEYS.has(key)) return true
    notes.push({
      code: 'refused_key',
      path: key,
      message: `The key "${key}" was left out: it has no place in a card.`,
    })
    return false
  })
  return Object.fromEntries(kept.map(([key, item]) => [key, clean(item, notes)]))
}

/** `String.prototype.toWellFormed` is not in the ES2023 library yet. */
const wellFormed = (text: string): string => Buffer.from(text, 'utf8').toString('utf8')
