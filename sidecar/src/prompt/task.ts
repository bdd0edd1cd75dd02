/** Prompts for Open WebUI's background tasks (titles, tags …): no persona, no lore; only kept inside the context. */
import { messageText, type Ask, type ChatMessage } from './ask.ts'
import { shareContext } from './budget.ts'
import { messageTokens } from './history.ts'
import { NO_PREFIX } from './prefix.ts'
import type { ModelProfile, Prompt } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/** Titles, tags and follow-ups are short; Open WebUI itself asks for at most this. */
const TASK_REPLY_TOKENS = 1_000

/** Stands where the middle of an over-long task text was taken out; beginning (instructions) and end (newest lines) stay. */
const GAP = '\n[…]\n'

/** Task texts quote the chat; when they outgrow the context the middle of the longest message goes. */
export function composeTask(ask: Pick<Ask, 'messages' | 'sampling'>, profile: ModelProfile): Prompt {
  const budget = shareContext(
    profile,
    Math.min(ask.sampling.maxTokens ?? TASK_REPLY_TOKENS, TASK_REPLY_TOKENS),
  )
  const messages = shorten(ask.messages, budget.promptTokens)
  return {
    layout: 'task',
    parts: messages.map((message, index) => ({
      kind: message.role === 'system' ? 'client_system' : 'user',
      place: 'tail',
      label: `Message ${String(index + 1)}`,
      text: messageText(message),
      tokens: messageTokens(message),
      reason: 'a task of Open WebUI: sent without persona, lore or knowledge',
      dropped: false,
    })),
    messages,
    tools: [],
    budget,
    tokens: messages.reduce((sum, message) => sum + messageTokens(message), 0),
    prefixHash: NO_PREFIX,
    cutTurns: 0,
    passages: [],
  }
}

function shorten(messages: readonly ChatMessage[], budgetTokens: number): ChatMessage[] {
  const total = messages.reduce((sum, message) => sum + messageTokens(message), 0)
  if (total <= budgetTokens) return [...messages]
  const longest = messages.reduce((a, b) => (messageTokens(b) > messageTokens(a) ? b : a))
  const room = budgetTokens - (total - messageTokens(longest))
  return messages.map((message) => (message === longest ? cutMiddle(message, room) : message))
}

function cutMiddle(message: ChatMessage, roomTokens: number): ChatMessage {
  const text = messageText(message)
  let kept = text.length
  let shortened = text
  while (kept > 0 && estimateTokens(shortened) > roomTokens - 16) {
    kept = Math.floor(kept * 0.8)
    shortened = text.slice(0, Math.ceil(kept / 2)) + GAP + text.slice(text.length - Math.floor(kept / 2))
  }
  if (message.role !== 'user') return { ...message, text: shortened }
  return { role: 'user', content: [{ type: 'text', text: shortened }] }
}
