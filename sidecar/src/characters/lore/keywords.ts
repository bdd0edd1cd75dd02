/** Finds all words of a list in one pass over a text. After Aho and Corasick, "Efficient string matching" (1975). */

export interface Keyword {
  number: number
  /** Not empty. */
  text: string
  /** Counts only where no letter touches it. */
  isWholeWord: boolean
}

const NONE = -1
const ROOT = 0

/**
 * A trie of the words, and for each state the longest other state that ends the same way. Edges lie in one open hash table,
 * since a row per state would take a hundred megabytes for a book in Chinese.
 */
export class Keywords {
  readonly #keywords: readonly Keyword[]
  readonly #mask: number
  /** The edges, by slot. No edge leads to the root, so 0 is an empty slot. */
  readonly #from: Int32Array
  readonly #code: Uint16Array
  readonly #to: Int32Array
  /** By state: where to go on when there is no edge, and the next state by that way at which a keyword ends. */
  readonly #fallback: Int32Array
  readonly #nextEnd: Int32Array
  /** The first keyword that ends at a state, and by keyword the next one of the same text. */
  readonly #ending: Int32Array
  readonly #same: Int32Array
  #states = 1
  /** By keyword, the number of the search that found it last; a fresh list for each would cost more than a short text. */
  readonly #foundIn: Float64Array
  #searches = 0

  constructor(keywords: readonly Keyword[]) {
    const most = keywords.reduce((sum, { text }) => sum + text.length, 1)
    const slots = 2 ** Math.ceil(Math.log2(most * 2))
    this.#keywords = keywords
    this.#mask = slots - 1
    this.#from = new Int32Array(slots)
    this.#code = new Uint16Array(slots)
    this.#to = new Int32Array(slots)
    this.#fallback = new Int32Array(most)
    this.#nextEnd = new Int32Array(most)
    this.#ending = new Int32Array(most).fill(NONE)
    this.#same = new Int32Array(keywords.length).fill(NONE)
    this.#foundIn = new Float64Array(keywords.length)
    this.#build()
  }

  /** The numbers of the keywords that stand in a text, each once. */
  find(text: string): number[] {
    const found: number[] = []
    const search = ++this.#searches
    let state = ROOT
    for (let at = 0; at < text.length; at++) {
      state = this.#advance(state, text.charCodeAt(at))
      for (let end = this.#firstEnd(state); end !== ROOT; end = this.#nextEnd[end] ?? ROOT)
        for (let index = this.#ending[end] ?? NONE; index !== NONE; index = this.#same[index] ?? NONE) {
          const keyword = this.#keywords[index]
          if (keyword === undefined || this.#foundIn[index] === search || !countsAt(text, at + 1, keyword))
            continue
          this.#foundIn[index] = search
          found.push(keyword.number)
        }
    }
    return found
  }

  /** All keywords grow by one letter at a time, so that what a state falls back to is complete before it. */
  #build(): void {
    const reached = new Int32Array(this.#keywords.length)
    let growing = this.#keywords.map((_, index) => index)
    for (let at = 0; growing.length > 0; at++) {
      const grown = growing.filter((index) => at < (this.#keywords[index]?.text.length ?? 0))
      for (const index of grown)
        reached[index] = this.#child(reached[index] ?? ROOT, this.#keywords[index]?.text.charCodeAt(at) ?? 0)
      for (const index of grown)
        if (at + 1 === this.#keywords[index]?.text.length) this.#end(index, reached[index] ?? ROOT)
      growing = grown
    }
  }

  #end(index: number, state: number): void {
    this.#same[index] = this.#ending[state] ?? NONE
    this.#ending[state] = index
  }

  #child(parent: number, code: number): number {
    const slot = this.#slotOf(parent, code)
    const known = this.#to[slot] ?? ROOT
    if (known !== ROOT) return known
    const fallback = parent === ROOT ? ROOT : this.#advance(this.#fallback[parent] ?? ROOT, code)
    const state = this.#states++
    this.#from[slot] = parent
    this.#code[slot] = code
    this.#to[slot] = state
    this.#fallback[state] = fallback
    this.#nextEnd[state] = this.#firstEnd(fallback)
    return state
  }

  #advance(state: number, code: number): number {
    for (let from = state; ; from = this.#fallback[from] ?? ROOT) {
      const to = this.#to[this.#slotOf(from, code)] ?? ROOT
      if (to !== ROOT || from === ROOT) return to
    }
  }

  #firstEnd(state: number): number {
    return this.#ending[state] === NONE ? (this.#nextEnd[state] ?? ROOT) : state
  }

  /** The slot of this edge, or the empty one where it would lie. */
  #slotOf(from: number, code: number): number {
    let slot = (Math.imul(from, 0x9e3779b1) ^ Math.imul(code, 0x85ebca6b)) >>> 7
    for (; ; slot++) {
      slot &= this.#mask
      if (this.#to[slot] === ROOT || (this.#from[slot] === from && this.#code[slot] === code)) return slot
    }
  }
}

/** Whether a keyword that ends before this place of the text stands there as it wants to stand. */
const countsAt = (text: string, end: number, { text: { length }, isWholeWord }: Keyword): boolean =>
  !isWholeWord || !(isWordAt(text, end - length - 1) || isWordAt(text, end))

const WORD = /[\p{L}\p{N}\p{M}_]/u
const ASCII_WORDS = Array.from({ length: 128 }, (_, code) => WORD.test(String.fromCharCode(code)))

/** Letters outside the first plane have two halves; either half belongs to a word. */
function isWordAt(text: string, at: number): boolean {
  if (at < 0 || at >= text.length) return false
  const code = text.charCodeAt(at)
  if (code < 128) return ASCII_WORDS[code] ?? false
  const start = code >= 0xdc00 && code <= 0xdfff ? at - 1 : at
  return WORD.test(String.fromCodePoint(text.codePointAt(start) ?? code))
}
