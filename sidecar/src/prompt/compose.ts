/** (ask, materials, profile) → Prompt. Pure: equal inputs give equal bytes. */
import { AppError } from '#base/errors.ts'
import { spokenName } from '#characters/card.ts'
import { expand, type MacroValues } from '#characters/macros.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Variables } from '#characters/variables.ts'

import { messageText, type Ask, type ChatMessage } from './ask.ts'
import { historyRoom, shareContext } from './budget.ts'
import { readConversation, type Conversation } from './conversation.ts'
import { firstKeptTurn, messageTokens, splitTurns, type Turn } from './history.ts'
import {
  arrangeForCache,
  arrangeLikeSillyTavern,
  chatMessages,
  rereadTokens,
  type Loose,
  type Placed,
} from './layouts.ts'
import { calledUpLore, fixedOutlets, hasMovingLore, type CalledUp } from './lore.ts'
import { macroValues, type Shared } from './macro-values.ts'
import { neutralise } from './neutral.ts'
import { depthNote } from './note.ts'
import { askedOutlets, textAt } from './outlets.ts'
import { prefixParts, printPrefix } from './prefix.ts'
import { PASSAGE_SHARE, placePassages, roomBesideGuide, type PlacedPassages } from './passages.ts'
import type { Budget, Explained, Materials, ModelProfile, Part, Prompt } from './prompt.ts'
import { estimateTokens, JOIN_TOKENS, MESSAGE_OVERHEAD_TOKENS } from './tokens.ts'
import { offerTools } from './tools.ts'

/** Examples may stay while prefix and examples leave at least this share of the prompt to the conversation. */
const CONVERSATION_SHARE = 0.4

export const NOTE_LABEL = "The character's note"
export const POST_HISTORY_LABEL = 'Post-history instructions'

/** What called-up lore may take of the prompt, as SillyTavern ships it. */
export const LORE_SHARE = 0.25

/** What summaries of cut turns may take. */
const SUMMARY_SHARE = 0.1
const SUMMARY_TOKENS = 800

type Composing = Pick<Ask, 'messages' | 'sampling' | 'model' | 'tools'>

/**
 * Builds the prompt in the character's layout: one system message, the history, and the last user message. Throws AppError
 * `context_length` when the persona or the last message cannot fit: neither is ever cut.
 */
export const compose = (ask: Composing, materials: Materials, profile: ModelProfile): Prompt =>
  composeExplained(ask, materials, profile).prompt

/** Throws as `compose`. */
export function composeExplained(ask: Composing, materials: Materials, profile: ModelProfile): Explained {
  const settings = settingsOf(materials.speaker.card)
  const { layout } = settings
  const offered = offerTools(ask.tools, settings)
  const conversation = readConversation(ask.messages)
  const { history, last, after } = conversation
  const budget = shareContext(profile, ask.sampling.maxTokens)
  const variables: Variables = new Map()
  const own = prefixParts(materials, conversation.clientSystem, variables)
  const documents = standingDocuments(own, materials, budget)
  const prefix = fitPrefix(withDocuments(own, documents.parts), budget)
  const always = alwaysParts(materials, conversation, withFixedOutlets(materials, variables))
  const prefixTokens = spent(offered.parts) + tokensOfPrefix(prefix, profile) + MESSAGE_OVERHEAD_TOKENS
  const alwaysTokens = spent(partsOf(always)) + MESSAGE_OVERHEAD_TOKENS + sum(after.map(messageTokens))
  refuseWhatCannotFit(materials, budget, profile, prefixTokens, alwaysTokens)

  const turns = splitTurns(history)
  const summaryTokens = summaryReserve(materials, budget)
  const room = historyRoom(budget, budget.promptTokens - prefixTokens - summaryTokens, {
    fixedTokens: writtenTokens(materials),
    wordsTokens: sum([last, ...after].map(messageTokens)),
    alwaysTokens,
    hasLore: hasMovingLore(materials),
    hasPassages: materials.knowledge?.isWhole === false,
  })
  const cutTurns = firstKeptTurn(
    turns.map(({ tokens }) => tokens),
    room,
  )
  const kept = turns.slice(cutTurns)
  const steadyTokens = prefixTokens + sum(kept.map(({ tokens }) => tokens))
  const looseRoom = budget.promptTokens - steadyTokens - summaryTokens - alwaysTokens
  const loreRoom = Math.min(budget.promptTokens * LORE_SHARE, looseRoom)
  const called = calledUpLore(materials, [...history, last], loreRoom, variables)
  const settled = settle(always, called, looseRoom, () =>
    alwaysParts(materials, conversation, { variables, outlet: called.outlet }),
  )
  const settledTokens =
    alwaysTokens +
    spent(settled.lore.map(({ part }) => part)) +
    spent(partsOf(settled)) -
    spent(partsOf(always))
  const found = foundPassages(materials, budget, steadyTokens + summaryTokens + settledTokens)
  const loose: Loose = { passages: found.parts.filter(({ dropped }) => !dropped), ...settled }

  const chat: ChatMessage[] = []
  for (const turn of kept) chat.push(...turn.messages)
  const summaries = summaryParts(materials, cutTurns, summaryTokens)
  const arranged =
    layout === 'cache'
      ? arrangeForCache(prefix, loose)
      : arrangeLikeSillyTavern(prefix, loose, chat.length + 1)
  const arrangement = { summaries, ...arranged }
  const system = printPrefix(arrangement.prefix)
  const messages = [
    { role: 'system', text: system.text } as const,
    ...chatMessages(arrangement, chat, last),
    ...after,
  ]
  const { inserts, lead, words, trail } = arrangement
  const prompt: Prompt = {
    layout,
    parts: [
      ...offered.parts,
      ...arrangement.prefix,
      ...historyParts(turns, cutTurns),
      ...summaries,
      ...inserts.map(({ part }) => part),
      ...[...lead, words, ...trail],
      ...found.parts.filter(({ dropped }) => dropped),
    ],
    messages,
    tools: offered.tools,
    budget: { historyTokens: room.steadyTokens, ...budget },
    tokens: steadyTokens + settledTokens + spent(found.parts) + spent(summaries),
    prefixHash: system.hash,
    cutTurns,
    passages: [...documents.shown, ...found.shown],
  }
  return {
    prompt,
    rereadTokens: () =>
      rereadTokens(arrangement, messages, after.length, layout === 'sillytavern' && called.movesPrefix),
    lore: () => called.explain().map(({ entry, ...line }) => ({ label: entry.label, ...line })),
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0)
const spent = (parts: readonly Part[]) => sum(parts.map((part) => (part.dropped ? 0 : part.tokens)))

/** Counted by the model server where it was asked; in our estimated tokens, like everything here. */
function tokensOfPrefix(prefix: readonly Part[], { knownTokens, tokenRatio }: ModelProfile): number {
  const known = knownTokens?.(printPrefix(prefix).text)
  return known === undefined ? spent(prefix) : Math.ceil(known / tokenRatio)
}

/** Note, instructions and words: there in every turn. */
type Always = Omit<Loose, 'lore' | 'passages'>

const partsOf = ({ note, postHistory, words }: Always): Part[] => [
  ...(note ? [note.part] : []),
  ...(postHistory ? [postHistory] : []),
  words,
]

const NO_PASSAGES: PlacedPassages = { parts: [], shown: [] }

/** Documents that are short enough to stand there always. */
function standingDocuments(own: readonly Part[], { knowledge }: Materials, budget: Budget): PlacedPassages {
  if (knowledge?.isWhole !== true) return NO_PASSAGES
  return placePassages(knowledge, 'prefix', documentTokens(own, budget))
}

/** For the character they give up its examples, but never its persona, nor the room of the conversation. */
function documentTokens(own: readonly Part[], { promptTokens }: Budget): number {
  const needed = own.filter(({ kind }) => kind !== 'examples' && kind !== 'client_system')
  return Math.min(promptTokens * PASSAGE_SHARE, promptTokens * (1 - CONVERSATION_SHARE) - spent(needed))
}

/** What documents may cost that are to stand in every prompt; longer ones would not all stand there. See `passageTokens`. */
export function roomForDocuments(
  ask: Pick<Ask, 'messages' | 'sampling'>,
  materials: Materials,
  profile: ModelProfile,
): number {
  const own = prefixParts(materials, readConversation(ask.messages).clientSystem, new Map())
  return roomBesideGuide('prefix', documentTokens(own, shareContext(profile, ask.sampling.maxTokens)))
}

/** What passages that are found for a message may cost together. See `passageTokens`. */
export function roomForPassages(ask: Pick<Ask, 'sampling'>, profile: ModelProfile): number {
  const { promptTokens } = shareContext(profile, ask.sampling.maxTokens)
  return roomBesideGuide('tail', promptTokens * PASSAGE_SHARE)
}

/** Behind what every person shares. */
function withDocuments(parts: readonly Part[], documents: readonly Part[]): readonly Part[] {
  if (documents.length === 0) return parts
  const at = parts.findIndex(({ kind }) => kind === 'user_persona' || kind === 'client_system')
  return at === -1 ? [...parts, ...documents] : [...parts.slice(0, at), ...documents, ...parts.slice(at)]
}

function foundPassages(
  { knowledge }: Materials,
  { promptTokens }: Budget,
  usedTokens: number,
): PlacedPassages {
  if (knowledge === undefined || knowledge.isWhole) return NO_PASSAGES
  return placePassages(knowledge, 'tail', Math.min(promptTokens * PASSAGE_SHARE, promptTokens - usedTokens))
}

/**
 * Drops examples from the last one on until the conversation has its share. Decided by the character and the model alone, not
 * by the chat, so the prefix does not move between turns.
 */
function fitPrefix(parts: readonly Part[], budget: Budget): readonly Part[] {
  const limit = budget.promptTokens * (1 - CONVERSATION_SHARE)
  if (spent(parts) <= limit) return parts
  const fitted = [...parts]
  const isTooLong = () => spent(fitted.filter((part) => part.kind !== 'client_system')) > limit
  for (let at = fitted.length - 1; at >= 0 && isTooLong(); at--) {
    const part = fitted[at]
    if (part?.kind !== 'examples') continue
    const reason = 'left out: the context of this model is too small for it'
    fitted[at] = { ...part, dropped: true, reason }
  }
  return fitted
}

/** Before it is known what the conversation calls up. What they set counts for the final ones alone. */
function withFixedOutlets(materials: Materials, variables: Variables): Shared {
  const waiting = fixedOutlets(materials, askedOutlets(materials.speaker.card).tail, variables)
  return { variables: new Map(variables), outlet: (name) => textAt(name, waiting) }
}

/**
 * Note and instructions once more where lore stands in them, or sets what they read. Where they would take more room than
 * there is for lore, they stay as they are, and the lore stands before them.
 */
function settle(
  always: Always,
  called: CalledUp,
  roomTokens: number,
  again: () => Always,
): Omit<Loose, 'passages'> {
  const lore = loreParts(called.active)
  if (called.asked.length === 0 && !called.setsVariables) return { lore, ...always }
  const settled = again()
  const grown = spent(partsOf(settled)) - spent(partsOf(always))
  if (grown + spent(lore.map(({ part }) => part)) <= roomTokens) return { lore, ...settled }
  return { lore: loreParts([...called.active, ...called.asked]), ...always }
}

function alwaysParts(materials: Materials, { history, last }: Conversation, shared: Shared): Always {
  // Sent anew each turn, so dice may fall anew; asking for another answer to the same words gives the same prompt.
  const turn = history.filter(({ role }) => role === 'user').length
  const echo = echoOf(history, messageText(last))
  const values = (field: string) => ({
    echo,
    ...macroValues(materials, `${field} ${String(turn)}`, 'minute', shared),
  })
  const { card } = materials.speaker
  const name = neutralise(spokenName(card))
  const toNote = (text: string, field: string): string => {
    if (text === '') return ''
    const body = neutralise(expand(text, values(field))).trim()
    return body === '' ? '' : `[Note to ${name}: ${body}]`
  }
  const note = depthNote(card)
  const noteText = toNote(note.prompt, 'depth_note')
  const instructions = toNote(card.post_history_instructions, 'post_history')
  return {
    note:
      noteText === '' ? undefined : { part: part('note', NOTE_LABEL, noteText, 'always'), place: note.place },
    postHistory:
      instructions === ''
        ? undefined
        : part('post_history', POST_HISTORY_LABEL, instructions, 'always, closest to the answer'),
    words: {
      ...part('user', "The user's message", messageText(last), 'always'),
      tokens: messageTokens(last) - MESSAGE_OVERHEAD_TOKENS,
    },
  }
}

/** Kept free at all times, so that a block that comes does not move the cut. */
function summaryReserve({ summaries }: Materials, { promptTokens }: Budget): number {
  return summaries === undefined ? 0 : Math.min(SUMMARY_TOKENS, Math.floor(promptTokens * SUMMARY_SHARE))
}

/** The newest blocks that fit, in the order of the chat. */
function summaryParts({ summaries = [] }: Materials, cutTurns: number, roomTokens: number): Part[] {
  const parts = summaries
    .filter(({ turns }) => turns <= cutTurns)
    .map(({ turns, text }) =>
      part(
        'summary',
        `Up to turn ${String(turns)}`,
        `[What was said earlier: ${neutralise(text)}]`,
        'turns that were cut, in a few sentences',
      ),
    )
  let left = roomTokens
  const firstKept = parts.findLastIndex(({ tokens }) => (left -= tokens) < 0) + 1
  return parts.slice(firstKept).map((each): Part => ({ ...each, place: 'history' }))
}

function loreParts(active: CalledUp['active']): Placed[] {
  return active.map(({ entry, text, tokens, reason }) => ({
    part: { ...part('lore', entry.label, `[World: ${text}]`, `called up: ${reason}`), tokens },
    place: entry.place,
  }))
}

/** Of the texts of the tail, as they stand in the card. */
const writtenTokens = ({ speaker: { card } }: Materials): number =>
  sum(
    [depthNote(card).prompt, card.post_history_instructions].map((text) =>
      text === '' ? 0 : estimateTokens(text),
    ),
  )

function echoOf(history: Conversation['history'], words: string): NonNullable<MacroValues['echo']> {
  const answer = history.findLast(({ role }) => role === 'assistant')
  return {
    lastmessage: words,
    lastusermessage: words,
    lastcharmessage: answer === undefined ? '' : messageText(answer),
  }
}

function part(kind: Part['kind'], label: string, text: string, reason: string): Part {
  const tokens = estimateTokens(text) + JOIN_TOKENS
  return { kind, place: 'tail', label, text, tokens, reason, dropped: false }
}

function historyParts(turns: readonly Turn[], cutTurns: number): Part[] {
  return turns.map((turn, index) => ({
    kind: 'history',
    place: 'history',
    label: `Turn ${String(index + 1)}`,
    text: turn.messages.map((message) => `${message.role}: ${messageText(message)}`).join('\n'),
    tokens: turn.tokens,
    reason: index < cutTurns ? 'left out: older than what fits into the context' : 'fits into the context',
    dropped: index < cutTurns,
  }))
}

function refuseWhatCannotFit(
  materials: Materials,
  budget: Budget,
  { tokenRatio }: ModelProfile,
  prefixTokens: number,
  tailTokens: number,
): void {
  // As the model counts, like its window.
  const about = (tokens: number) => String(Math.ceil(tokens * tokenRatio))
  const { name } = materials.speaker.card
  const window = `${String(budget.contextTokens)} tokens of context with ${String(budget.replyTokens)} kept for the answer`
  if (prefixTokens > budget.promptTokens) {
    throw new AppError(
      'context_length',
      `The persona of ${name} with the system text needs about ${about(prefixTokens)} tokens, but the model has ${window}. ` +
        'Shorten the card, ask for a shorter answer, or give the model a larger context.',
      { param: 'messages' },
    )
  }
  if (prefixTokens + tailTokens > budget.promptTokens) {
    throw new AppError(
      'context_length',
      `The last message needs about ${about(tailTokens)} tokens beside the ${about(prefixTokens)} of ${name}'s persona, ` +
        `but the model has ${window}. Send a shorter message or give the model a larger context.`,
      { param: 'messages' },
    )
  }
}
