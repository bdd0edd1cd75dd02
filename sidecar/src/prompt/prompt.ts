/**
 * The product of prompt assembly is the list of parts (what, why, how many tokens, what was dropped);
 * the messages that go to the model are a projection of it.
 */
import type { Card, Lorebook } from '#characters/card.ts'
import type { Draw } from '#characters/dice.ts'
import type { TraceLine } from '#characters/lore/activate.ts'
import type { Clock } from '#characters/macros.ts'
import type { CharacterSettings } from '#characters/settings.ts'

import type { ChatMessage, ToolSpec } from './ask.ts'
import type { Knowledge, Passage } from './passages.ts'

export type PartKind =
  | 'system_prompt'
  | 'persona'
  | 'personality'
  | 'scenario'
  | 'lore'
  | 'passage'
  | 'examples'
  | 'greeting'
  | 'user_persona'
  | 'client_system'
  | 'history'
  | 'summary'
  | 'note'
  | 'post_history'
  | 'user'
  | 'tools'

/** Where a part stands: beside the messages, in the byte-stable prefix, the history, or the last user turn. */
export type PartPlace = 'beside' | 'prefix' | 'history' | 'tail'

export interface Part {
  kind: PartKind
  place: PartPlace
  /** Short name for people, e.g. the name of a lorebook entry. */
  label: string
  /** Exactly the characters that stand in the prompt, or would have stood there. */
  text: string
  /** Estimated upper bound. */
  tokens: number
  /** Why it is here, or why it was left out. */
  reason: string
  dropped: boolean
}

/** What prompt assembly must know about a base model. */
export interface ModelProfile {
  /** The context window that every request to this model uses, in tokens. */
  contextTokens: number
  /** Correction that turns our estimate into an upper bound for this model; 1 until the server has reported. */
  tokenRatio: number
  /** What the model server itself counted for a text, in the model's tokens; undefined where it was not asked. */
  knownTokens?: (text: string) => number | undefined
}

/** The published version of a character that answers. */
export interface Speaker {
  characterId: string
  version: number
  card: Card
}

/** A few sentences about the first turns of a chat. */
export interface SummaryBlock {
  /** It tells of the turns up to this one, from where the block before ends. */
  turns: number
  text: string
}

/** A lorebook beside the cards. */
export interface NamedBook {
  id: string
  name: string
  book: Lorebook
}

export interface Materials {
  speaker: Speaker
  /** Lorebooks beside the card, in the order in which they are gone through after its own. */
  books?: readonly NamedBook[]
  /** Of the turns that may have been cut, oldest first; absent for characters that want none. */
  summaries?: readonly SummaryBlock[]
  /** What its documents say to the last message; absent where it has none, or they say nothing to it. */
  knowledge?: Knowledge
  /** Replaces `{{user}}`. */
  userName: string
  /** What the person tells of themselves; not the author's text. */
  persona?: string
  /** Absent where a persona is only measured: each choice is its first item then, and there is no date. */
  scene?: Scene
  /** Any clock that goes on: bounds how long patterns of strangers are looked for. Absent where nobody waits. */
  clockMs?: () => number
}

/** What macros may tell of a chat. */
export interface Scene {
  /** Of the base model. */
  modelName: string
  /** The dice of one text of the card: they fall once in a chat. */
  dice: (field: string) => Draw
  clock: Pick<Clock, 'nowMs' | 'timeZone'>
}

export interface Budget {
  contextTokens: number
  /** Room kept free for the answer; also the upper bound of its length. */
  replyTokens: number
  /** What the prompt may use at most: context − reply. */
  promptTokens: number
  /** What the history may use in every turn of the chat; absent where none is cut. */
  historyTokens?: number
}

export interface Prompt {
  layout: CharacterSettings['layout'] | 'task' | 'raw'
  parts: readonly Part[]
  messages: readonly ChatMessage[]
  /** Those that the character may use, in an order that does not change. */
  tools: readonly ToolSpec[]
  budget: Budget
  /** Estimated upper bound of all messages with their template overhead. */
  tokens: number
  /** Hash of the prefix's text: equal hash means that the model server can reuse it. */
  prefixHash: string
  /** Those that the model was given, in the order of their numbers. */
  passages: readonly Passage[]
  /** Turns (a user message and what follows it) left out at the beginning of the history. */
  cutTurns: number
}

/**
 * A prompt with what can be told of it, which is worked out when it is asked for. That needs all that the prompt was made
 * of: who keeps a prompt while a model speaks keeps the prompt alone.
 */
export interface Explained {
  prompt: Prompt
  /** What the model server reads again in the next turn, besides what is new then; estimated. */
  rereadTokens: () => number
  /** Every entry of the lorebooks: whether it was called up, and why or why not. */
  lore: () => readonly LoreLine[]
}

export interface LoreLine extends Omit<TraceLine, 'entry'> {
  /** Of the entry. */
  label: string
}
