/** The lorebook of a card in a prompt: what always stands there, and what the conversation calls up. */
import { spokenName, type Card, type Lorebook } from '#characters/card.ts'
import { activate, type Activation } from '#characters/lore/activate.ts'
import { compileBook, isFixed, type LoreBook } from '#characters/lore/book.ts'
import type { LoreEntry } from '#characters/lore/entry.ts'
import type { LoreMessage, LoreSettings } from '#characters/lore/settings.ts'
import { expand, hiddenKeys } from '#characters/macros.ts'
import { settingsOf, type CharacterSettings } from '#characters/settings.ts'

import { messageText, type ChatMessage } from './ask.ts'
import { macroValues } from './macro-values.ts'
import { neutralise } from './neutral.ts'
import { depthNote } from './note.ts'
import type { Materials } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/** Neither a card nor a book changes while it is published, and compiling one costs more than a turn. */
const compiled = new WeakMap<Lorebook, CompiledBook>()

interface CompiledBook extends LoreBook {
  /** Some entry that comes and goes has its place in the system message, where the author wants it. */
  movesPrefix: boolean
}

/** The card's own book first, as the specification wants it. */
function booksOf({ speaker, books = [] }: Materials): CompiledBook[] {
  const own = speaker.card.character_book
  return [
    ...(own === undefined ? [] : [compile(own)]),
    ...books.map(({ id, name, book }) => compile(book, `${id} `, name)),
  ]
}

function compile(book: Lorebook, shelf = '', name?: string): CompiledBook {
  const known = compiled.get(book)
  if (known !== undefined) return known
  const fresh = compileBook(book, shelf)
  // They stand in the prefix, which has a room of its own.
  const entries = fresh.entries.map((entry) => (isFixed(entry) ? { ...entry, ignoresBudget: true } : entry))
  const movesPrefix = entries.some((entry) => entry.isEnabled && isMoving(entry))
  const ready = { ...fresh, entries, movesPrefix, ...(name !== undefined && { name }) }
  compiled.set(book, ready)
  return ready
}

export interface FixedEntry {
  entry: LoreEntry
  book: string
}

/** The entries that belong into the prefix, in the order in which they are printed. */
export function fixedLore(materials: Materials): FixedEntry[] {
  const { layout } = settingsOf(materials.speaker.card)
  const fixed = booksOf(materials).flatMap(({ name, entries }) =>
    entries
      .filter((entry) => standsInPrefix(entry, layout) && entry.content !== '')
      .map((entry) => ({ entry, book: name })),
  )
  return fixed.sort(
    (a, b) => Number(isBeforeCharacter(b)) - Number(isBeforeCharacter(a)) || a.entry.order - b.entry.order,
  )
}

export const isBeforeCharacter = ({ entry: { place } }: FixedEntry) => place.kind === 'before_character'

export interface CalledUp extends Activation {
  movesPrefix: boolean
}

/** What the conversation calls up, without what stands in the prefix anyway. `messages` end with the user's. */
export function calledUpLore(
  materials: Materials,
  messages: readonly ChatMessage[],
  budgetTokens: number,
): CalledUp {
  const { card } = materials.speaker
  const { layout, lore } = settingsOf(card)
  const books = booksOf(materials)
  if (books.length === 0) return { active: [], trace: [], movesPrefix: false }
  /** Hardly any entry asks for it. */
  let greeting: { number: number | undefined } | undefined
  const values = (entry: LoreEntry) => macroValues(materials, `lore ${entry.id}`, 'minute')
  const activation = activate(
    books,
    messages.flatMap((message) => heard(message, materials)),
    {
      budgetTokens,
      countTokens: (text) => estimateTokens(text) + BLOCK_TOKENS,
      render: (entry) => neutralise(expand(entry.content, values(entry))).trim(),
      hidden: (entry) => hiddenKeys(entry.content, values(entry)),
      draw: (id, count) => materials.scene?.dice(`lore ${id}`)(String(count)) ?? 0,
      get greeting() {
        return (greeting ??= { number: greetingOf(card, messages, materials) }).number
      },
      character: { names: [card.name, spokenName(card)], tags: card.tags },
      sources: sourceTexts(materials),
      ...limitsOf(lore),
    },
  )
  return {
    active: activation.active.filter(({ entry, text }) => !standsInPrefix(entry, layout) && text !== ''),
    get trace() {
      return activation.trace
    },
    movesPrefix: books.some(({ movesPrefix }) => movesPrefix),
  }
}

/** In the compatible layout, what belongs to a depth of the chat goes there though it is always on. */
const standsInPrefix = (entry: LoreEntry, layout: CharacterSettings['layout']): boolean =>
  isFixed(entry) && (layout === 'cache' || !FLOATING.has(entry.place.kind))

const FLOATING = new Set<LoreEntry['place']['kind']>(['at_depth', 'before_note', 'after_note', 'outlet'])
const isMoving = (entry: LoreEntry): boolean => !isFixed(entry) && !FLOATING.has(entry.place.kind)

const limitsOf = ({ minimumActivations: entries, deepest, recursionSteps }: CharacterSettings['lore']) => ({
  ...(entries !== undefined && {
    minimumActivations: { entries, ...(deepest !== undefined && { deepest }) },
  }),
  ...(recursionSteps !== undefined && { mostPasses: recursionSteps + 1 }),
})

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

function heard(message: ChatMessage, { speaker, userName }: Materials): LoreMessage[] {
  if (message.role === 'user') return [{ role: 'user', name: userName, text: spoken(messageText(message)) }]
  if (message.role !== 'assistant') return []
  return [{ role: 'assistant', name: speaker.card.name, text: spoken(message.text) }]
}

/** What nobody said to the other: thoughts of the model, and what Open WebUI adds to a question. */
const UNSPOKEN: readonly (readonly [opening: string, closing: string])[] = [
  ['<think>', '</think>'],
  ['<details type="reasoning"', '</details>'],
  ['<context>', '</context>'],
]

const spoken = (text: string): string =>
  UNSPOKEN.reduce((rest, [opening, closing]) => withoutBetween(rest, opening, closing), text)

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
