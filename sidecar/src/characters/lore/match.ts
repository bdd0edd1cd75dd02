/** Which keys of a book stand in a text. Keys come from strangers: patterns run on an engine that cannot be stalled. */
import { hash } from 'node:crypto'

import { RE2JS } from 're2js'

import { Keywords, type Keyword } from './keywords.ts'

export interface KeyRules {
  isCaseSensitive: boolean
  isWholeWord: boolean
  /** Every key is a pattern; otherwise only one between slashes is. */
  isPattern: boolean
}

/** Why a key is never found: there is nothing in it, the pattern needs another engine or is too large, or the book has too many. */
export type Unusable = 'empty' | 'unsupported' | 'too_large' | 'too_many'

/** Numbers count the keys of a kind in a book from 0. */
export type CompiledKey = { written: string } & (
  | { kind: 'plain'; number: number; isWholeWord: boolean }
  | { kind: 'pattern'; number: number; pattern: RE2JS }
  | { kind: 'never'; why: Unusable }
)

/** Of all plain keys of a book together. 2,000 keys have about 25,000; these take 0.2 s to make ready. */
const KEY_CHARACTERS = 500_000
/** Each is run on each message that is new. */
const PATTERNS = 500

/** In these a word has no edges that could be seen. */
const WITHOUT_SPACES =
  /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u

/** Written in a script that does not part words. */
export const hasNoSpaces = (key: string): boolean => WITHOUT_SPACES.test(key)

/** Collects the keys of a book, for one search over all of them. */
export class KeyRing {
  readonly #folded: Keyword[] = []
  readonly #exact: Keyword[] = []
  #characters = 0
  #patterns = 0

  add(written: string, rules: KeyRules): CompiledKey {
    const key = written.trim()
    if (key === '') return { written, kind: 'never', why: 'empty' }
    const source = patternOf(key, rules)
    if (source === undefined) return this.#addPlain(written, key, rules)
    if (!LITERAL.test(source.source)) return this.#addPattern(written, source)
    const isCaseSensitive = !source.flags.includes('i')
    return this.#addPlain(written, source.source, { isCaseSensitive, isWholeWord: false })
  }

  /** A key of several words is looked for as it stands, as SillyTavern does: "black cat" is in "black cats". */
  #addPlain(written: string, key: string, rules: Omit<KeyRules, 'isPattern'>): CompiledKey {
    this.#characters += key.length
    if (this.#characters > KEY_CHARACTERS) return { written, kind: 'never', why: 'too_many' }
    const number = this.#folded.length + this.#exact.length
    const isWholeWord = rules.isWholeWord && !/\s/.test(key) && !hasNoSpaces(key)
    if (rules.isCaseSensitive) this.#exact.push({ number, text: key, isWholeWord })
    else this.#folded.push({ number, text: key.toLowerCase(), isWholeWord })
    return { written, kind: 'plain', number, isWholeWord }
  }

  #addPattern(written: string, source: PatternSource): CompiledKey {
    if (this.#patterns >= PATTERNS) return { written, kind: 'never', why: 'too_many' }
    const pattern = compilePattern(source)
    if (pattern === undefined) return { written, kind: 'never', why: 'unsupported' }
    if (pattern.programSize() > LARGEST_PATTERN) return { written, kind: 'never', why: 'too_large' }
    return { written, kind: 'pattern', number: this.#patterns++, pattern }
  }

  close(): ScanMemory {
    return new ScanMemory(new Keywords(this.#folded), new Keywords(this.#exact), {
      plain: this.#folded.length + this.#exact.length,
      patterns: this.#patterns,
    })
  }
}

/** In instructions of its program, at all of which a search may stand at the same time. A list of forty names has 300. */
const LARGEST_PATTERN = 400

/** A pattern that stands for itself is a word that may lie inside others, and costs nothing then. */
const LITERAL = /^[a-z0-9 _',-]+$/i

interface PatternSource {
  source: string
  flags: string
}

function patternOf(key: string, { isCaseSensitive, isPattern }: KeyRules): PatternSource | undefined {
  const [, source, flags = ''] = /^\/(.+)\/([a-z]*)$/s.exec(key) ?? []
  if (source !== undefined) return { source, flags }
  return isPattern ? { source: key, flags: isCaseSensitive ? '' : 'i' } : undefined
}

/** Undefined for look-around, back-references, or no pattern at all. */
function compilePattern({ source, flags }: PatternSource): RE2JS | undefined {
  const options =
    (flags.includes('i') ? RE2JS.CASE_INSENSITIVE : 0) |
    (flags.includes('s') ? RE2JS.DOTALL : 0) |
    (flags.includes('m') ? RE2JS.MULTILINE : 0)
  try {
    return RE2JS.compile(RE2JS.translateRegExp(source), options)
  } catch {
    return undefined // The key says so itself, and trace and lint tell the author.
  }
}

/** A text on its way through one or more books. */
export class LoreText {
  readonly text: string
  #hash: string | undefined

  constructor(text: string) {
    this.text = text
  }

  get hash(): string {
    return (this.#hash ??= hash('sha256', this.text, 'base64url'))
  }
}

/** What is remembered of a text: the plain keys in it, sorted, and by pattern 0 not looked for, 1 not there, 2 there. */
interface Findings {
  plain: Uint32Array
  patterns: Uint8Array
}

/** Longer texts are searched for patterns in their last part only; plain keys see all of them. */
const PATTERN_TEXT_CHARACTERS = 65_536

/** What patterns may cost in one activation, over all books and texts, in milliseconds. */
const MOST_MS = 20

/**
 * A search cannot be stopped, so a text is searched in parts, of which none holds up anybody for long: the worst patterns that
 * were found cost 0.2 µs for each character and instruction. Ordinary messages are one part.
 */
const PART_CHARACTERS = { most: 8_192, least: 512, byInstructions: 150_000, overlap: 256 } as const

function partsOf(text: string, pattern: RE2JS): string[] {
  const { most, least, byInstructions, overlap } = PART_CHARACTERS
  const length = Math.max(least, Math.min(most, Math.floor(byInstructions / pattern.programSize())))
  const parts: string[] = []
  for (let end = text.length; end > 0; end -= length - overlap) {
    parts.push(text.slice(Math.max(0, end - length), end))
    if (end <= length) break
  }
  return parts
}

/**
 * How long one activation goes on looking for patterns. What was found in earlier turns costs nothing; what there was no time
 * for is looked for in the next one.
 */
export class Patience {
  readonly #clockMs: () => number
  #spentMs = 0
  /** Patterns that were not looked for everywhere, as they are written. */
  readonly lost = new Set<string>()

  constructor(clockMs: () => number) {
    this.#clockMs = clockMs
  }

  /** Whether it is there, the end of the text first; undefined where time was up before that was known. */
  find(text: string, { written, pattern }: PatternKey): boolean | undefined {
    for (const part of partsOf(text.slice(-PATTERN_TEXT_CHARACTERS), pattern)) {
      if (this.#spentMs >= MOST_MS) {
        this.lost.add(written)
        return undefined
      }
      const beganMs = this.#clockMs()
      const isThere = pattern.matcher(part).find()
      this.#spentMs += this.#clockMs() - beganMs
      if (isThere) return true
    }
    return false
  }
}

type PatternKey = Extract<CompiledKey, { kind: 'pattern' }>

/** A text that was searched for the keys of a book. */
export class Scanned {
  readonly #text: string
  readonly #findings: Findings
  readonly #patience: Patience

  constructor(text: string, findings: Findings, patience: Patience) {
    this.#text = text
    this.#findings = findings
    this.#patience = patience
  }

  /** The numbers of the plain keys in it, sorted. */
  get plain(): Uint32Array {
    return this.#findings.plain
  }

  holds(key: CompiledKey): boolean {
    if (key.kind === 'never') return false
    return key.kind === 'plain' ? this.plain.includes(key.number) : this.#matches(key)
  }

  /** Patterns cost more than all plain keys together, so each is looked for when an entry comes to it. */
  #matches(key: PatternKey): boolean {
    const known = this.#findings.patterns[key.number] ?? 0
    if (known !== 0) return known === 2
    const isThere = this.#patience.find(this.#text, key)
    if (isThere !== undefined) this.#findings.patterns[key.number] = isThere ? 2 : 1
    return isThere ?? false
  }
}

/** What is remembered for one book; a message itself is not kept, only its hash. */
const REMEMBERED_BYTES = 8 * 1024 * 1024
/** A hash, two small arrays and a place in a map, as measured on Node 20. */
const BYTES_OF_ONE = 512

const sizeBytes = ({ plain, patterns }: Findings): number =>
  BYTES_OF_ONE + plain.byteLength + patterns.byteLength

/** For single keys and short texts. */
const ENDLESS = new Patience(() => 0)

/**
 * Remembers which keys of a book stand in which texts. Every turn brings the whole chat again, and all of it but the last
 * words was searched before. Forgets the texts that were not asked for longest.
 */
export class ScanMemory {
  readonly count: { readonly plain: number; readonly patterns: number }
  readonly #folded: Keywords
  readonly #exact: Keywords
  readonly #findings = new Map<string, Findings>()
  #rememberedBytes = 0

  constructor(folded: Keywords, exact: Keywords, count: { plain: number; patterns: number }) {
    this.#folded = folded
    this.#exact = exact
    this.count = count
  }

  /** In texts. */
  get size(): number {
    return this.#findings.size
  }

  scan({ text, hash: key }: LoreText, patience = ENDLESS): Scanned {
    const known = this.#findings.get(key)
    const findings = known ?? this.#search(text)
    if (known === undefined) this.#rememberedBytes += sizeBytes(findings)
    else this.#findings.delete(key)
    this.#findings.set(key, findings)
    this.#forget()
    return new Scanned(text, findings, patience)
  }

  #search(text: string): Findings {
    const plain = [...this.#folded.find(text.toLowerCase()), ...this.#exact.find(text)]
    return { plain: Uint32Array.from(plain).sort(), patterns: new Uint8Array(this.count.patterns) }
  }

  #forget(): void {
    for (const [key, findings] of this.#findings) {
      if (this.#rememberedBytes <= REMEMBERED_BYTES) return
      this.#findings.delete(key)
      this.#rememberedBytes -= sizeBytes(findings)
    }
  }
}
