/** One turn: the entries are gone through again and again, until nothing more is called up. */
import { DEEPEST_SCAN } from './book-index.ts'
import { isForOrdinaryRequests, refusesCharacter } from './conditions.ts'
import type { Logic } from './entry.ts'
import type { Lasting } from './lasting.ts'
import type { CompiledKey, LoreText } from './match.ts'
import { Reading, type Item, type OpenBook, type Scope } from './open-book.ts'
import type { LoreMessage, LoreSettings, MinimumActivations } from './settings.ts'

const MOST_PASSES = 10
const MOST_ACTIVE = 500

/** An entry that is on, and how it came to be. */
interface Hit {
  item: Item
  reason: string
  /** Keys found, for groups that score. */
  score: number
}

/** As it stands in the prompt. */
export interface Printed {
  text: string
  tokens: number
  /** What it says to other entries: its text, and what no prompt shows. */
  calls: readonly LoreText[]
}

export interface ActiveHit extends Hit {
  printed: Printed
  /** In which pass over the entries it came on, from 1. */
  pass: number
}

/** On, or a sentence that says what keeps it out. */
type Verdict = Hit | string

/** What all turns of one activation share. */
export interface Run {
  open: readonly OpenBook[]
  messages: readonly LoreMessage[]
  settings: LoreSettings
  lasting: Lasting
  print: (item: Item) => Printed
  /** Levels for which entries wait, lowest first. */
  levels: readonly number[]
}

const hit = (item: Item, reason: string, score = 0): Hit => ({ item, reason, score })

const UNUSABLE_KEYS =
  'its keys are empty, patterns that are not supported or too large, or more than a book may have'
const isNever = ({ kind }: CompiledKey): boolean => kind === 'never'

function isContent(logic: Logic, found: number, all: number): boolean {
  switch (logic) {
    case 'and_any':
      return found > 0
    case 'and_all':
      return found === all
    case 'not_any':
      return found === 0
    case 'not_all':
      return found < all
  }
}

export class Turn {
  readonly #run: Run
  readonly #count: number
  readonly #answers: number
  readonly #readings: ReadonlyMap<OpenBook, Reading>
  /** Only these can still come on: of a book of thousands, a turn has to look at a few dozen. */
  readonly #candidates = new Set<Item>()
  readonly #active = new Map<Item, ActiveHit>()
  /** Entries that are out of this turn for good: lost dice, a lost group, no room. */
  readonly #out = new Map<Item, string>()
  /** What was drawn for entries that do not come on always, from 0 up to 100. */
  readonly #dice = new Map<Item, number>()
  readonly #spentByBook = new Map<OpenBook, number>()
  #spentTokens = 0
  #scope: Scope = { furtherMessages: 0, deepest: DEEPEST_SCAN, isRecursion: false }
  /** What the entries of the last pass say, for the next one. */
  #unread: LoreText[] = []
  #level = 0
  #passes = 1
  #hasRecursed = false
  #isFull = false

  /** The turn after so many messages. */
  constructor(run: Run, count: number) {
    this.#run = run
    this.#count = count
    this.#answers = run.messages.reduce(
      (sum, { role }, index) => (role === 'assistant' && index < count ? sum + 1 : sum),
      0,
    )
    this.#readings = new Map(run.open.map((open) => [open, new Reading(open, count)]))
  }

  run(): void {
    this.#run.lasting.begin(this.#count)
    for (const item of this.#run.lasting.sticky()) this.#candidates.add(item)
    for (const [open, reading] of this.#readings) {
      const { unasked, deepest } = open.book.index
      for (const index of unasked) this.#consider(open.item(index))
      reading.readTo(deepest, this.#candidates)
      reading.readSources(this.#candidates)
    }
    do {
      const added = this.#admit(this.#settleGroups(this.#scan()))
      if (this.#active.size >= MOST_ACTIVE) return
      this.#spread(added)
    } while (this.#hasNext())
  }

  active(): ActiveHit[] {
    return [...this.#active.values()]
  }

  /** Undefined for an entry that is not on. */
  tokensOf(item: Item): number | undefined {
    return this.#active.get(item)?.printed.tokens
  }

  /** Undefined for an entry that is not on. */
  passOf(item: Item): number | undefined {
    return this.#active.get(item)?.pass
  }

  /** From 0 up to 100: below the entry's probability it comes on. Undefined where no dice fell. */
  diceOf(item: Item): number | undefined {
    return this.#dice.get(item)
  }

  /** A sentence: which key in which message, or what keeps it out. */
  reason(item: Item): string {
    const known = this.#active.get(item)?.reason ?? this.#out.get(item)
    if (known !== undefined) return known
    const verdict = this.#judge(item)
    return typeof verdict === 'string' ? verdict : `${verdict.reason}, but enough was called up before`
  }

  #consider(item: Item | undefined): void {
    if (item !== undefined) this.#candidates.add(item)
  }

  // -- from pass to pass ----------------------------------------------------------------------------------------------

  #spread(added: readonly ActiveHit[]): void {
    for (const { item, printed } of added)
      if (!item.entry.preventsRecursion && item.open.book.isRecursive) this.#unread.push(...printed.calls)
  }

  /** Prepares the next pass: over what others say, then further back, then for those that wait for the next level. */
  #hasNext(): boolean {
    const { minimumActivations, mostPasses } = this.#run.settings
    const mayRecurse = this.#passes < Math.min(mostPasses ?? MOST_PASSES, MOST_PASSES)
    if (this.#unread.length > 0 && mayRecurse) return this.#recurse()
    const mayLookFurther = minimumActivations !== undefined && mostPasses === undefined && !this.#isFull
    if (mayLookFurther && this.#looksFurther(minimumActivations)) return true
    const level = this.#run.levels.find((candidate) => candidate > this.#level)
    if (level === undefined || !this.#hasRecursed || !mayRecurse) return false
    this.#level = level
    return this.#recurse()
  }

  #recurse(): true {
    for (const text of this.#unread)
      for (const [open, reading] of this.#readings)
        if (open.book.isRecursive) reading.readRecursed(text, this.#candidates)
    this.#hasRecursed ||= this.#unread.length > 0
    this.#unread = []
    this.#passes++
    this.#scope = { ...this.#scope, isRecursion: true }
    return true
  }

  #looksFurther(minimum: MinimumActivations): boolean {
    if (this.#active.size >= minimum.entries) return false
    const deepest = Math.min(minimum.deepest ?? DEEPEST_SCAN, DEEPEST_SCAN, this.#count)
    const furtherMessages = this.#scope.furtherMessages + 1
    if (this.#run.open.every(({ book }) => book.scanDepth + furtherMessages > deepest)) return false
    this.#scope = { furtherMessages, deepest, isRecursion: false }
    for (const [open, reading] of this.#readings)
      reading.readTo(Math.min(open.book.scanDepth + furtherMessages, deepest), this.#candidates)
    return true
  }

  // -- one entry ------------------------------------------------------------------------------------------------------

  #scan(): Hit[] {
    for (const item of this.#candidates)
      if (this.#active.has(item) || this.#out.has(item)) this.#candidates.delete(item)
    const hits: Hit[] = []
    for (const item of [...this.#candidates].sort((a, b) => a.position - b.position)) {
      const verdict = this.#judge(item)
      if (typeof verdict !== 'string') hits.push(verdict)
    }
    return hits
  }

  #judge(item: Item): Verdict {
    const { entry } = item
    const isSticky = this.#run.lasting.isSticky(item)
    const obstacle = this.#obstacle(item, isSticky)
    if (obstacle !== undefined) return obstacle
    if (entry.decorators.isForcedOn) return hit(item, 'it says that it is always on')
    if (entry.decorators.isForcedOff) return 'it says that it is never on'
    if (entry.decorators.keepsAfterMatch && this.#run.lasting.hasMatched(item))
      return hit(item, 'it was called up before and stays')
    if (isSticky) return hit(item, 'it was called up before and is sticky')
    if (this.#found(entry.excluded, item).length > 0) return 'one of its excluding keys was found'
    if (!entry.additional.every((keys) => this.#found(keys, item).length > 0))
      return 'none of its additional keys was found'
    return entry.isConstant ? hit(item, 'it is constant') : this.#matchKeys(item)
  }

  #obstacle(item: Item, isSticky: boolean): string | undefined {
    const { entry } = item
    if (!entry.isEnabled) return 'it is switched off'
    if (!isForOrdinaryRequests(entry.triggers))
      return `it is meant for other kinds of requests (${entry.triggers.join(', ')})`
    const refusal = refusesCharacter(entry.characterFilter, this.#run.settings.character)
    if (refusal !== undefined) return refusal
    const early = this.#tooEarly(item)
    if (early !== undefined) return early
    if (this.#run.lasting.isCooling(item) && !isSticky) return 'it was called up before and cools down'
    if (isSticky) return undefined
    const { isRecursion } = this.#scope
    if (entry.recursionLevel > 0 && (!isRecursion || entry.recursionLevel > this.#level))
      return 'it waits for what others call up'
    return isRecursion && entry.excludesRecursion ? 'others cannot call it up' : undefined
  }

  #tooEarly(item: Item): string | undefined {
    const { decorators, delay } = item.entry
    if (decorators.afterAnswers !== undefined && this.#answers < decorators.afterAnswers)
      return `it waits for ${String(decorators.afterAnswers)} answers`
    if (decorators.everyAnswers !== undefined && this.#answers % decorators.everyAnswers !== 0)
      return `it counts only after every ${String(decorators.everyAnswers)} answers`
    if (decorators.greeting !== undefined && decorators.greeting !== this.#run.settings.greeting?.())
      return 'the chat began with another greeting'
    if (decorators.firesOnce && this.#run.lasting.hasMatched(item))
      return 'it was called up before, once is all'
    return this.#count < delay ? `it waits for ${String(delay)} messages` : undefined
  }

  #find(key: CompiledKey, { entry, open }: Item): string | undefined {
    return this.#readings.get(open)?.find(key, entry, this.#scope)
  }

  #found(keys: readonly CompiledKey[], item: Item): CompiledKey[] {
    return keys.filter((key) => this.#find(key, item) !== undefined)
  }

  #matchKeys(item: Item): Verdict {
    const { keys, secondary, logic } = item.entry
    if (keys.length === 0) return 'it has no key'
    const primary = this.#found(keys, item)
    const [first] = primary
    if (first === undefined) return keys.every(isNever) ? UNUSABLE_KEYS : 'no key was found'
    const reason = `"${first.written.trim()}" ${this.#find(first, item) ?? ''}`
    if (secondary.length === 0) return hit(item, reason, primary.length)
    const found = this.#found(secondary, item).length
    if (!isContent(logic, found, secondary.length)) return `${reason}, but its secondary keys say no`
    const counts = logic === 'and_any' || logic === 'and_all'
    return hit(item, reason, primary.length + (counts ? found : 0))
  }

  // -- groups, dice, room ---------------------------------------------------------------------------------------------

  /** Of each group one stays. Grouping comes before the dice, as in SillyTavern: a winner may fail, and the group stays empty. */
  #settleGroups(found: readonly Hit[]): Hit[] {
    let left = [...found]
    if (found.every(({ item }) => item.entry.groups.length === 0)) return left
    for (const group of new Set(found.flatMap(({ item }) => item.entry.groups))) {
      const isMember = ({ item }: Hit) => item.entry.groups.includes(group)
      const members = left.filter(isMember)
      const isTaken = this.active().some(isMember)
      const winner = isTaken ? undefined : this.#winnerOf(members)
      const stays = new Set(
        isTaken ? [] : members.filter((hit) => hit === winner || this.#run.lasting.isSticky(hit.item)),
      )
      for (const hit of members)
        if (!stays.has(hit)) this.#out.set(hit.item, `another entry of "${group}" came first`)
      left = left.filter((hit) => !members.includes(hit) || stays.has(hit))
    }
    return left
  }

  #winnerOf(members: readonly Hit[]): Hit | undefined {
    const sticky = members.find(({ item }) => this.#run.lasting.isSticky(item))
    if (sticky !== undefined) return sticky
    const scores = members.some(({ item }) => item.entry.usesScoring)
    const best = Math.max(...members.map(({ score }) => score))
    const scored = scores ? members.filter(({ score }) => score === best) : members
    const prioritised = scored
      .filter(({ item }) => item.entry.isPrioritised)
      .sort((a, b) => b.item.entry.order - a.item.entry.order)
    return prioritised[0] ?? this.#lottery(scored)
  }

  #lottery(members: readonly Hit[]): Hit | undefined {
    const [first] = members
    if (first === undefined) return undefined
    const total = members.reduce((sum, { item }) => sum + item.entry.weight, 0)
    const draw = this.#run.settings.draw(`group ${first.item.entry.groups.join()}`, this.#count)
    let ticket = draw * total
    for (const hit of members) {
      ticket -= hit.item.entry.weight
      if (ticket < 0) return hit
    }
    return first
  }

  /** Who is more important gets its place first; what does not fit is left out, and smaller ones still get theirs. */
  #admit(found: readonly Hit[]): ActiveHit[] {
    const added: ActiveHit[] = []
    const byRank = [...found].sort(
      (a, b) => this.#rank(b) - this.#rank(a) || b.item.entry.order - a.item.entry.order,
    )
    for (const { item, reason, score } of byRank) {
      if (this.#active.size >= MOST_ACTIVE) break
      const refusal = this.#unlucky(item) ?? this.#lacksRoom(item)
      if (refusal !== undefined) {
        this.#out.set(item, `${reason}, ${refusal}`)
        continue
      }
      const admitted = { item, reason, score, printed: this.#run.print(item), pass: this.#passes }
      this.#active.set(item, admitted)
      added.push(admitted)
    }
    return added
  }

  #rank({ item }: Hit): number {
    if (this.#run.lasting.isSticky(item)) return Infinity
    return item.entry.isConstant ? Number.MAX_VALUE : item.entry.priority
  }

  #unlucky(item: Item): string | undefined {
    const { id, probability } = item.entry
    if (probability >= 100 || this.#run.lasting.isSticky(item)) return undefined
    const drawn = this.#run.settings.draw(id, this.#count) * 100
    this.#dice.set(item, drawn)
    return drawn < probability ? undefined : `but its dice said no (${String(probability)} %)`
  }

  /** Takes the room if there is enough. */
  #lacksRoom(item: Item): string | undefined {
    if (item.entry.ignoresBudget) return undefined
    const { tokens } = this.#run.print(item)
    const own = this.#spentByBook.get(item.open) ?? 0
    const isTooMuch = this.#spentTokens + tokens > this.#run.settings.budgetTokens
    if (isTooMuch || own + tokens > item.open.book.budgetTokens) {
      this.#isFull = true
      const where = isTooMuch ? 'there was no room' : 'its book allows no room'
      return `but ${where} for its ${String(tokens)} tokens`
    }
    this.#spentTokens += tokens
    this.#spentByBook.set(item.open, own + tokens)
    return undefined
  }
}
