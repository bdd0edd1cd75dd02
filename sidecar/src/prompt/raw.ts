/** Prompts for a base model that is asked by its own name: what the client wrote, untouched; only counted. */
import { messageText, type Ask } from './ask.ts'
import { messageTokens } from './history.ts'
import { NO_PREFIX } from './prefix.ts'
import type { ModelProfile, Part, Prompt } from './prompt.ts'
import { estimateTokens } from './tokens.ts'

/** The server refuses a prompt that leaves no room; this much of an answer is always asked for. */
const LEAST_REPLY_TOKENS = 64

/** Nothing is cut: whoever asks a base model keeps its own accounts, and learns from a refusal that they were wrong. */
export function composeRaw(
  ask: Pick<Ask, 'messages' | 'prompt' | 'sampling' | 'tools'>,
  { contextTokens, tokenRatio }: ModelProfile,
): Prompt {
  const words = ask.prompt === undefined ? ask.messages.map(messagePart) : [promptPart(ask.prompt.text)]
  const tokens = words.reduce((sum, part) => sum + part.tokens, 0)
  const room = contextTokens - Math.ceil(tokens * tokenRatio)
  // Ollama would go on behind the end of its window, and forget the beginning of the prompt for it.
  const replyTokens = Math.min(ask.sampling.maxTokens ?? Infinity, Math.max(LEAST_REPLY_TOKENS, room))
  return {
    layout: 'raw',
    parts: words,
    messages: ask.messages,
    tools: ask.tools,
    budget: { contextTokens, replyTokens, promptTokens: Math.max(0, contextTokens - replyTokens) },
    tokens,
    prefixHash: NO_PREFIX,
    cutTurns: 0,
    passages: [],
  }
}

const REASON = 'sent as the client wrote it'

const messagePart = (message: Ask['messages'][number], index: number): Part => ({
  kind: message.role === 'system' ? 'client_system' : 'history',
  place: 'history',
  label: `Message ${String(index + 1)}`,
  text: messageText(message),
  tokens: messageTokens(message),
  reason: REASON,
  dropped: false,
})

const promptPart = (text: string): Part => ({
  kind: 'user',
  place: 'tail',
  label: 'Prompt',
  text,
  tokens: estimateTokens(text),
  reason: REASON,
  dropped: false,
})
