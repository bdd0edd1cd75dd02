/** What an activation is told. */
import type { LoreCharacter, Source } from './conditions.ts'
import type { LoreEntry } from './entry.ts'

export interface LoreMessage {
  role: 'user' | 'assistant'
  /** Stands before the words, so that a name can be a key. */
  name: string
  text: string
}

export interface LoreSettings {
  /** What the called-up entries may take together, in tokens. A book may allow its own less. */
  budgetTokens: number
  /** Upper bound of a text. */
  countTokens: (text: string) => number
  /** The text as it will stand in the prompt; asked once for an entry. */
  render: (entry: LoreEntry) => string
  /** Texts that stand in no prompt, but call up other entries as if they did. */
  hidden: (entry: LoreEntry) => readonly string[]
  /** A number from 0 up to 1 for an entry in the turn that has so many messages; always the same for the same. */
  draw: (entryId: string, messageCount: number) => number
  /** The greeting with which the chat began: 0 for the first message of the card. Undefined when it is not known. */
  greeting?: () => number | undefined
  /** Who answers, for entries that are meant for some only. */
  character: LoreCharacter
  /** Texts that nobody said, for entries that look into them too. */
  sources: Partial<Readonly<Record<Source, string>>>
  /** Looks further back, message by message, until so many entries are on. */
  minimumActivations?: MinimumActivations
  /** How often all entries are gone through at most: 1 for no recursion. A minimum of activations does not count then. */
  mostPasses?: number
  /** Any clock that goes on; it only bounds how long patterns are looked for. */
  clockMs: () => number
}

export interface MinimumActivations {
  entries: number
  /** In messages; the whole chat without it. */
  deepest?: number
}
