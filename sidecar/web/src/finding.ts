/** Which characters a search and a filter leave, and which filters are worth offering. */
import type { Character } from './api/characters.ts'
import { folded } from './words.ts'

export type Filter = { kind: 'all' } | { kind: 'attention' } | { kind: 'tag'; tag: string }

/** Every word of the search must stand somewhere in what the list knows of the character. */
export function find(characters: readonly Character[], search: string, filter: Filter): Character[] {
  const words = folded(search).split(/\s+/)
  return characters.filter((character) => {
    const text = textOf(character)
    return passes(character, filter) && words.every((word) => text.includes(word))
  })
}

/** The first tag says what kind of character it is; the most frequent kinds come first, `limit` of them. */
export function leadingTags(characters: readonly Character[], limit: number): string[] {
  return ranked(characters.flatMap(({ tags }) => tags.slice(0, 1))).slice(0, limit)
}

/** All there are, the most frequent first. */
export const tagsOf = (characters: readonly Character[]): string[] =>
  ranked(characters.flatMap(({ tags }) => [...new Set(tags)]))

function ranked(tags: readonly string[]): string[] {
  const counts = new Map<string, number>()
  for (const tag of tags) counts.set(tag, (counts.get(tag) ?? 0) + 1)
  const sorted = [...counts].sort((one, other) => other[1] - one[1] || one[0].localeCompare(other[0]))
  return sorted.map(([tag]) => tag)
}

export function isSameFilter(one: Filter, other: Filter): boolean {
  if (one.kind === 'tag') return other.kind === 'tag' && one.tag === other.tag
  return one.kind === other.kind
}

function passes(character: Character, filter: Filter): boolean {
  if (filter.kind === 'attention') return character.notes.length > 0
  return filter.kind === 'all' || character.tags.includes(filter.tag)
}

const textOf = ({ id, name, tagline, tags, greetings }: Character): string =>
  folded([id, name, tagline, ...tags, ...greetings].join('\n'))
