/** Whether a key of an entry stands in a text. Keys come from strangers: patterns run on an engine that cannot be stalled. */
import { createHash } from 'node:crypto'

import { RE2JS } from 're2js'

/** A text that is searched many times: whether a key stands in it is found once. */
export class Scanned {
  readonly text: string
  /** By the key's number: 0 not looked for, 1 not there, 2 there. */
  readonly #verdicts: Uint8Array
  #folded: string | undefined

  constructor(text: string, verdicts: Uint8Array) {
    this.text = text
    this.#verdicts = verdicts
  }

  get folded(): string {
    return (this.#folded ??= this.text.toLowerCase())
  }

  holds({ number, find }: NumberedKey): boolean {
    if (find === undefined) return false
    const known = this.#verdicts[number] ?? 0
    if (known !== 0) return known === 2
    const isThere = find(this)
    this.#verdicts[number] = isThere ? 2 : 1
    return isThere
  }
}

export interface NumberedKey {
  /** Counts the keys of a book from 0. */
  number: number
  find: Key | undefined
}

/** What is remembered of messages for one book; a message itself is not kept, only its hash. */
const REMEMBERED_BYTES = 8 * 1024 * 1024

/**
 * Remembers which keys of a book stand in which texts. Every turn brings the whole chat again, and all of it but the last
 * words was searched before. Forgets the texts that were not asked for longest.
 */
export class ScanMemory {
  readonly #keys: number
  readonly #most: number
  readonly #verdicts = new Map<string, Uint8Array>()

  constructor(keys: number) {
    this.#keys = keys
    this.#most = Math.max(16, Math.floor(REMEMBERED_BYTES / Math.max(1, keys)))
  }

  scan(text: string): Scanned {
    const hash = createHash('sha256').update(text).digest('base64url')
    const verdicts = this.#verdicts.get(hash) ?? new Uint8Array(this.#keys)
    this.#verdicts.delete(hash)
    this.#verdicts.set(hash, verdicts)
    const [oldest] = this.#verdicts.keys()
    if (this.#verdicts.size > this.#most && oldest !== undefined) this.#verdicts.delete(oldest)
    return new Scanned(text, verdicts)
  }
}

export interface KeyRules {
  isCaseSensitive: boolean
  isWholeWord: boolean
  /** Every key is a pattern; otherwise only one between slashes is. */
  isPattern: boolean
}

/** Longer texts are searched for patterns in their last part only; plain keys see all of them. */
const PATTERN_TEXT_CHARACTERS = 65_536

export type Key = (text: Pick<Scanned, 'text' | 'folded'>) => boolean

/** A key that is empty or no valid pattern never stands anywhere; undefined tells. */
export function compileKey(written: string, rules: KeyRules): Key | undefined {
  const key = written.trim()
  if (key === '') return undefined
  const [, source, flags = ''] = /^\/(.+)\/([a-z]*)$/s.exec(key) ?? []
  if (source !== undefined) return compilePattern(source, flags)
  if (rules.isPattern) return compilePattern(key, rules.isCaseSensitive ? '' : 'i')
  return compilePlain(key, rules)
}

function compilePattern(source: string, flags: string): Key | undefined {
  const options =
    (flags.includes('i') ? RE2JS.CASE_INSENSITIVE : 0) |
    (flags.includes('s') ? RE2JS.DOTALL : 0) |
    (flags.includes('m') ? RE2JS.MULTILINE : 0)
  try {
    const pattern = RE2JS.compile(RE2JS.translateRegExp(source), options)
    return ({ text }) => pattern.matcher(text.slice(-PATTERN_TEXT_CHARACTERS)).find()
  } catch {
    return undefined // Look-around, back-references, or no pattern at all.
  }
}

/** In these a word has no edges that could be seen. */
const WITHOUT_SPACES =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u
const WORD = /[\p{L}\p{N}\p{M}_]/u

/** A key of several words is looked for as it stands, as SillyTavern does: "black cat" is in "black cats". */
function compilePlain(key: string, { isCaseSensitive, isWholeWord }: KeyRules): Key {
  const wanted = isCaseSensitive ? key : key.toLowerCase()
  const isFree = !isWholeWord || /\s/.test(key) || WITHOUT_SPACES.test(key)
  return (scannedText) => {
    const text = isCaseSensitive ? scannedText.text : scannedText.folded
    if (isFree) return text.includes(wanted)
    for (let at = text.indexOf(wanted); at !== -1; at = text.indexOf(wanted, at + 1))
      if (!isWordAt(text, at - 1) && !isWordAt(text, at + wanted.length)) return true
    return false
  }
}

/** Letters outside the first plane have two halves; either half belongs to a word. */
function isWordAt(text: string, at: number): boolean {
  if (at < 0 || at >= text.length) return false
  const code = text.charCodeAt(at)
  const start = code >= 0xdc00 && code <= 0xdfff ? at - 1 : at
  return WORD.test(String.fromCodePoint(text.codePointAt(start) ?? code))
}
