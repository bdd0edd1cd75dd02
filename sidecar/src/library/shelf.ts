/**
 * What is kept in memory of the library: one summary for each character, so that lists never wait, and the cards that
 * were asked for last. A card may be megabytes; thousands of them do not belong into memory.
 */
import { and, asc, eq, isNull, sql } from 'drizzle-orm'

import { createCache } from '#base/cache.ts'
import { AppError } from '#base/errors.ts'
import { spokenName, type Card } from '#characters/card.ts'
import { contentHash } from '#characters/content.ts'
import { greetingOffers } from '#characters/greetings.ts'
import { expand } from '#characters/macros.ts'
import { plainWords } from '#characters/text.ts'
import { prefixParts } from '#prompt/prefix.ts'
import type { Store } from '#store/store.ts'
import type { CardSummary } from '#store/tables.ts'

import type { CharacterSummary, CharacterVersion, VersionSummary } from './library.ts'

/** A description for a picker is one line. */
const TAGLINE_CHARACTERS = 160

/** Lists show how a greeting begins. */
const GREETING_CHARACTERS = 280
const GREETINGS_SHOWN = 20

/**
 * Where a thousand characters are asked for by Zipf's law, 200 of them kept would serve 70 of 100 turns and 500 serve 87. A card
 * has some kilobytes, and some have a lorebook of megabytes: together they get about as much as the process needs without them.
 */
const CARDS_KEPT = 500
const LARGEST_CHARACTERS = 64 * 1_048_576

/** Rows of the first release lack their summary; they are filled in portions. */
const FILLED_AT_ONCE = 50

export interface Shelf {
  all(): IterableIterator<CharacterSummary>
  /** Sorted by name, without the trash. */
  sorted(): readonly CharacterSummary[]
  /** Also from the trash. Throws AppError `not_found`. */
  get(id: string): CharacterSummary
  has(id: string): boolean
  /** Reads a character again; undefined when it is gone. */
  refresh(id: string): Promise<CharacterSummary | undefined>
  /** Throws AppError `not_found`. */
  version(id: string, number: number): Promise<CharacterVersion>
  versions(id: string): Promise<VersionSummary[]>
}

export async function openShelf(store: Store): Promise<Shelf> {
  await fillOldRows(store)
  const known = new Map((await readSummaries(store)).map((summary) => [summary.id, summary]))
  const cards = createCache<CharacterVersion>('character', {
    most: CARDS_KEPT,
    largest: LARGEST_CHARACTERS,
    sizeOf: ({ card }) => JSON.stringify(card).length,
  })
  /** How often a character of this id ended: one that comes back from an archive has the time at which it was made before. */
  const ended = new Map<string, number>()
  /** Who asks for a card that is being read waits for the same reading. */
  const readings = new Map<string, Promise<CharacterVersion>>()
  let sorted: readonly CharacterSummary[] | undefined

  return {
    all: () => known.values(),
    sorted: () =>
      (sorted ??= [...known.values()].filter(({ deletedAtMs }) => deletedAtMs === null).sort(byName)),
    has: (id) => known.has(id),
    get(id) {
      const summary = known.get(id)
      if (summary === undefined) throw new AppError('not_found', `There is no character "${id}"`)
      return summary
    },
    async refresh(id) {
      const [summary] = await readSummaries(store, id)
      sorted = undefined
      // Fewer versions than before: it went and came back between two looks at it.
      const isAnother = (summary?.latestVersion ?? 0) < (known.get(id)?.latestVersion ?? 0)
      if (isAnother) ended.set(id, (ended.get(id) ?? 0) + 1)
      if (summary === undefined) known.delete(id)
      else known.set(id, summary)
      return summary
    },
    // A version never changes, but its number may be given anew after the character was deleted for good.
    async version(id, number) {
      const key = JSON.stringify([id, number, known.get(id)?.createdAtMs, ended.get(id)])
      const kept = cards.get(key)
      if (kept !== undefined) return kept
      const reading = readings.get(key) ?? readVersion(store, id, number)
      readings.set(key, reading)
      try {
        const version = await reading
        cards.set(key, version)
        return version
      } finally {
        readings.delete(key)
      }
    },
    versions: (id) => readVersions(store, id),
  }
}

type Named = Pick<CharacterSummary, 'name' | 'id'>

export const byName = (a: Named, b: Named): number => compare(a.name, b.name) || compare(a.id, b.id)

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)

// -- rows -------------------------------------------------------------------------------------------------------------

const NOTHING: CardSummary = { tagline: '', tags: [], greetings: [], promptTokens: 0 }

async function readSummaries(store: Store, id?: string): Promise<CharacterSummary[]> {
  const { characters, characterVersions } = store.t
  const shown = sql`coalesce(${characters.publishedVersion}, ${characters.latestVersion})`
  const rows = await store.db
    .select({
      row: characters,
      summary: characterVersions.summary,
      pictureHash: characterVersions.pictureHash,
      notes: characterVersions.notes,
    })
    .from(characters)
    .innerJoin(
      characterVersions,
      and(eq(characterVersions.characterId, characters.id), eq(characterVersions.number, shown)),
    )
    .where(id === undefined ? undefined : eq(characters.id, id))
  return rows.map(({ row, summary, pictureHash, notes }) => ({
    ...row,
    ...(summary ?? NOTHING),
    pictureHash,
    notes,
  }))
}

function versionColumns({ t: { characterVersions } }: Store) {
  const { characterId, number, originalHash, originalName, pictureHash, notes } = characterVersions
  const { note, createdBy, createdAtMs, publishedAtMs } = characterVersions
  return {
    ...{ characterId, number, originalHash, originalName, pictureHash, notes },
    ...{ note, createdBy, createdAtMs, publishedAtMs },
  }
}

async function readVersions(store: Store, id: string): Promise<VersionSummary[]> {
  const { characterVersions } = store.t
  return store.db
    .select(versionColumns(store))
    .from(characterVersions)
    .where(eq(characterVersions.characterId, id))
    .orderBy(asc(characterVersions.number))
}

async function readVersion(store: Store, id: string, number: number): Promise<CharacterVersion> {
  const { characterVersions } = store.t
  const [row] = await store.db
    .select({ ...versionColumns(store), card: characterVersions.card })
    .from(characterVersions)
    .where(and(eq(characterVersions.characterId, id), eq(characterVersions.number, number)))
  if (row !== undefined) return row
  throw new AppError('not_found', `${id} has no version ${String(number)}`, { param: 'version' })
}

async function fillOldRows(store: Store): Promise<void> {
  const { characterVersions } = store.t
  for (;;) {
    const rows = await store.db
      .select()
      .from(characterVersions)
      .where(isNull(characterVersions.summary))
      .limit(FILLED_AT_ONCE)
    if (rows.length === 0) return
    await store.atomically((db) =>
      rows.map(({ characterId, number, card }) =>
        db
          .update(characterVersions)
          .set({ summary: summaryOf(card), contentHash: contentHash(card) })
          .where(and(eq(characterVersions.characterId, characterId), eq(characterVersions.number, number))),
      ),
    )
  }
}

// -- summaries --------------------------------------------------------------------------------------------------------

export function summaryOf(card: Card): CardSummary {
  const speaker = { characterId: '', version: 0, card }
  return {
    tagline: shortened(firstSentence(card), TAGLINE_CHARACTERS),
    tags: card.tags,
    greetings: greetingOffers(card)
      .slice(0, GREETINGS_SHOWN)
      .map(({ greeting }) => shortened(greeting, GREETING_CHARACTERS)),
    promptTokens: prefixParts({ speaker, userName: 'User' }, '').reduce((sum, { tokens }) => sum + tokens, 0),
  }
}

/** Of the creator's notes, which are written for users; else of the description. Whoever reads it is "you". */
function firstSentence(card: Card): string {
  const text = plainWords(card.creator_notes) || plainWords(card.description)
  const sentence = /^.*?[.!?](?=\s|$)/.exec(text)?.[0] ?? text
  // Afterwards: "Dr. Mira" ends no sentence.
  return expand(sentence, { char: spokenName(card), user: 'you' })
}

const shortened = (text: string, most: number) => (text.length <= most ? text : `${text.slice(0, most - 1)}…`)
