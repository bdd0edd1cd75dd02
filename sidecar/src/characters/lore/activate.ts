/**
 * Which entries of a lorebook a conversation calls up, and why. Pure: the dice are given, and what lasts over several
 * turns (sticky entries, cooldowns) is found by running the earlier turns again, so that nothing is stored, and an edited
 * or branched chat is right by itself.
 */
import type { CompiledKey, LoreBook, LoreEntry } from './book.ts'
import {
  isForOrdinaryRequests,
  refusesCharacter,
  SOURCE_NAMES,
  type LoreCharacter,
  type Source,
} from './conditions.ts'
import type { Scanned } from './match.ts'

export interface LoreMessage {
  role: 'user' | 'assistant'
  /** Stands before the words, so that a name can be a key. */
  name: string
  text: string
}

export interface LoreSettings {
  /** What the called-up entries may take together, in tokens. */
  budgetTokens: number
  /** Upper bound of a text. */
  countTokens: (text: string) => number
  /** The text as it will stand in the prompt. */
  render: (entry: LoreEntry) => string
  /** Texts that stand in no prompt, but call up other entries as if they did. */
  hidden: (entry: LoreEntry) => readonly string[]
  /** A number from 0 up to 1 for an entry in the turn that has so many messages; always the same for the same. */
  draw: (entryId: string, messageCount: number) => number
  /** The greeting with which the chat began: 0 for the first message of the card. Undefined when it is not known. */
  greeting?: number
  /** Who answers, for entries that are meant for some only. */
  character: LoreCharacter
  /** Texts that nobody said, for entries that look into them too. */
  sources: Partial<Readonly<Record<Source, string>>>
}

export interface TraceLine {
  entry: LoreEntry
  isActive: boolean
  /** A sentence: which key in which message, or what kept it out. */
  reason: string
  tokens: number
}

export interface Activation {
  /** In the order in which they are printed. */
  active: { entry: LoreEntry; text: string; reason: string; tokens: number }[]
  /** One line for every entry, in the book's order. */
  trace: TraceLine[]
}

const MOST_PASSES = 10
const MOST_ACTIVE = 500
/** Turns that are run again for what lasts: twice the longest sticky that was seen. */
const MOST_REPLAYED = 50
const DEEPEST_SCAN = 1_000

/** Messages are in the order in which they were said; the last one is the user's. */
export function activate(
  book: LoreBook,
  messages: readonly LoreMessage[],
  settings: LoreSettings,
): Activation {
  const texts = messages.map(({ name, text }) => book.memory.scan(`${name}: ${text}`))
  const lasting = new Lasting()
  if (book.entries.some(isTimed))
    for (const count of earlierTurns(messages)) {
      const turn = new Turn(book, messages.slice(0, count), texts.slice(0, count), settings, lasting)
      turn.run()
      lasting.after(turn.activated(), count)
    }
  const turn = new Turn(book, messages, texts, settings, lasting)
  turn.run()
  return turn.result()
}

const isTimed = ({ sticky, cooldown, decorators }: LoreEntry) =>
  sticky > 0 || cooldown > 0 || decorators.keepsAfterMatch || decorators.firesOnce

/** How many messages there were at each earlier answer. */
function earlierTurns(messages: readonly LoreMessage[]): number[] {
  const counts = messages.flatMap(({ role }, index) => (role === 'user' ? [index + 1] : []))
  return counts.filter((count) => count < messages.length).slice(-MOST_REPLAYED)
}

// -- what lasts -------------------------------------------------------------------------------------------------------

/** Effects by entry, each until the chat has so many messages. */
class Lasting {
  readonly #sticky = new Map<string, number>()
  readonly #cooldown = new Map<string, number>()
  readonly #matched = new Set<string>()

  /** Ends what has run out. A cooldown begins anew when a sticky of the same entry ends. */
  begin(entries: readonly LoreEntry[], count: number): void {
    for (const { id, cooldown } of entries) {
      const end = this.#sticky.get(id)
      if (end !== undefined && end <= count) {
        this.#sticky.delete(id)
        if (cooldown > 0) this.#cooldown.set(id, end + cooldown)
      }
      if ((this.#cooldown.get(id) ?? Infinity) <= count) this.#cooldown.delete(id)
    }
  }

  /** A running sticky is not made longer by another match. */
  after(activated: readonly LoreEntry[], count: number): void {
    for (const { id, sticky, cooldown } of activated) {
      this.#matched.add(id)
      if (sticky > 0 && !this.#sticky.has(id)) this.#sticky.set(id, count + sticky)
      if (cooldown > 0 && !this.#cooldown.has(id)) this.#cooldown.set(id, count + cooldown)
    }
  }

  isSticky = (id: string) => this.#sticky.has(id)
  isCooling = (id: string) => this.#cooldown.has(id)
  hasMatched = (id: string) => this.#matched.has(id)
}

// -- one turn ---------------------------------------------------------------------------------------------------------

/** An entry that is on, and how it came to be. */
interface Hit {
  entry: LoreEntry
  reason: string
  /** Keys found, for groups that score. */
  score: number
}

const stands = (key: CompiledKey, texts: readonly Scanned[]): boolean => texts.some((text) => text.holds(key))

type Verdict = { hit: Hit } | { blocked: string }

class Turn {
  readonly #active = new Map<string, Hit & { text: string; tokens: number }>()
  /** Entries that are out of this turn for good: lost dice, a lost group, no room. */
  readonly #out = new Map<string, string>()
  readonly #why = new Map<string, string>()
  readonly #recursed: Scanned[] = []
  readonly #answers: number
  #spentTokens = 0

  readonly #book: LoreBook
  readonly #messages: readonly LoreMessage[]
  readonly #texts: readonly Scanned[]
  readonly #settings: LoreSettings
  readonly #lasting: Lasting

  constructor(
    book: LoreBook,
    messages: readonly LoreMessage[],
    texts: readonly Scanned[],
    settings: LoreSettings,
    lasting: Lasting,
  ) {
    this.#book = book
    this.#messages = messages
    this.#texts = texts
    this.#settings = settings
    this.#lasting = lasting
    this.#answers = messages.filter(({ role }) => role === 'assistant').length
  }

  run(): void {
    this.#lasting.begin(this.#book.entries, this.#messages.length)
    const levels = this.#levels()
    let level = 0
    for (let pass = 0; pass < MOST_PASSES; pass++) {
      const found = this.#scan(pass, level)
      const added = this.#admit(this.#settleGroups(found))
      const spreads = added.filter(({ entry }) => !entry.preventsRecursion)
      for (const { entry, text } of spreads)
        this.#recursed.push(
          ...[text, ...this.#settings.hidden(entry)].map((each) => this.#book.memory.scan(each)),
        )
      if (!this.#book.isRecursive || this.#active.size >= MOST_ACTIVE) return
      if (spreads.length > 0) continue
      const next = levels.find((candidate) => candidate > level)
      if (next === undefined || this.#recursed.length === 0) return
      level = next
    }
  }

  activated(): LoreEntry[] {
    return [...this.#active.values()].map(({ entry }) => entry)
  }

  result(): Activation {
    const position = new Map(this.#book.entries.map((entry, index) => [entry.id, index]))
    const place = ({ entry }: Hit) => position.get(entry.id) ?? 0
    return {
      active: [...this.#active.values()].sort((a, b) => a.entry.order - b.entry.order || place(a) - place(b)),
      trace: this.#book.entries.map((entry) => {
        const active = this.#active.get(entry.id)
        const reason =
          active?.reason ?? this.#out.get(entry.id) ?? this.#why.get(entry.id) ?? 'no key was found'
        return { entry, isActive: active !== undefined, reason, tokens: active?.tokens ?? 0 }
      }),
    }
  }

  /** Levels for which entries wait, lowest first. */
  #levels(): number[] {
    return [...new Set(this.#book.entries.map(({ recursionLevel }) => recursionLevel))].sort((a, b) => a - b)
  }

  #scan(pass: number, level: number): Hit[] {
    const hits: Hit[] = []
    for (const entry of this.#book.entries) {
      if (this.#active.has(entry.id) || this.#out.has(entry.id)) continue
      const verdict = this.#judge(entry, pass, level)
      if ('hit' in verdict) hits.push(verdict.hit)
      else this.#why.set(entry.id, verdict.blocked)
    }
    return hits
  }

  #judge(entry: LoreEntry, pass: number, level: number): Verdict {
    const isSticky = this.#lasting.isSticky(entry.id)
    const blocked = this.#obstacle(entry, pass, level, isSticky)
    if (blocked !== undefined) return { blocked }
    const on = (reason: string, score = 0): Verdict => ({ hit: { entry, reason, score } })
    if (entry.decorators.isForcedOn) return on('it says that it is always on')
    if (entry.decorators.isForcedOff) return { blocked: 'it says that it is never on' }
    if (entry.decorators.keepsAfterMatch && this.#lasting.hasMatched(entry.id))
      return on('it was called up before and stays')
    if (isSticky) return on('it was called up before and is sticky')
    const texts = this.#window(entry, pass)
    if (entry.excluded.some((key) => stands(key, texts)))
      return { blocked: 'one of its excluding keys was found' }
    if (!entry.additional.every((keys) => keys.some((key) => stands(key, texts))))
      return { blocked: 'none of its additional keys was found' }
    if (entry.isConstant) return on('it is constant')
    return this.#matchKeys(entry, texts, on)
  }

  #obstacle(entry: LoreEntry, pass: number, level: number, isSticky: boolean): string | undefined {
    const { decorators } = entry
    if (!entry.isEnabled) return 'it is switched off'
    if (!isForOrdinaryRequests(entry.triggers))
      return `it is meant for other kinds of requests (${entry.triggers.join(', ')})`
    const refusal = refusesCharacter(entry.characterFilter, this.#settings.character)
    if (refusal !== undefined) return refusal
    if (decorators.afterAnswers !== undefined && this.#answers < decorators.afterAnswers)
      return `it waits for ${String(decorators.afterAnswers)} answers`
    if (decorators.everyAnswers !== undefined && this.#answers % decorators.everyAnswers !== 0)
      return `it counts only after every ${String(decorators.everyAnswers)} answers`
    if (decorators.greeting !== undefined && decorators.greeting !== this.#settings.greeting)
      return 'the chat began with another greeting'
    if (decorators.firesOnce && this.#lasting.hasMatched(entry.id))
      return 'it was called up before, once is all'
    if (this.#messages.length < entry.delay) return `it waits for ${String(entry.delay)} messages`
    if (this.#lasting.isCooling(entry.id) && !isSticky) return 'it was called up before and cools down'
    if (isSticky) return undefined
    if (entry.recursionLevel > 0 && (pass === 0 || entry.recursionLevel > level))
      return 'it waits for what others call up'
    if (pass > 0 && entry.excludesRecursion) return 'others cannot call it up'
    return undefined
  }

  /** Newest first. A depth of 0 looks at nothing, not even at what others called up. */
  #window(entry: LoreEntry, pass: number): Scanned[] {
    const depth = Math.min(entry.scanDepth ?? this.#book.scanDepth, DEEPEST_SCAN)
    if (depth <= 0) return []
    const said = [...this.#texts.slice(-depth).reverse(), ...this.#sources(entry)]
    return pass === 0 ? said : [...said, ...this.#recursed]
  }

  #sources({ sources }: LoreEntry): Scanned[] {
    return sources.map((source) => this.#book.memory.scan(this.#settings.sources[source] ?? ''))
  }

  #matchKeys(
    entry: LoreEntry,
    texts: readonly Scanned[],
    on: (reason: string, score: number) => Verdict,
  ): Verdict {
    if (entry.keys.length === 0) return { blocked: 'it has no key' }
    if (entry.keys.every(({ find }) => find === undefined))
      return { blocked: 'its keys are empty, or patterns that are not supported' }
    const primary = entry.keys.filter((key) => stands(key, texts))
    const [first] = primary
    if (first === undefined) return { blocked: 'no key was found' }
    const where = this.#placeOf(
      texts.findIndex((text) => text.holds(first)),
      entry,
    )
    const reason = `"${first.written.trim()}" ${where}`
    if (entry.secondary.length === 0) return on(reason, primary.length)
    const found = entry.secondary.filter((key) => stands(key, texts)).length
    const all = entry.secondary.length
    const holds = {
      and_any: found > 0,
      and_all: found === all,
      not_any: found === 0,
      not_all: found < all,
    }[entry.logic]
    if (!holds) return { blocked: `${reason}, but its secondary keys say no` }
    const counts = entry.logic === 'and_any' || entry.logic === 'and_all'
    return on(reason, primary.length + (counts ? found : 0))
  }

  #placeOf(index: number, entry: LoreEntry): string {
    const seen = Math.min(entry.scanDepth ?? this.#book.scanDepth, DEEPEST_SCAN, this.#texts.length)
    const source = entry.sources[index - seen]
    if (source !== undefined) return `in ${SOURCE_NAMES[source]}`
    if (index >= seen) return 'in an entry that was called up'
    const places = ['in the newest message', 'in the message before the newest']
    return places[index] ?? `${String(index)} messages before the newest`
  }

  // -- groups, dice, room ---------------------------------------------------------------------------------------------

  /** Of each group one stays. Grouping comes before the dice, as in SillyTavern: a winner may fail, and the group stays empty. */
  #settleGroups(found: readonly Hit[]): Hit[] {
    let left = [...found]
    for (const group of new Set(found.flatMap(({ entry }) => entry.groups))) {
      const members = left.filter(({ entry }) => entry.groups.includes(group))
      const isTaken = [...this.#active.values()].some(({ entry }) => entry.groups.includes(group))
      const winner = isTaken ? undefined : this.#winnerOf(members)
      const stays = new Set(
        isTaken ? [] : members.filter((hit) => hit === winner || this.#lasting.isSticky(hit.entry.id)),
      )
      for (const hit of members)
        if (!stays.has(hit)) this.#out.set(hit.entry.id, `another entry of "${group}" came first`)
      left = left.filter((hit) => !members.includes(hit) || stays.has(hit))
    }
    return left
  }

  #winnerOf(members: readonly Hit[]): Hit | undefined {
    const sticky = members.filter(({ entry }) => this.#lasting.isSticky(entry.id))
    if (sticky.length > 0) return sticky[0]
    const scores = members.some(({ entry }) => entry.usesScoring)
    const best = Math.max(...members.map(({ score }) => score))
    const scored = scores ? members.filter(({ score }) => score === best) : members
    const prioritised = scored
      .filter(({ entry }) => entry.isPrioritised)
      .sort((a, b) => b.entry.order - a.entry.order)
    return prioritised[0] ?? this.#lottery(scored)
  }

  #lottery(members: readonly Hit[]): Hit | undefined {
    const [first] = members
    if (first === undefined) return undefined
    const total = members.reduce((sum, { entry }) => sum + entry.weight, 0)
    let ticket = this.#settings.draw(`group ${first.entry.groups.join()}`, this.#messages.length) * total
    for (const hit of members) {
      ticket -= hit.entry.weight
      if (ticket < 0) return hit
    }
    return first
  }

  /** Who is more important gets its place first; what does not fit is left out, and smaller ones still get theirs. */
  #admit(found: readonly Hit[]): { entry: LoreEntry; text: string }[] {
    const rank = ({ entry }: Hit) =>
      this.#lasting.isSticky(entry.id) ? Infinity : entry.isConstant ? Number.MAX_VALUE : entry.priority
    const added: { entry: LoreEntry; text: string }[] = []
    for (const hit of [...found].sort((a, b) => rank(b) - rank(a) || b.entry.order - a.entry.order)) {
      const { entry } = hit
      const drawn = this.#settings.draw(entry.id, this.#messages.length) * 100
      if (entry.probability < 100 && drawn >= entry.probability && !this.#lasting.isSticky(entry.id)) {
        this.#out.set(entry.id, `${hit.reason}, but its dice said no (${String(entry.probability)} %)`)
        continue
      }
      const text = this.#settings.render(entry)
      const tokens = text === '' ? 0 : this.#settings.countTokens(text)
      if (!entry.ignoresBudget && this.#spentTokens + tokens > this.#settings.budgetTokens) {
        this.#out.set(entry.id, `${hit.reason}, but there was no room for its ${String(tokens)} tokens`)
        continue
      }
      if (!entry.ignoresBudget) this.#spentTokens += tokens
      this.#active.set(entry.id, { ...hit, text, tokens })
      added.push({ entry, text })
      if (this.#active.size >= MOST_ACTIVE) break
    }
    return added
  }
}
