/**
 * Which entries of one or more lorebooks a conversation calls up, and why. Pure: the dice are given, and what lasts over
 * several turns (sticky entries, cooldowns) is found by running the earlier turns again, so that nothing is stored, and an
 * edited or branched chat is right by itself.
 */
import type { LoreBook } from './book.ts'
import type { LoreEntry } from './entry.ts'
import { Lasting } from './lasting.ts'
import { LoreText, Patience } from './match.ts'
import { OpenBook, type Item } from './open-book.ts'
import type { Place } from './place.ts'
import type { LoreMessage, LoreSettings } from './settings.ts'
import { Turn, type Printed, type Run } from './turn.ts'

export interface ActiveEntry {
  entry: LoreEntry
  /** The name of its book. */
  book: string
  text: string
  reason: string
  tokens: number
}

export interface TraceLine {
  entry: LoreEntry
  book: string
  isActive: boolean
  /** A sentence: which key in which message, or what kept it out. */
  reason: string
  tokens: number
  place: Place['kind']
  /** In which pass over the entries it came on, from 1; null for one that is not on. */
  pass: number | null
  /** From 0 up to 100: below the entry's probability it comes on. Null where no dice fell. */
  dice: number | null
}

export interface Activation {
  /** In the order in which they are printed. */
  active: ActiveEntry[]
  /** One line for every entry, in the books' order. Worked out when it is asked for: most turns are never looked into. */
  readonly trace: TraceLine[]
}

/** Turns that are run again for what lasts: twice the longest sticky that was seen. */
const MOST_REPLAYED = 50

/**
 * The books are in the order in which they are gone through; what they call up is printed by its own order. Messages are in
 * the order in which they were said; the last one is the user's.
 */
export function activate(
  books: readonly LoreBook[],
  messages: readonly LoreMessage[],
  settings: LoreSettings,
): Activation {
  const open = openBooks(books, messages, settings)
  const levels = [...new Set(open.flatMap(({ book }) => book.index.levels))].sort((a, b) => a - b)
  const run: Run = { open, messages, settings, lasting: new Lasting(), print: printer(settings), levels }
  if (open.some(({ book }) => book.index.isTimed))
    for (const count of earlierTurns(messages)) {
      const active = turnAfter(count, run).active()
      run.lasting.after(
        active.map(({ item }) => item),
        count,
      )
    }
  return toActivation(open, turnAfter(messages.length, run))
}

function openBooks(
  books: readonly LoreBook[],
  messages: readonly LoreMessage[],
  { sources, clockMs }: LoreSettings,
): OpenBook[] {
  const texts = messages.map(({ name, text }) => new LoreText(`${name}: ${text}`))
  const patience = new Patience(clockMs)
  let position = 0
  return [...new Set(books)].map((book) => {
    const open = new OpenBook(book, position, texts, sources, patience)
    position += book.entries.length
    return open
  })
}

/** The same entry is the same in every turn of one activation. */
function printer({ render, countTokens, hidden }: LoreSettings): (item: Item) => Printed {
  const printed = new Map<Item, Printed>()
  return (item) => {
    const known = printed.get(item)
    if (known !== undefined) return known
    const text = render(item.entry)
    const { content, wording } = item.entry
    // Most texts have no macro; their hash is known since an earlier turn.
    const own = text === content ? wording : new LoreText(text)
    const calls = [own, ...hidden(item.entry).map((each) => new LoreText(each))]
    const fresh = { text, tokens: text === '' ? 0 : countTokens(text), calls }
    printed.set(item, fresh)
    return fresh
  }
}

/** How many messages there were at each earlier answer. */
function earlierTurns(messages: readonly LoreMessage[]): number[] {
  const counts = messages.flatMap(({ role }, index) => (role === 'user' ? [index + 1] : []))
  return counts.filter((count) => count < messages.length).slice(-MOST_REPLAYED)
}

function turnAfter(count: number, run: Run): Turn {
  const turn = new Turn(run, count)
  turn.run()
  return turn
}

function toActivation(open: readonly OpenBook[], turn: Turn): Activation {
  const active = turn
    .active()
    .sort((a, b) => a.item.entry.order - b.item.entry.order || a.item.position - b.item.position)
  const entries = active.map(({ item, reason, printed: { text, tokens } }) => ({
    entry: item.entry,
    book: item.open.book.name,
    text,
    reason,
    tokens,
  }))
  return new TurnActivation(entries, () => open.flatMap((each) => traceOf(each, turn)))
}

/** A class, since an object literal with a getter gets a hidden class of its own each time (docs/performance.md). */
class TurnActivation implements Activation {
  readonly active: ActiveEntry[]
  readonly #explain: () => TraceLine[]

  constructor(active: ActiveEntry[], explain: () => TraceLine[]) {
    this.active = active
    this.#explain = explain
  }

  get trace(): TraceLine[] {
    return this.#explain()
  }
}

const traceOf = (open: OpenBook, turn: Turn): TraceLine[] =>
  open.items().map((item) => {
    const tokens = turn.tokensOf(item)
    const lost = tokens === undefined ? lostKey(item, open.patience) : undefined
    return {
      entry: item.entry,
      book: open.book.name,
      isActive: tokens !== undefined,
      reason: lost ?? turn.reason(item),
      tokens: tokens ?? 0,
      place: item.entry.place.kind,
      pass: turn.passOf(item) ?? null,
      dice: turn.diceOf(item) ?? null,
    }
  })

function lostKey({ entry }: Item, { lost }: Patience): string | undefined {
  const key = entry.keys.find((each) => each.kind === 'pattern' && lost.has(each.written))
  return key && `there was no time to look for ${key.written} everywhere: patterns like it cost too much`
}
