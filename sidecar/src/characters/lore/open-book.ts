/** A book during one activation, and where its keys stand in one turn. */
import { depthOf } from './book-index.ts'
import type { LoreBook } from './book.ts'
import { SOURCE_NAMES, type Source } from './conditions.ts'
import type { LoreEntry } from './entry.ts'
import { LoreText, type CompiledKey, type Patience, type Scanned } from './match.ts'
import type { LoreSettings } from './settings.ts'

/** An entry in its book. */
export interface Item {
  entry: LoreEntry
  open: OpenBook
  /** Counts the entries of all books, in the order in which they are gone through. */
  position: number
}

export class OpenBook {
  readonly book: LoreBook
  /** Made when they are looked at: of a book of thousands, a turn looks at a few dozen. */
  readonly #items = new Map<number, Item>()
  readonly #firstPosition: number
  readonly sources: ReadonlyMap<Source, Scanned>
  /** Shared by the books of an activation. */
  readonly patience: Patience
  readonly #messages: readonly LoreText[]
  /** What was scanned in this activation; the memory of the book may forget it meanwhile. */
  readonly #scanned = new Map<LoreText, Scanned>()

  constructor(
    book: LoreBook,
    firstPosition: number,
    messages: readonly LoreText[],
    sources: LoreSettings['sources'],
    patience: Patience,
  ) {
    this.book = book
    this.patience = patience
    this.#firstPosition = firstPosition
    this.sources = new Map(
      book.index.sources.map((source) => [source, this.scan(new LoreText(sources[source] ?? ''))]),
    )
    this.#messages = messages
  }

  /** Undefined where there is no such message. */
  message(index: number): Scanned | undefined {
    const text = this.#messages[index]
    return text && this.scan(text)
  }

  scan(text: LoreText): Scanned {
    const known = this.#scanned.get(text)
    if (known !== undefined) return known
    const scanned = this.book.memory.scan(text, this.patience)
    this.#scanned.set(text, scanned)
    return scanned
  }

  item(index: number): Item | undefined {
    const known = this.#items.get(index)
    if (known !== undefined) return known
    const entry = this.book.entries[index]
    if (entry === undefined) return undefined
    const item = { entry, open: this, position: this.#firstPosition + index }
    this.#items.set(index, item)
    return item
  }

  items(): Item[] {
    return this.book.entries.flatMap((_entry, index) => this.item(index) ?? [])
  }

  /** The entry that a plain key calls up; undefined for one that only adds a condition. */
  owner(plainKey: number): Item | undefined {
    return this.item(this.book.index.owners[plainKey] ?? -1)
  }
}

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

/** Where the keys of one book stand in one turn. */
export class Reading {
  readonly #open: OpenBook
  readonly #messageCount: number
  /** By plain key that was found: in how many messages before the newest it stands, at the nearest. */
  readonly #nearest = new Map<number, number>()
  readonly #recursed: Scanned[] = []
  readonly #recursedKeys = new Set<number>()
  #read = 0

  constructor(open: OpenBook, messageCount: number) {
    this.#open = open
    this.#messageCount = messageCount
  }

  /** Reads on until so many messages before the end are read, and proposes the entries that might be called up by that. */
  readTo(depth: number, proposed: Set<Item>): void {
    for (; this.#read < Math.min(depth, this.#messageCount); this.#read++) {
      const scanned = this.#open.message(this.#messageCount - 1 - this.#read)
      if (scanned === undefined) continue
      for (const key of scanned.plain) {
        if (this.#nearest.has(key)) continue
        this.#nearest.set(key, this.#read)
        this.#propose(key, proposed)
      }
    }
  }

  readSources(proposed: Set<Item>): void {
    for (const scanned of this.#open.sources.values())
      for (const key of scanned.plain) this.#propose(key, proposed)
  }

  /** A text of an entry that was called up. */
  readRecursed(text: LoreText, proposed: Set<Item>): void {
    const scanned = this.#open.scan(text)
    this.#recursed.push(scanned)
    for (const key of scanned.plain) {
      this.#recursedKeys.add(key)
      this.#propose(key, proposed)
    }
  }

  #propose(plainKey: number, proposed: Set<Item>): void {
    const owner = this.#open.owner(plainKey)
    if (owner !== undefined) proposed.add(owner)
  }

  /** Says where a key stands, the nearest place first. A depth of 0 looks at nothing, not even at what others called up. */
  find(key: CompiledKey, entry: LoreEntry, scope: Scope): string | undefined {
    const { book, sources } = this.#open
    const depth = depthOf(entry, book.scanDepth)
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
      const nearest = this.#nearest.get(key.number)
      return nearest !== undefined && nearest < depth ? nearest : undefined
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
