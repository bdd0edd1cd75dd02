/** (ask, materials, profile) → Prompt. Pure: equal inputs give equal bytes. */
import { createHash } from 'node:crypto'

import { AppError } from '#base/errors.ts'
import type { Activation } from '#characters/lore/activate.ts'
import { expand, type MacroValues } from '#characters/macros.ts'

import { messageText, type Ask, type ChatMessage, type ContentPart } from './ask.ts'
import { historyBudget, shareContext } from './budget.ts'
import { firstKeptTurn, messageTokens, splitTurns, type Turn } from './history.ts'
import { calledUpLore } from './lore.ts'
import { macroValues } from './macro-values.ts'
import { neutralise } from './neutral.ts'
import { prefixParts } from './prefix.ts'
import type { Budget, Materials, ModelProfile, Part, Prompt } from './prompt.ts'
import { estimateTokens, MESSAGE_OVERHEAD_TOKENS } from './tokens.ts'

/** Examples may stay while prefix and examples leave at least this share of the prompt to the conversation. */
const CONVERSATION_SHARE = 0.4

/** What called-up lore may take of the prompt, as SillyTavern ships it. */
const LORE_SHARE = 0.25

type Composing = Pick<Ask, 'messages' | 'sampling' | 'model'>
type UserMessage = Extract<ChatMessage, { role: 'user' }>

interface Conversation {
  /** Everything before the last user message. */
  history: readonly ChatMessage[]
  last: UserMessage
  /** A tool loop or an answer to be continued. */
  after: readonly ChatMessage[]
  clientSystem: string
}

/**
 * Builds the prompt in the cache layout: one system message, the history, and the last user message with everything
 * that changes from turn to turn. Throws AppError `context_length` when the persona or the last message cannot fit:
 * neither is ever cut.
 */
export function compose(ask: Composing, materials: Materials, profile: ModelProfile): Prompt {
  const conversation = readConversation(ask.messages)
  const budget = shareContext(profile, ask.sampling.maxTokens)
  const prefix = fitExamples(prefixParts(materials, conversation.clientSystem), budget)
  const always = tailParts(materials, conversation)
  const after = conversation.after.reduce((sum, message) => sum + messageTokens(message), 0)
  const prefixTokens = spent(prefix) + MESSAGE_OVERHEAD_TOKENS
  const alwaysTokens = spent(always) + MESSAGE_OVERHEAD_TOKENS + after
  refuseWhatCannotFit(materials, budget, prefixTokens, alwaysTokens)

  const loreRoom = Math.min(
    budget.promptTokens * LORE_SHARE,
    budget.promptTokens - prefixTokens - alwaysTokens,
  )
  const lore = calledUpLore(materials, [...conversation.history, conversation.last], loreRoom)
  const tail = [...loreParts(lore), ...always]
  const tailTokens = alwaysTokens + spent(loreParts(lore))

  const turns = splitTurns(conversation.history)
  const room = historyBudget(budget.promptTokens - prefixTokens, tailTokens)
  const cutTurns = firstKeptTurn(
    turns.map((turn) => turn.tokens),
    room,
  )
  const kept = turns.slice(cutTurns)
  return {
    layout: 'cache',
    parts: [...prefix, ...historyParts(turns, cutTurns), ...tail],
    messages: [
      { role: 'system', text: standing(prefix).join('\n\n') },
      ...kept.flatMap((turn) => turn.messages),
      tailMessage(tail, conversation.last),
      ...conversation.after,
    ],
    budget,
    tokens: prefixTokens + tailTokens + kept.reduce((sum, turn) => sum + turn.tokens, 0),
    prefixHash: createHash('sha256').update(standing(prefix).join('\n\n')).digest('base64url').slice(0, 16),
    cutTurns,
    lore: lore.trace.map(({ entry, isActive, reason, tokens }) => ({
      label: entry.label,
      isActive,
      reason,
      tokens,
    })),
  }
}

const standing = (parts: readonly Part[]) => parts.filter((part) => !part.dropped).map((part) => part.text)
const spent = (parts: readonly Part[]) =>
  parts.reduce((sum, part) => sum + (part.dropped ? 0 : part.tokens), 0)

function readConversation(messages: readonly ChatMessage[]): Conversation {
  const spoken = openedByUser(mergeNeighbours(messages.filter((message) => message.role !== 'system')))
  const lastIndex = spoken.findLastIndex((message) => message.role === 'user')
  const last = spoken[lastIndex]
  if (last?.role !== 'user') {
    throw new AppError('invalid', 'The request has no message of the user; add one with role "user"', {
      param: 'messages',
    })
  }
  return {
    history: spoken.slice(0, lastIndex),
    last,
    after: spoken.slice(lastIndex + 1),
    clientSystem: messages
      .flatMap((message) => (message.role === 'system' ? [message.text] : []))
      .join('\n\n'),
  }
}

/** Strict chat templates refuse two equal roles in a row; a user message that was never answered leaves such a pair. */
function mergeNeighbours(messages: readonly ChatMessage[]): ChatMessage[] {
  const merged: ChatMessage[] = []
  for (const message of messages) {
    const before = merged.at(-1)
    if (before?.role === 'user' && message.role === 'user') {
      merged[merged.length - 1] = { role: 'user', content: [...before.content, ...message.content] }
    } else if (
      before?.role === 'assistant' &&
      message.role === 'assistant' &&
      before.toolCalls === undefined
    ) {
      merged[merged.length - 1] = { ...message, text: `${before.text}\n\n${message.text}` }
    } else merged.push(message)
  }
  return merged
}

/** Many templates want a user message first; a client that sends the greeting as history begins with the assistant. */
function openedByUser(messages: ChatMessage[]): ChatMessage[] {
  if (messages[0]?.role !== 'assistant') return messages
  return [{ role: 'user', content: [{ type: 'text', text: '[The conversation begins.]' }] }, ...messages]
}

/**
 * Drops examples from the last one on until the conversation has its share. Decided by the card and the model alone,
 * not by the chat, so the prefix does not move between turns.
 */
function fitExamples(parts: readonly Part[], budget: Budget): Part[] {
  const limit = budget.promptTokens * (1 - CONVERSATION_SHARE)
  const fitted = [...parts]
  for (let at = fitted.length - 1; at >= 0; at--) {
    const owned = fitted.filter((part) => part.kind !== 'client_system')
    if (spent(owned) <= limit) break
    const part = fitted[at]
    if (part?.kind === 'examples') {
      fitted[at] = {
        ...part,
        dropped: true,
        reason: 'left out: the context of this model is too small for it',
      }
    }
  }
  return fitted
}

function tailParts(materials: Materials, { history, last }: Conversation): Part[] {
  // Sent anew each turn, so dice may fall anew; asking for another answer to the same words gives the same prompt.
  const turn = history.filter(({ role }) => role === 'user').length
  const values = {
    ...macroValues(materials, `post_history ${String(turn)}`, 'minute'),
    echo: echoOf(history, last),
  }
  const instructions = neutralise(expand(materials.speaker.card.post_history_instructions, values)).trim()
  const note: Part[] =
    instructions === ''
      ? []
      : [
          part(
            'post_history',
            'Post-history instructions',
            `[Note to ${neutralise(values.char)}: ${instructions}]`,
            'always, closest to the answer',
          ),
        ]
  const words: Part = {
    ...part('user', "The user's message", messageText(last), 'always'),
    tokens: messageTokens(last) - MESSAGE_OVERHEAD_TOKENS,
  }
  return [...note, words]
}

function loreParts({ active }: Activation): Part[] {
  return active.map(({ entry, text, tokens, reason }) => ({
    ...part('lore', entry.label, `[World: ${text}]`, `called up: ${reason}`),
    tokens,
  }))
}

function echoOf(history: readonly ChatMessage[], last: UserMessage): NonNullable<MacroValues['echo']> {
  const words = messageText(last)
  const answer = history.findLast(({ role }) => role === 'assistant')
  return {
    lastmessage: words,
    lastusermessage: words,
    lastcharmessage: answer === undefined ? '' : messageText(answer),
  }
}

function part(kind: Part['kind'], label: string, text: string, reason: string): Part {
  return { kind, place: 'tail', label, text, tokens: estimateTokens(text) + 1, reason, dropped: false }
}

/** The blocks stand before the user's words in the same message: a second system message would not survive every template. */
function tailMessage(tail: readonly Part[], last: UserMessage): ChatMessage {
  const blocks = standing(tail.filter((part) => part.kind !== 'user'))
  if (blocks.length === 0) return last
  const lead: ContentPart = { type: 'text', text: blocks.join('\n\n') + '\n' }
  return { role: 'user', content: [lead, ...last.content] }
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
  prefixTokens: number,
  tailTokens: number,
): void {
  const { name } = materials.speaker.card
  const window = `${String(budget.contextTokens)} tokens of context with ${String(budget.replyTokens)} kept for the answer`
  if (prefixTokens > budget.promptTokens) {
    throw new AppError(
      'context_length',
      `The persona of ${name} with the system text needs about ${String(prefixTokens)} tokens, but the model has ${window}. ` +
        'Shorten the card, ask for a shorter answer, or give the model a larger context.',
      { param: 'messages' },
    )
  }
  if (prefixTokens + tailTokens > budget.promptTokens) {
    throw new AppError(
      'context_length',
      `The last message needs about ${String(tailTokens)} tokens beside the ${String(prefixTokens)} of ${name}'s persona, ` +
        `but the model has ${window}. Send a shorter message or give the model a larger context.`,
      { param: 'messages' },
    )
  }
}
