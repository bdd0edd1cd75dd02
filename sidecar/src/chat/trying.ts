/** What a question brings into a prompt, for people who try it: with more time than a turn has, and all that was decided. */
import { AppError } from '#base/errors.ts'
import { settingsOf } from '#characters/settings.ts'
import type { Bases } from '#knowledge/knowledge.ts'
import { nothingFrom, type Passage, type RetrievalTrace } from '#knowledge/retrieval.ts'
import type { Library } from '#library/library.ts'

import { MOST_CHARACTERS, type SourceParts } from './look-up.ts'

export interface Trial {
  text: string
  previous?: string
  /** Looks into what this character may look into, or into these bases. */
  in: { character: string } | { bases: readonly string[] }
}

/** A source of a plugin tells neither a place in a document nor how near it is. */
type Brought = { [K in keyof Passage]: K extends Known ? Passage[K] : null }
type Known = 'documentId' | 'documentName' | 'documentTitle' | 'text' | 'header' | 'chunkIds'

export interface Tried {
  /** Those of documents, best first, and behind them those of plugins: as they stand in a prompt. */
  passages: readonly (Passage | Brought)[]
  /** Of the documents. */
  trace: RetrievalTrace
}

export interface TryingParts {
  library: Pick<Library, 'get' | 'version'>
  sources: SourceParts
  knowledge: { bases: Pick<Bases, 'kept'> }
}

/** A person waits, and wants the whole truth. */
const DEADLINE_MS = 5_000

/**
 * Throws AppError `not_found` for a character or base that is not there, `conflict` for a base in the trash, `invalid` for a
 * character that has nothing to look into.
 */
export async function tryLookUp(trial: Trial, on: TryingParts, signal: AbortSignal): Promise<Tried> {
  const { baseIds, sources } = await placesOf(trial.in, on)
  const { text, previous } = trial
  const asked = { text, ...(previous !== undefined && { previous }), deadlineMs: DEADLINE_MS }
  const [own, brought] = await Promise.all([
    baseIds.length === 0 ? nothingFrom([]) : on.sources.retrieval.retrieve({ ...asked, baseIds }, signal),
    on.sources.guests.ask(sources, { ...asked, budgetCharacters: MOST_CHARACTERS }),
  ])
  const guests = brought.map(({ documentId, label, text: words }): Brought => ({
    ...{ documentId, documentName: label, documentTitle: label, text: words, header: '', chunkIds: [] },
    ...{ baseId: null, page: null, startOffset: null, endOffset: null, score: null, similarity: null },
  }))
  return { passages: [...own.passages, ...guests], trace: own.trace }
}

async function placesOf(
  place: Trial['in'],
  on: TryingParts,
): Promise<{ baseIds: readonly string[]; sources: readonly string[] }> {
  if ('bases' in place) {
    for (const id of place.bases) await on.knowledge.bases.kept(id)
    return { baseIds: place.bases, sources: [] }
  }
  const { publishedVersion, latestVersion } = await on.library.get(place.character)
  const { card } = await on.library.version(place.character, publishedVersion ?? latestVersion)
  const { sources } = settingsOf(card)
  const baseIds = on.sources.basesOf(place.character)
  if (baseIds.length > 0 || sources.length > 0) return { baseIds, sources }
  throw new AppError(
    'invalid',
    'This character has no knowledge; attach a base to it, or name a source of a plugin in its card',
    { param: 'character' },
  )
}
