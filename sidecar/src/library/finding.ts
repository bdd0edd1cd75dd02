/** Searching, filtering and paging the list of characters. Pure. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import type { CharacterPage, CharacterSummary, Find, State } from './library.ts'
import { byName } from './shelf.ts'

const PAGE = 100
const LARGEST_PAGE = 500

/** The last character of a page. Names may change between two pages; nobody is shown twice for it who kept theirs. */
const Cursor = z.tuple([z.string(), z.string()])

export function findCharacters(
  sorted: readonly CharacterSummary[],
  trash: readonly CharacterSummary[],
  find: Find,
): CharacterPage {
  const limit = Math.min(find.limit ?? PAGE, LARGEST_PAGE)
  const words = folded(find.search ?? '').split(/\s+/)
  const matching = (find.state === 'trash' ? trash : sorted).filter(
    (character) =>
      isIn(character, find.state) &&
      hasTag(character, find.tag) &&
      words.every((word) => speaksOf(character, word)),
  )
  const after = find.cursor === undefined ? undefined : readCursor(find.cursor)
  const rest = after === undefined ? matching : matching.filter((character) => byName(character, after) > 0)
  const characters = rest.slice(0, limit)
  const last = characters.at(-1)
  return {
    characters,
    total: matching.length,
    nextCursor: rest.length > limit && last !== undefined ? writeCursor(last) : null,
    tags: countTags(sorted),
  }
}

const isIn = ({ publishedVersion }: CharacterSummary, state: State | undefined): boolean =>
  state === undefined || state === 'trash' || (publishedVersion !== null) === (state === 'published')

/** V3 compares tags without regard to case. */
const hasTag = ({ tags }: CharacterSummary, wanted: string | undefined): boolean =>
  wanted === undefined || tags.some((tag) => tag.toLowerCase() === wanted.toLowerCase())

const speaksOf = ({ id, name, tagline, tags }: CharacterSummary, word: string): boolean =>
  word === '' || [name, id, tagline, ...tags].some((text) => folded(text).includes(word))

/** Without accents and case: who looks for "zoe" finds Zoë. */
const folded = (text: string): string => text.normalize('NFKD').replace(/\p{M}/gu, '').toLowerCase()

function countTags(characters: readonly CharacterSummary[]): CharacterPage['tags'] {
  const counts = new Map<string, { name: string; characters: number }>()
  for (const { tags } of characters)
    for (const name of new Set(tags)) {
      const count = counts.get(name.toLowerCase()) ?? { name, characters: 0 }
      count.characters++
      counts.set(name.toLowerCase(), count)
    }
  return [...counts.values()].sort((a, b) => b.characters - a.characters || (a.name < b.name ? -1 : 1))
}

const writeCursor = ({ name, id }: CharacterSummary): string =>
  Buffer.from(JSON.stringify([name, id])).toString('base64url')

function readCursor(cursor: string): { name: string; id: string } {
  try {
    const [name, id] = Cursor.parse(JSON.parse(Buffer.from(cursor, 'base64url').toString()))
    return { name, id }
  } catch {
    throw new AppError('invalid', 'cursor must be the nextCursor of an earlier answer', { param: 'cursor' })
  }
}
