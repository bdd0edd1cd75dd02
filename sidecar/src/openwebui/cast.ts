/** The published characters, as Open WebUI shows them. */
import { AppError } from '#base/errors.ts'
import { spokenName, type Card } from '#characters/card.ts'
import { greetingOffers } from '#characters/greetings.ts'
import { expand } from '#characters/macros.ts'
import type { CharacterSummary, Library } from '#library/library.ts'

import type { SyncCharacter } from './rows.ts'

/** Twice what the picker and the empty chat show, for screens with two points to a pixel. */
const PORTRAIT_PIXELS = 256

/** Who reads the beginning of a greeting before there is a chat. */
const READER = 'you'

export interface CastParts {
  library: Pick<Library, 'list' | 'published' | 'picture'>
  /** Of the model behind this card. */
  takesPictures(card: Card): Promise<boolean>
}

export async function readCast(parts: CastParts): Promise<SyncCharacter[]> {
  const characters = await parts.library.list()
  const cast = await Promise.all(characters.map((character) => readCharacter(character, parts)))
  return cast.filter((character) => character !== undefined)
}

async function readCharacter(
  { id, name, tagline, tags, groups }: CharacterSummary,
  { library, takesPictures }: CastParts,
): Promise<SyncCharacter | undefined> {
  const version = await library.published(id)
  if (version === undefined) return undefined
  const { card, pictureHash } = version
  const names = { char: spokenName(card), user: READER }
  return {
    id,
    name,
    // Those that were kept by older releases hold the macros of the author.
    tagline: expand(tagline, names),
    tags,
    groups,
    greetings: greetingOffers(card).map(({ prompt, greeting }) => ({
      prompt,
      greeting: expand(greeting, names),
    })),
    portrait: pictureHash === null ? null : await readPortrait(pictureHash, library),
    takesPictures: await takesPictures(card),
  }
}

/** A lost picture must not keep the whole cast from being shown. */
async function readPortrait(hash: string, library: CastParts['library']): Promise<Uint8Array | null> {
  try {
    return await library.picture(hash, PORTRAIT_PIXELS)
  } catch (error) {
    if (error instanceof AppError && error.code === 'not_found') return null
    throw error
  }
}
