/** Ask: one chat request in our words. Everything below the door works on this; nobody below knows HTTP. */
import { z } from 'zod'

import type { Trail } from '#base/trail.ts'

export interface TextPart {
  type: 'text'
  text: string
}
/** `url` is a `data:` URL; remote pictures are refused at the door. */
export interface ImagePart {
  type: 'image'
  url: string
  /** How closely the model is to look, in OpenAI's words; for `/v1` servers only. */
  detail?: string
}
export type ContentPart = TextPart | ImagePart

export interface ToolCall {
  id: string
  name: string
  /** JSON text, as OpenAI sends it. */
  arguments: string
}

export type ChatMessage =
  | { role: 'system'; text: string }
  | { role: 'user'; content: readonly ContentPart[] }
  | { role: 'assistant'; text: string; toolCalls?: readonly ToolCall[] }
  | { role: 'tool'; text: string; toolCallId: string }

/** What the caller set; absent means absent, so that the character's or the model's own default applies. */
export interface Sampling {
  temperature?: number
  topP?: number
  topK?: number
  minP?: number
  frequencyPenalty?: number
  presencePenalty?: number
  repeatPenalty?: number
  seed?: number
  stop?: readonly string[]
  maxTokens?: number
}

export type Thinking = boolean | 'low' | 'medium' | 'high'

export interface CompletionPrompt {
  text: string
  /** What stands behind the gap that is to be filled. */
  suffix?: string
}

export interface ToolSpec {
  name: string
  /** The whole OpenAI tool object, passed on as it came. */
  spec: Readonly<Record<string, unknown>>
}

/** Who asks, already proven at the door. `id` never leaves the process unhashed. */
export interface Person {
  id: string
  name?: string
  /** Names of the groups that they belong to; absent where nobody told. */
  groups?: readonly string[]
}

/** Ids that Open WebUI's header templates carry; all absent for other clients. */
export interface Conversation {
  chatId?: string
  /** Id of the answer: two calls with the same one are one turn (a tool loop). */
  messageId?: string
  userMessageId?: string
}

export interface Ask {
  requestId: string
  /** The id of a character (or of a base model), as the client wrote it. */
  model: string
  messages: readonly ChatMessage[]
  stream: boolean
  sampling: Sampling
  tools: readonly ToolSpec[]
  toolChoice?: unknown
  responseFormat?: unknown
  /** Whether a model that can think does so, or how hard; absent leaves it to the character. */
  thinking?: Thinking
  /** How likely each token was is wanted, with so many others that were likely. */
  logprobs?: { top: number }
  /** Instead of a chat: a text to go on with, as `/v1/completions` takes it. */
  prompt?: CompletionPrompt
  /** Whether the key may ask this character; absent for all. */
  mayAsk?: (character: { id: string; tags: readonly string[] }) => boolean
  /** The key may ask base models that are no characters. */
  mayUseBaseModels?: boolean
  /** Unknown body fields: passed on to `/v1` servers, ignored by others. */
  extra: Readonly<Record<string, unknown>>
  /** Name of an Open WebUI task (title_generation …); absent for a turn of a person. */
  task?: string
  /** Nobody reads the answer: the model server is only to know the beginning of the character's prompts. */
  isWarmUp?: boolean
  surface: 'open-webui' | 'api'
  keyId: string
  person?: Person
  /**
   * Whoever of those behind a key asks, as its holder names them (`user`), with the key's id. For figures and caches only:
   * nobody has proven it, and limits go by key.
   */
  subUser?: string
  /** What the person tells the character of themselves. */
  persona?: string
  conversation: Conversation
  /** Absent where nobody follows. */
  trail?: Trail
}

/**
 * Names a chat of this very person, for everything that is kept by chat. The chat's id alone is not proven: whoever sends
 * somebody else's begins a chat of their own.
 */
export function ownChat({ conversation, person, keyId }: Ask): string | undefined {
  return conversation.chatId === undefined
    ? undefined
    : `${person?.id ?? `key ${keyId}`} ${conversation.chatId}`
}

/** The text of a message, its parts joined by line breaks; pictures are left out. */
export function messageText(message: ChatMessage): string {
  if (message.role !== 'user') return message.text
  const [first] = message.content
  // Asked for a dozen times in a turn, and nearly always this simple.
  if (message.content.length === 1 && first?.type === 'text') return first.text
  return message.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n')
}

const PlainText = z.object({ type: z.literal('text') })

/** Whether an answer may be any words: no format is asked for, or the one that says so. */
export const isPlainText = (responseFormat: unknown): boolean =>
  responseFormat === undefined || PlainText.safeParse(responseFormat).success
