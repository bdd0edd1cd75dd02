/** The lorebook of a card in a prompt: what always stands there, and what the conversation calls up. */
import { z } from 'zod'

import { spokenName, type Card } from '#characters/card.ts'
import { activate, type Activation } from '#characters/lore/activate.ts'
import { compileBook, isFixed, type LoreBook, type LoreEntry } from '#characters/lore/book.ts'
import type { LoreMessage, LoreSettings } from '#characters/lore/settings.ts'
import { expand, hiddenKeys } from '#characters/macros.ts'

import { messageText, type ChatMessage } from './ask.ts'
import { macroValues } from './macro-values.ts'
import { neutralise } from './neutral.ts'
import type { Materials } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/** A card does not change while it is published, and compiling a book costs more than a turn. */
const books = new WeakMap<Card, LoreBook>()

function bookOf(card: Card): LoreBook | undefined {
  if (card.character_book === undefined) return undefined
  const known = books.get(card)
  if (known !== undefined) return known
  const book = compileBook(card.character_book)
  // They stand in the prefix, which has a room of its own.
  const entries = book.entries.map((entry) => (isFixed(entry) ? { ...entry, ignoresBudget: true } : entry))
  const compiled = { ...book, entries }
  books.set(card, compiled)
  return compiled
}

const isBeforeCharacter = ({ place }: LoreEntry) => place.kind === 'before_character'

export interface FixedLore {
  book: string
  /** In the order in which they are printed. */
  entries: LoreEntry[]
}

/** The entries that belong into the prefix. */
export function fixedLore(card: Card): FixedLore {
  const book = bookOf(card)
  const entries = (book?.entries ?? []).filter((entry) => isFixed(entry) && entry.content !== '')
  return {
    book: book?.name ?? '',
    entries: entries.sort(
      (a, b) => Number(isBeforeCharacter(b)) - Number(isBeforeCharacter(a)) || a.order - b.order,
    ),
  }
}

const NOTHING: Activation = { active: [], trace: [] }

/** What the conversation calls up, without what stands in the prefix anyway. `messages` end with the user's. */
export function calledUpLore(
  materials: Materials,
  messages: readonly ChatMessage[],
  budgetTokens: number,
): Activation {
  const { card } = materials.speaker
  const book = bookOf(card)
  if (book === undefined) return NOTHING
  const values = (entry: LoreEntry) => macroValues(materials, `lore ${entry.id}`, 'minute')
  const activation = activate(
    [book],
    messages.flatMap((message) => heard(message, materials)),
    {
      budgetTokens,
      countTokens: (text) => estimateTokens(text) + BLOCK_TOKENS,
      render: (entry) => neutralise(expand(entry.content, values(entry))).trim(),
      hidden: (entry) => hiddenKeys(entry.content, values(entry)),
      draw: (id, count) => materials.scene?.dice(`lore ${id}`)(String(count)) ?? 0,
      ...greetingOf(card, messages, materials),
      character: { names: [card.name, spokenName(card)], tags: card.tags },
      sources: sourceTexts(card),
    },
  )
  return {
    active: activation.active.filter(({ entry, text }) => !isFixed(entry) && text !== ''),
    trace: activation.trace,
  }
}

/** Open WebUI tells nothing of the user but the name. The note at a depth is not printed here, but may call up. */
const sourceTexts = (card: Card): LoreSettings['sources'] => ({
  character_description: card.description,
  character_personality: card.personality,
  character_depth_prompt: DepthPrompt.parse(card.extensions['depth_prompt']).prompt,
  scenario: card.scenario,
  creator_notes: card.creator_notes,
})

const DepthPrompt = z.object({ prompt: z.string() }).catch({ prompt: '' })

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
function greetingOf(
  card: Card,
  messages: readonly ChatMessage[],
  materials: Materials,
): { greeting?: number } {
  const first = messages.find(({ role }) => role === 'assistant')
  if (first === undefined) return {}
  const said = messageText(first).trim()
  const values = macroValues(materials, 'greeting', 'minute')
  const greeting = [card.first_mes, ...card.alternate_greetings].findIndex(
    (text) => text.trim() !== '' && neutralise(expand(text, values)).trim() === said,
  )
  return greeting === -1 ? {} : { greeting }
}
