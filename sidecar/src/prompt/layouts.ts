/**
 * Where the parts of a prompt stand. Both layouts are made of the same parts: the cache layout keeps everything that may
 * change in the last user message; the compatible one puts it where SillyTavern would, and says what that costs.
 */
import type { Place } from '#characters/lore/place.ts'

import type { ChatMessage, ContentPart } from './ask.ts'
import type { UserMessage } from './conversation.ts'
import { messageTokens } from './history.ts'
import type { Part } from './prompt.ts'

/** A part with the place that its author wanted for it. */
export interface Placed {
  part: Part
  place: Place
}

export interface Loose {
  /** In the order in which they are printed. */
  lore: readonly Placed[]
  /** Of documents. They change with every question, so both layouts keep them next to it. */
  passages: readonly Part[]
  note: Placed | undefined
  postHistory: Part | undefined
  words: Part
}

/** Stands before the message that has so many behind it; 0 for none: after the last one. */
interface Insert {
  depth: number
  part: Part
}

export interface Arrangement {
  prefix: readonly Part[]
  inserts: readonly Insert[]
  /** At the top of the kept history. */
  summaries?: readonly Part[]
  /** Before and after the words in the last user message. */
  lead: readonly Part[]
  words: Part
  trail: readonly Part[]
}

export function arrangeForCache(
  prefix: readonly Part[],
  { lore, passages, note, postHistory, words }: Loose,
): Arrangement {
  const lead = [
    ...lore.map(({ part }) => part),
    ...passages,
    ...(note ? [note.part] : []),
    ...(postHistory ? [postHistory] : []),
  ]
  return { prefix, inserts: [], lead, words, trail: [] }
}

/** Of one depth, from top to bottom. Source: SillyTavern 1.18, see the vectors. */
const ROLE_ORDER = { assistant: 0, user: 1, system: 2 } as const

/** What belongs to the note, or to an outlet that no text of the card asks for. */
const NOTE_DEPTH = 4

/** `messageCount` counts the chat with its last user message. */
export function arrangeLikeSillyTavern(
  prefix: readonly Part[],
  { lore, passages, note, postHistory, words }: Loose,
  messageCount: number,
): Arrangement {
  const standing = lore.filter(({ place }) => slotIn(place) !== undefined)
  const floating = [...lore.filter(({ place }) => slotIn(place) === undefined), ...(note ? [note] : [])]
  const inserts = floating
    .map(({ part, place }) => ({
      depth: Math.min(depthOf(place, messageCount), messageCount),
      rank: [noteRank(place), ROLE_ORDER[place.role]] as const,
      part: { ...part, place: 'history' as const },
    }))
    .sort((a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1])
  return {
    prefix: withLore(prefix, standing),
    inserts: inserts.map(({ depth, part }) => ({ depth, part })),
    lead: passages,
    words,
    trail: postHistory ? [postHistory] : [],
  }
}

type Slot = 'before_character' | 'after_character' | 'before_examples' | 'after_examples'

function slotIn({ kind }: Place): Slot | undefined {
  if (kind === 'with_personality' || kind === 'with_scenario') return 'after_character'
  if (kind === 'before_note' || kind === 'after_note' || kind === 'at_depth' || kind === 'outlet')
    return undefined
  return kind
}

function depthOf(place: Place, messageCount: number): number {
  if (place.kind !== 'at_depth') return NOTE_DEPTH
  return place.countedFrom === 'newest' ? place.depth : Math.max(0, messageCount - place.depth)
}

/** What is bound to the note stands around it. */
const noteRank = ({ kind }: Place): number => (kind === 'before_note' ? 0 : kind === 'after_note' ? 2 : 1)

const CHARACTER = new Set<Part['kind']>(['persona', 'personality', 'scenario'])

function withLore(prefix: readonly Part[], lore: readonly Placed[]): Part[] {
  const of = (slot: Slot) =>
    lore.filter(({ place }) => slotIn(place) === slot).map(({ part }): Part => ({ ...part, place: 'prefix' }))
  const first = (kinds: ReadonlySet<Part['kind']>) => prefix.findIndex(({ kind }) => kinds.has(kind))
  const character = orElse(first(CHARACTER), 1)
  const afterCharacter = orElse(prefix.findLastIndex(({ kind }) => CHARACTER.has(kind)) + 1, character)
  const examples = orElse(first(new Set(['examples', 'greeting', 'client_system'])), prefix.length)
  const afterExamples = Math.max(examples, prefix.findLastIndex(({ kind }) => kind === 'examples') + 1)
  return [
    ...prefix.slice(0, character),
    ...of('before_character'),
    ...prefix.slice(character, afterCharacter),
    ...of('after_character'),
    ...prefix.slice(afterCharacter, examples),
    ...of('before_examples'),
    ...prefix.slice(examples, afterExamples),
    ...of('after_examples'),
    ...prefix.slice(afterExamples),
  ]
}

const orElse = (index: number, otherwise: number): number => (index <= 0 ? otherwise : index)

// -- messages ---------------------------------------------------------------------------------------------------------

/**
 * The chat with its inserts as text of user messages: a second system message, or two user messages in a row, would not
 * survive every chat template. What belongs before the first message of the kept history stands at its top.
 */
export function chatMessages(
  { inserts, lead, trail, summaries = [] }: Arrangement,
  history: readonly ChatMessage[],
  last: UserMessage,
): ChatMessage[] {
  const chat = [...history, last]
  const before = new Map<number, Part[]>([[chat.length - 1, [...lead]]])
  const behind = new Map<number, Part[]>([[chat.length - 1, [...trail]]])
  for (const { depth, part } of inserts) {
    const index = Math.max(0, chat.length - depth)
    const [places, at] =
      chat[index]?.role === 'user'
        ? ([before, index] as const)
        : ([behind, chat.findLastIndex(({ role }, position) => role === 'user' && position < index)] as const)
    const target = at === -1 ? chat.findIndex(({ role }) => role === 'user') : at
    const parts = (at === -1 ? before : places).get(target) ?? []
    ;(at === -1 ? before : places).set(target, [...parts, part])
  }
  const top = chat.findIndex(({ role }) => role === 'user')
  before.set(top, [...summaries, ...(before.get(top) ?? [])])
  return chat.map((message, index) =>
    message.role === 'user' ? withBlocks(message, before.get(index) ?? [], behind.get(index) ?? []) : message,
  )
}

function withBlocks(message: UserMessage, before: readonly Part[], behind: readonly Part[]): UserMessage {
  const lead: ContentPart[] = before.length === 0 ? [] : [{ type: 'text', text: `${joined(before)}\n` }]
  const trail: ContentPart[] = behind.length === 0 ? [] : [{ type: 'text', text: `\n${joined(behind)}` }]
  return lead.length + trail.length === 0
    ? message
    : { role: 'user', content: [...lead, ...message.content, ...trail] }
}

const joined = (parts: readonly Part[]): string => parts.map(({ text }) => text).join('\n\n')

// -- price ------------------------------------------------------------------------------------------------------------

/**
 * What the model server reads again in the next turn, because something in front of it came, went or moved: an estimate,
 * in tokens. `mayChange`: entries that come and go stand in the system message, called up now or not.
 */
export function rereadTokens(
  { inserts }: Arrangement,
  messages: readonly ChatMessage[],
  afterCount: number,
  mayChange: boolean,
): number {
  const chat = messages.slice(1, messages.length - afterCount)
  const deepest = Math.max(1, ...inserts.map(({ depth }) => depth + 1))
  const from = mayChange
    ? messages
    : [...chat.slice(-deepest), ...messages.slice(messages.length - afterCount)]
  return from.reduce((sum, message) => sum + messageTokens(message), 0)
}
