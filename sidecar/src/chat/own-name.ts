/**
 * A character's own name before its words, as a script has it: "Pia: Hello". Example dialogues are written so, and small
 * models go on in that form. Whoever reads the answer sees who speaks anyway.
 */
import { spokenName, type Card } from '#characters/card.ts'
import { isPlainText, type Ask } from '#prompt/ask.ts'
import type { Delta } from '#providers/provider.ts'

import type { Decided } from './journal.ts'

type Named = Pick<Card, 'name' | 'nickname'>

/** Markdown's, from the shortest on; they may close before the colon or behind it. */
const EMPHASES = ['', '*', '_', '**', '__', '***']
const COLONS = [':', '\uFF1A']

/** Of a model that writes nothing but line breaks, no more is held back. */
const SPACE = /^\s{0,16}/

const withoutSpace = (text: string): string => text.replace(SPACE, '')

/** All that counts as the name before an answer. */
export function labelsOf(card: Named): readonly string[] {
  const known = read.get(card)
  if (known !== undefined) return known
  const names = [...new Set([spokenName(card), card.name])]
  const labels = names.flatMap((name) =>
    COLONS.flatMap((colon) =>
      EMPHASES.flatMap((mark) => [mark + name + mark + colon, mark + name + colon + mark]),
    ),
  )
  read.set(card, labels)
  return labels
}

/** Each answer asks. Cards are never changed in place. */
const read = new WeakMap<Named, readonly string[]>()

/**
 * How much of an answer that begins so is the name, with the white space around it; undefined while it may still become
 * the name. What is not undefined stays as it is, whatever comes behind it, but for more white space behind the name.
 */
export function nameLength(said: string, labels: readonly string[]): number | undefined {
  const begun = withoutSpace(said)
  if (labels.some((label) => label !== begun && label.startsWith(begun))) return undefined
  const label = labels.find((each) => begun.startsWith(each))
  if (label === undefined) return 0
  return said.length - withoutSpace(begun.slice(label.length)).length
}

/**
 * Undefined where nothing is cut: nobody speaks or the author's own words are spoken, an answer goes on, or its every
 * token or structure is wanted as the model wrote it.
 */
export function ownName(
  { messages, logprobs, responseFormat }: Pick<Ask, 'messages' | 'logprobs' | 'responseFormat'>,
  { speaker, prompt }: Decided,
): OwnName | undefined {
  if (speaker === undefined || prompt === undefined) return undefined
  if (messages.at(-1)?.role === 'assistant') return undefined
  if (logprobs !== undefined || !isPlainText(responseFormat)) return undefined
  return new OwnName(speaker.card)
}

/** To be asked for each delta before it goes out, until it is over. */
export class OwnName {
  /** Nothing more is held back or cut. */
  isOver = false
  readonly #labels: readonly string[]
  #held = ''

  constructor(card: Named) {
    this.#labels = labelsOf(card)
  }

  /** The words that go out now: in the place of words, and before everything else. */
  see(delta: Delta): Delta | undefined {
    return delta.type === 'text' ? this.#read(delta) : this.#release(delta)
  }

  #read(delta: Extract<Delta, { type: 'text' }>): Delta | undefined {
    const said = this.#held + delta.text
    const length = nameLength(said, this.#labels)
    if (length === undefined || length === said.length) {
      this.#held = said
      return undefined
    }
    this.isOver = true
    return said.length === delta.text.length && length === 0
      ? delta
      : { type: 'text', text: said.slice(length) }
  }

  #release({ type }: Delta): Delta | undefined {
    const held = this.#held
    if (held === '') return undefined
    this.isOver = true
    // An answer that is nothing but the name would be a blank bubble.
    const text = type === 'done' ? held : held.slice(nameLength(held, this.#labels) ?? 0)
    return text === '' ? undefined : { type: 'text', text }
  }
}
