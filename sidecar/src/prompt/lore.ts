/** The lorebook of a card in a prompt: what always stands there, and what the conversation calls up. */
import { countAsked } from '#base/cache.ts'
import { spokenName, type Card, type Lorebook } from '#characters/card.ts'
import { activate, type Activation, type ActiveEntry } from '#characters/lore/activate.ts'
import { compileBook, isFixed, type LoreBook } from '#characters/lore/book.ts'
import type { LoreEntry } from '#characters/lore/entry.ts'
import type { LoreMessage, LoreSettings } from '#characters/lore/settings.ts'
import { expand, hiddenKeys, type MacroValues } from '#characters/macros.ts'
import type { Variables } from '#characters/variables.ts'
import { settingsOf, type CharacterSettings } from '#characters/settings.ts'

import { messageText, type ChatMessage } from './ask.ts'
import { macroValues, type Shared } from './macro-values.ts'
import { neutralise } from './neutral.ts'
import { depthNote } from './note.ts'
import { askedOutlets, isAskedFor, textAt, type AtOutlet } from './outlets.ts'
import type { Materials } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/**
 * Neither a card nor a book changes while it is published, and compiling one costs more than a turn. By the names that its
 * keys ask for; most books ask for none.
 */
const compiled = new WeakMap<Lorebook, Map<string, CompiledBook>>()

/** Of one book: about as many people as talk to its characters at the same time. */
const COMPILED_KEPT = 64

interface CompiledBook extends LoreBook {
  /** Some entry that comes and goes has its place in the system message, where the author wants it. */
  movesPrefix: boolean
  /** Some entry comes and goes. */
  isMoving: boolean
}

/** What macros in a key may ask for. */
interface Names {
  char: string
  user: string
}

/** The card's own book first, as the specification wants it. */
function booksOf({ speaker, userName, books = [] }: Materials): CompiledBook[] {
  const own = speaker.card.character_book
  const names = { char: spokenName(speaker.card), user: userName }
  return [
    ...(own === undefined ? [] : [compile(own, names)]),
    ...books.map(({ id, name, book }) => compile(book, names, `${id} `, name)),
  ]
}

function compile(book: Lorebook, names: Names, shelf = '', name?: string): CompiledBook {
  const versions = compiled.get(book) ?? new Map<string, CompiledBook>()
  compiled.set(book, versions)
  const key = asksForNames(book) ? `${names.char}\0${names.user}` : ''
  const known = versions.get(key)
  countAsked('lorebook', known !== undefined)
  if (known !== undefined) return known
  const fresh = compileBook(key === '' ? book : withNames(book, names), shelf)
  // They stand in the prefix, which has a room of its own.
  const entries = fresh.entries.map((entry) => (isFixed(entry) ? { ...entry, ignoresBudget: true } : entry))
  const movesPrefix = entries.some((entry) => entry.isEnabled && isMoving(entry))
  const isAnyMoving = entries.some((entry) => entry.isEnabled && !isFixed(entry))
  const ready = { ...fresh, entries, movesPrefix, isMoving: isAnyMoving, ...(name !== undefined && { name }) }
  versions.set(key, ready)
  for (const oldest of versions.keys()) {
    if (versions.size <= COMPILED_KEPT) break
    versions.delete(oldest)
  }
  return ready
}

const asking = new WeakMap<Lorebook, boolean>()

function asksForNames(book: Lorebook): boolean {
  const known = asking.get(book)
  if (known !== undefined) return known
  const isIt = book.entries.some(({ keys, secondary_keys: secondary = [] }) =>
    [...keys, ...secondary].some((key) => key.includes('{{')),
  )
  asking.set(book, isIt)
  return isIt
}

function withNames(book: Lorebook, names: Names): Lorebook {
  const all = (keys: readonly string[]) => keys.map((key) => expand(key, names))
  return {
    ...book,
    entries: book.entries.map((entry) => ({
      ...entry,
      keys: all(entry.keys),
      ...(entry.secondary_keys && { secondary_keys: all(entry.secondary_keys) }),
    })),
  }
}

export const hasMovingLore = (materials: Materials): boolean =>
  booksOf(materials).some((book) => book.isMoving)

export interface FixedEntry {
  entry: LoreEntry
  book: string
}

/** The entries that belong into the prefix, in the order in which they are printed; some of them where a text asks for them. */
export function fixedLore(materials: Materials): FixedEntry[] {
  const { card } = materials.speaker
  const { layout } = settingsOf(card)
  const asked = askedOutlets(card)
  const isHere = (entry: LoreEntry) =>
    isAskedFor(entry, asked.prefix) || (standsInPrefix(entry, layout) && !isAskedFor(entry, asked.tail))
  const fixed = booksOf(materials).flatMap(({ name, entries }) =>
    entries
      .filter((entry) => isFixed(entry) && isHere(entry) && entry.content !== '')
      .map((entry) => ({ entry, book: name })),
  )
  return fixed.sort(
    (a, b) => Number(isBeforeCharacter(b)) - Number(isBeforeCharacter(a)) || a.entry.order - b.entry.order,
  )
}

export const isBeforeCharacter = ({ entry: { place } }: FixedEntry) => place.kind === 'before_character'

/** What is always on and stands at one of these outlets. */
export function fixedOutlets(
  materials: Materials,
  names: ReadonlySet<string>,
  variables: Variables,
): AtOutlet[] {
  if (names.size === 0) return []
  return booksOf(materials)
    .flatMap(({ entries }) => entries)
    .filter((entry) => isFixed(entry) && isAskedFor(entry, names))
    .sort((a, b) => a.order - b.order)
    .map((entry) => ({
      entry,
      text: printed(entry, macroValues(materials, `lore ${entry.label}`, 'day', copyOf(variables))),
    }))
}

const printed = (entry: LoreEntry, values: MacroValues): string =>
  neutralise(expand(entry.content, values)).trim()

/** An entry sees what stands before the lore, and other entries do not see what it sets: which one comes first is chance. */
const copyOf = (variables: Variables): Shared => ({ variables: new Map(variables) })

export interface CalledUp extends Pick<Activation, 'active'> {
  /** One line for every entry, in the books' order. */
  explain: () => Activation['trace']
  movesPrefix: boolean
  /** What a text of the tail asks for. */
  outlet: (name: string) => string
  /** Stands there, and is not among the active ones. */
  asked: ActiveEntry[]
  /** Called up or asked for, some of it has macros that may set variables. */
  setsVariables: boolean
}

/**
 * What the conversation calls up, without what stands in the prefix anyway. `messages` end with the user's. Sets the
 * variables that the lore sets, in the order in which it is printed.
 */
export function calledUpLore(
  materials: Materials,
  messages: readonly ChatMessage[],
  budgetTokens: number,
  variables: Variables = new Map<string, string>(),
): CalledUp {
  const { card } = materials.speaker
  const { layout, lore } = settingsOf(card)
  const books = booksOf(materials)
  if (books.length === 0) return NO_LORE
  /** Hardly any entry asks for it. */
  let greeting: { number: number | undefined } | undefined
  const values = (entry: LoreEntry, shared = copyOf(variables)) =>
    macroValues(materials, `lore ${entry.id}`, 'minute', shared)
  const activation = activate(books, heard(messages, materials), {
    budgetTokens,
    countTokens: (text) => estimateTokens(text) + BLOCK_TOKENS,
    render: (entry) => printed(entry, values(entry)),
    hidden: (entry) => hiddenKeys(entry.content, values(entry)),
    draw: (id, count) => materials.scene?.dice(`lore ${id}`)(String(count)) ?? 0,
    greeting: () => (greeting ??= { number: greetingOf(card, messages, materials) }).number,
    character: { names: [card.name, spokenName(card)], tags: card.tags },
    sources: sourceTexts(materials),
    clockMs: materials.clockMs ?? (() => 0),
    ...limitsOf(lore),
  })
  const { prefix, tail } = askedOutlets(card)
  const isInPrefix = (entry: LoreEntry) =>
    standsInPrefix(entry, layout) || (isFixed(entry) && isAskedFor(entry, prefix))
  const on = activation.active.filter(({ text }) => text !== '')
  const asked = on.filter(({ entry }) => isAskedFor(entry, tail))
  const active = on.filter(({ entry }) => !isInPrefix(entry) && !isAskedFor(entry, tail))
  const setting = [...active, ...asked].filter(({ entry }) => entry.content.includes('{{'))
  for (const { entry } of setting) expand(entry.content, values(entry, { variables }))
  return {
    active,
    asked,
    outlet: (name) => textAt(name, asked),
    setsVariables: setting.length > 0,
    explain: () => activation.trace,
    movesPrefix: books.some(({ movesPrefix }) => movesPrefix),
  }
}

const NO_LORE: CalledUp = {
  active: [],
  asked: [],
  outlet: () => '',
  setsVariables: false,
  explain: () => [],
  movesPrefix: false,
}

/** In the compatible layout, what belongs to a depth of the chat goes there though it is always on. */
const standsInPrefix = (entry: LoreEntry, layout: CharacterSettings['layout']): boolean =>
  isFixed(entry) && (layout === 'cache' || !FLOATING.has(entry.place.kind))

const FLOATING = new Set<LoreEntry['place']['kind']>(['at_depth', 'before_note', 'after_note', 'outlet'])
const isMoving = (entry: LoreEntry): boolean => !isFixed(entry) && !FLOATING.has(entry.place.kind)

function limitsOf({ minimumActivations: entries, deepest, recursionSteps }: CharacterSettings['lore']) {
  const limits: Pick<LoreSettings, 'minimumActivations' | 'mostPasses'> = {}
  if (entries !== undefined)
    limits.minimumActivations = { entries, ...(deepest !== undefined && { deepest }) }
  if (recursionSteps !== undefined) limits.mostPasses = recursionSteps + 1
  return limits
}

/** Looked into by entries that ask for it, though nobody said them. */
const sourceTexts = ({ speaker: { card }, persona = '' }: Materials): LoreSettings['sources'] => ({
  persona_description: persona,
  character_description: card.description,
  character_personality: card.personality,
  character_depth_prompt: depthNote(card).prompt,
  scenario: card.scenario,
  creator_notes: card.creator_notes,
})

/** The label around an entry. */
const BLOCK_TOKENS = 8

function heard(messages: readonly ChatMessage[], { speaker, userName }: Materials): LoreMessage[] {
  const all: LoreMessage[] = []
  for (const message of messages) {
    const { role } = message
    if (role === 'user') all.push({ role, name: userName, text: spoken(messageText(message)) })
    if (role === 'assistant') all.push({ role, name: speaker.card.name, text: spoken(message.text) })
  }
  return all
}

/** What nobody said to the other: thoughts of the model, and what Open WebUI adds to a question. */
const UNSPOKEN: readonly (readonly [opening: string, closing: string])[] = [
  ['<think>', '</think>'],
  ['<details type="reasoning"', '</details>'],
  ['<context>', '</context>'],
]

const spoken = (text: string): string =>
  // Looked for in the whole chat, every turn.
  !text.includes('<')
    ? text
    : UNSPOKEN.reduce((rest, [opening, closing]) => withoutBetween(rest, opening, closing), text)

/** Linear: a beginning without an end takes the rest of the text. */
function withoutBetween(text: string, opening: string, closing: string): string {
  let kept = ''
  let at = 0
  for (;;) {
    const begins = text.indexOf(opening, at)
    if (begins === -1) return kept + text.slice(at)
    kept += text.slice(at, begins)
    const ends = text.indexOf(closing, begins)
    if (ends === -1) return kept
    at = ends + closing.length
  }
}

/** Compares what the character said first with its greetings. */
function greetingOf(card: Card, messages: readonly ChatMessage[], materials: Materials): number | undefined {
  const first = messages.find(({ role }) => role === 'assistant')
  if (first === undefined) return undefined
  const said = messageText(first).trim()
  const values = macroValues(materials, 'greeting', 'minute')
  const greeting = [card.first_mes, ...card.alternate_greetings].findIndex(
    (text) => text.trim() !== '' && neutralise(expand(text, values)).trim() === said,
  )
  return greeting === -1 ? undefined : greeting
}
