/** A book during one activation, and where its keys stand in one turn. */
import type { LoreBook, LoreEntry } from './book.ts'
import { SOURCE_NAMES, SOURCES, type Source } from './conditions.ts'
import { LoreText, type CompiledKey, type Scanned } from './match.ts'
import type { LoreSettings } from './settings.ts'

/** An entry in its book. */
export interface Item {
  entry: LoreEntry
  open: OpenBook
  /** Counts the entries of all books, in the order in which they are gone through. */
  position: number
}

/** In messages, as in SillyTavern. */
export const DEEPEST_SCAN = 1_000

const depthOf = (entry: LoreEntry, book: LoreBook): number =>
  Math.max(0, Math.min(entry.scanDepth ?? book.scanDepth, DEEPEST_SCAN))

export class OpenBook {
  readonly book: LoreBook
  readonly items: readonly Item[]
  /** How far back any entry looks. */
  readonly deepest: number
  /** Those that may be on though none of their plain keys is found. */
  readonly unasked: readonly Item[]
  readonly sources: ReadonlyMap<Source, Scanned>
  readonly #messages: readonly LoreText[]
  readonly #scanned: Scanned[] = []

  constructor(
    book: LoreBook,
    firstPosition: number,
    messages: readonly LoreText[],
    sources: LoreSettings['sources'],
  ) {
    this.book = book
    this.items = book.entries.map((entry, index) => ({ entry, open: this, position: firstPosition + index }))
    this.deepest = book.entries.reduce((deepest, entry) => Math.max(deepest, depthOf(entry, book)), 0)
    this.unasked = this.items.filter(({ entry }) => isUnasked(entry))
    const wanted = new Set(book.entries.flatMap((entry) => entry.sources))
    this.sources = new Map(
      SOURCES.filter((source) => wanted.has(source)).map((source) => [
        source,
        book.memory.scan(new LoreText(sources[source] ?? '')),
      ]),
    )
    this.#messages = messages
  }

  /** Undefined where there is no such message. */
  message(index: number): Scanned | undefined {
    const text = this.#messages[index]
    return text && (this.#scanned[index] ??= this.book.memory.scan(text))
  }

  /** The entry that a plain key calls up; undefined for one that only adds a condition. */
  owner(plainKey: number): Item | undefined {
    return this.items[this.book.owners[plainKey] ?? -1]
  }
}

const isUnasked = ({ isConstant, decorators, keys }: LoreEntry): boolean =>
  isConstant ||
  decorators.isForcedOn ||
  decorators.keepsAfterMatch ||
  keys.some(({ kind }) => kind === 'pattern')

/** What an entry may look at. */
export interface Scope {
  /** Added to the depth of entries that have none of their own. */
  furtherMessages: number
  /** What is added leads no further back than this. */
  deepest: number
  /** Also at what others called up. */
  isRecursion: boolean
}

const furtherThan = (depth: number, { furtherMessages, deepest }: Scope): number =>
  Math.max(depth, Math.min(depth + furtherMessages, deepest))

const NOWHERE = 0xffff

/** Where the keys of one book stand in one turn. */
export class Reading {
  readonly #open: OpenBook
  readonly #messageCount: number
  /** By plain key: in how many messages before the newest it stands, at the nearest. */
  readonly #nearest: Uint16Array
  readonly #recursed: Scanned[] = []
  readonly #recursedKeys = new Set<number>()
  #read = 0

  constructor(open: OpenBook, messageCount: number) {
    this.#open = open
    this.#messageCount = messageCount
    this.#nearest = new Uint16Array(open.book.memory.count.plain).fill(NOWHERE)
  }

  /** Reads on until so many messages before the end are read, and says which entries might be called up by that. */
  *readTo(depth: number): Iterable<Item> {
    for (; this.#read < Math.min(depth, this.#messageCount); this.#read++) {
      const plain = this.#open.message(this.#messageCount - 1 - this.#read)?.plain ?? []
      for (const key of plain) {
        if (this.#nearest[key] !== NOWHERE) continue
        this.#nearest[key] = this.#read
        const owner = this.#open.owner(key)
        if (owner !== undefined) yield owner
      }
    }
  }

  *readSources(): Iterable<Item> {
    for (const scanned of this.#open.sources.values()) yield* this.#owners(scanned.plain)
  }

  /** A text of an entry that was called up. */
  *readRecursed(text: LoreText): Iterable<Item> {
    const scanned = this.#open.book.memory.scan(text)
    this.#recursed.push(scanned)
    for (const key of scanned.plain) this.#recursedKeys.add(key)
    yield* this.#owners(scanned.plain)
  }

  *#owners(keys: Iterable<number>): Iterable<Item> {
    for (const key of keys) {
      const owner = this.#open.owner(key)
      if (owner !== undefined) yield owner
    }
  }

  /** Says where a key stands, the nearest place first. A depth of 0 looks at nothing, not even at what others called up. */
  find(key: CompiledKey, entry: LoreEntry, scope: Scope): string | undefined {
    const { book, sources } = this.#open
    const depth = depthOf(entry, book)
    if (key.kind === 'never' || depth === 0) return undefined
    const distance = this.#distance(key, entry.scanDepth === undefined ? furtherThan(depth, scope) : depth)
    if (distance !== undefined) return wordsFor(distance)
    const source = entry.sources.find((each) => sources.get(each)?.holds(key))
    if (source !== undefined) return `in ${SOURCE_NAMES[source]}`
    const isCalled = scope.isRecursion && book.isRecursive && this.#isRecursed(key)
    return isCalled ? 'in an entry that was called up' : undefined
  }

  #distance(key: CompiledKey, depth: number): number | undefined {
    if (key.kind === 'plain') {
      const nearest = this.#nearest[key.number] ?? NOWHERE
      return nearest < depth ? nearest : undefined
    }
    for (let distance = 0; distance < Math.min(depth, this.#messageCount); distance++)
      if (this.#open.message(this.#messageCount - 1 - distance)?.holds(key)) return distance
    return undefined
  }

  #isRecursed(key: CompiledKey): boolean {
    if (key.kind === 'plain') return this.#recursedKeys.has(key.number)
    return this.#recursed.some((text) => text.holds(key))
  }
}

const PLACES = ['in the newest message', 'in the message before the newest']

const wordsFor = (distance: number): string =>
  PLACES[distance] ?? `${String(distance)} messages before the newest`
