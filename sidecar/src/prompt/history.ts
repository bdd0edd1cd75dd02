/** Cutting the history in big steps, so that the prompt stays byte-equal for many turns between two cuts. */
import { messageText, type ChatMessage } from './ask.ts'
import type { HistoryRoom } from './budget.ts'
import { estimateTokens, IMAGE_TOKENS, MESSAGE_OVERHEAD_TOKENS } from './tokens.ts'

/** After a cut the history fills this share of its budget, and grows again from there. */
const KEPT_SHARE = 0.65

/** A user message and everything up to the next one. */
export interface Turn {
  messages: readonly ChatMessage[]
  tokens: number
}

export function messageTokens(message: ChatMessage): number {
  const spoken = estimateTokens(messageText(message)) + MESSAGE_OVERHEAD_TOKENS
  if (message.role === 'user') return spoken + picturesOf(message) * IMAGE_TOKENS
  if (message.role !== 'assistant' || message.toolCalls === undefined) return spoken
  return spoken + estimateTokens(message.toolCalls.map((call) => call.name + call.arguments).join(' '))
}

const picturesOf = ({ content }: Extract<ChatMessage, { role: 'user' }>): number =>
  content.reduce((sum, { type }) => (type === 'image' ? sum + 1 : sum), 0)

export const hasPictures = (messages: readonly ChatMessage[]): boolean =>
  messages.some((message) => message.role === 'user' && picturesOf(message) > 0)

/** Splits a history into turns; what stands before the first user message belongs to the first turn. */
export function splitTurns(messages: readonly ChatMessage[]): Turn[] {
  const turns: { messages: ChatMessage[]; tokens: number }[] = []
  let current: (typeof turns)[number] | undefined
  let isAsked = false
  for (const message of messages) {
    const tokens = messageTokens(message)
    const isUser = message.role === 'user'
    if (current === undefined || (isUser && isAsked)) {
      current = { messages: [message], tokens }
      turns.push(current)
      isAsked = isUser
    } else {
      current.messages.push(message)
      current.tokens += tokens
      isAsked ||= isUser
    }
  }
  return turns
}

/** They stay before lore and passages get room, wherever they fit. */
const LEAST_TURNS = 2

/**
 * The index of the first turn to keep. What was cut once is never brought back by a longer chat: a last message that took
 * room from the history stands in it a turn later.
 */
export function firstKeptTurn(
  turnTokens: readonly number[],
  { steadyTokens, nowTokens, mostTokens }: HistoryRoom,
): number {
  let first = anchoredTurn(turnTokens, steadyTokens)
  let kept = sum(turnTokens.slice(first))
  while (first < turnTokens.length && kept > nowTokens) kept -= turnTokens[first++] ?? 0
  const newest = [LEAST_TURNS, 1].find((count) => sum(turnTokens.slice(-count)) <= mostTokens) ?? 0
  return Math.max(0, Math.min(first, turnTokens.length - newest))
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0)

/**
 * A pure function of the whole list: it walks the chat from its beginning as the chat once grew, so two requests of one chat
 * agree on every earlier cut and no anchor has to be stored.
 */
function anchoredTurn(turnTokens: readonly number[], budgetTokens: number): number {
  let first = 0
  let kept = 0
  for (const [index, tokens] of turnTokens.entries()) {
    kept += tokens
    if (kept <= budgetTokens) continue
    while (first <= index && kept > budgetTokens * KEPT_SHARE) kept -= turnTokens[first++] ?? 0
  }
  return first
}
