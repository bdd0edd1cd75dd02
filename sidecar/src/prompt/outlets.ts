/** Outlets: lore that stands where a text of the card asks for it by name, `{{outlet::name}}`. */
import type { Card } from '#characters/card.ts'
import type { LoreEntry } from '#characters/lore/entry.ts'

import { depthNote } from './note.ts'

export interface AskedOutlets {
  /** By texts of the prefix, where only what is always on can stand. */
  prefix: ReadonlySet<string>
  /** By texts that are sent anew each turn. */
  tail: ReadonlySet<string>
}

const ASKING = /\{\{\s*outlet([^{}]*)\}\}/gi

const namesIn = (texts: readonly string[]): Set<string> =>
  new Set(
    texts.flatMap((text) =>
      Array.from(text.matchAll(ASKING), ([, name = '']) => name.replace(/^\s*:{0,2}/, '').trim()),
    ),
  )

const known = new WeakMap<Card, AskedOutlets>()

export function askedOutlets(card: Card): AskedOutlets {
  const asked = known.get(card) ?? {
    prefix: namesIn([
      card.system_prompt,
      card.description,
      card.personality,
      card.scenario,
      card.mes_example,
      card.first_mes,
    ]),
    tail: namesIn([depthNote(card).prompt, card.post_history_instructions]),
  }
  known.set(card, asked)
  return asked
}

/** An outlet that no text asks for is none: its lore stands where other lore does, and nothing of a book is lost. */
export const isAskedFor = ({ place }: LoreEntry, names: ReadonlySet<string>): boolean =>
  place.kind === 'outlet' && names.has(place.name)

/** An entry as it will stand in the prompt. */
export interface AtOutlet {
  entry: LoreEntry
  text: string
}

/** What stands at one outlet, in the order of the lore. */
export const textAt = (name: string, lore: readonly AtOutlet[]): string =>
  lore
    .filter(({ entry: { place } }) => place.kind === 'outlet' && place.name === name)
    .map(({ text }) => text)
    .join('\n')
