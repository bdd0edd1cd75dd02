/** The messages of a request as a conversation that every chat template takes. */
import { AppError } from '#base/errors.ts'

import type { ChatMessage } from './ask.ts'

export type UserMessage = Extract<ChatMessage, { role: 'user' }>

export interface Conversation {
  /** Everything before the last user message. */
  history: readonly ChatMessage[]
  last: UserMessage
  /** A tool loop or an answer to be continued. */
  after: readonly ChatMessage[]
  clientSystem: string
}

/** Throws AppError `invalid` when the user says nothing. */
export function readConversation(messages: readonly ChatMessage[]): Conversation {
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
    clientSystem: systemTextOf(messages),
  }
}

function systemTextOf(messages: readonly ChatMessage[]): string {
  const texts: string[] = []
  for (const message of messages) if (message.role === 'system') texts.push(message.text)
  return texts.join('\n\n')
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
