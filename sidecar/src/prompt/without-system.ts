/** For templates without a system role: what the server would put somewhere of its own choosing, or refuse. */
import type { ChatMessage } from './ask.ts'

/**
 * Puts system texts before the words of the next user turn; what has none behind it goes behind the last one. The chat then
 * begins with a user turn, as such templates want it, and its beginning stays the same from turn to turn.
 */
export function withoutSystemRole(messages: readonly ChatMessage[]): ChatMessage[] {
  const chat: ChatMessage[] = []
  let held: string[] = []
  for (const message of messages) {
    if (message.role === 'system') {
      held.push(message.text)
      continue
    }
    if (held.length > 0 && message.role === 'user') {
      const texts = held.map((text) => ({ type: 'text' as const, text }))
      chat.push({ role: 'user', content: [...texts, ...message.content] })
      held = []
      continue
    }
    // A greeting: the persona cannot wait for the words behind it.
    if (held.length > 0 && chat.length === 0) {
      chat.push(userTurn(held))
      held = []
    }
    chat.push(message)
  }
  return held.length === 0 ? chat : withTrail(chat, held)
}

const userTurn = (texts: readonly string[]): ChatMessage => ({
  role: 'user',
  content: texts.map((text) => ({ type: 'text', text })),
})

function withTrail(chat: readonly ChatMessage[], texts: readonly string[]): ChatMessage[] {
  const at = chat.findLastIndex(({ role }) => role === 'user')
  const last = chat[at]
  if (last?.role !== 'user') return [...chat, userTurn(texts)]
  const content = [...last.content, ...texts.map((text) => ({ type: 'text' as const, text }))]
  return [...chat.slice(0, at), { role: 'user', content }, ...chat.slice(at + 1)]
}
