/** What words and meaning found for a question, and what of it counts. Pure. */
import { weightOf } from '#rag/fingerprint.ts'
import { sideBySide, type Ranking } from '#rag/fuse.ts'
import type { LexicalResult } from '#rag/lexical.ts'
import type { Lookup } from '#rag/question.ts'
import type { VectorHit } from '#rag/vectors.ts'

import type { FoundPiece } from './retrieval.ts'

/** Of each ranking. The last of so many says which score is none: measured, 30 say it worse (`docs/search.md`). */
export const RANKED = 100

/** Of the best piece's words, what a piece must have that is not near by its meaning. */
const LEAST_OF_BEST = 0.25

/** What one model finds near. Cosines of different models are never compared: what is near for one is far for another. */
export interface NearBy {
  fingerprint: string
  hits: readonly VectorHit[]
}

export interface Found {
  /** Of each lookup. */
  words: readonly LexicalResult[]
  meaning: readonly (readonly NearBy[])[]
  /** Of each fingerprint. */
  floorOf: ReadonlyMap<string, number>
}

/** Of the model whose nearest piece goes furthest beyond what small talk reaches there. */
export function nearest(
  found: readonly NearBy[],
  floorOf: Found['floorOf'],
): { similarity: number; floor: number } | undefined {
  return found
    .flatMap(({ fingerprint, hits: [first] }) => {
      const floor = floorOf.get(fingerprint)
      return first === undefined || floor === undefined ? [] : [{ similarity: first.similarity, floor }]
    })
    .sort((a, b) => b.similarity - b.floor - (a.similarity - a.floor))[0]
}

/** Words count one, meaning as much as its model has shown to be worth. */
export function rankings(lookups: readonly Lookup[], found: Found): Ranking[] {
  return lookups.flatMap(({ text, weight }, at) => {
    const words = found.words[at]?.hits ?? []
    const near = (found.meaning[at] ?? []).map(({ fingerprint, hits }) => ({
      hits: hits.map(({ id, similarity }) => ({ id, score: similarity })),
      least: hits.at(-1)?.similarity ?? 0,
      weight: weight * weightOf(fingerprint, text),
    }))
    return [
      // Where not even so many have any of the words, the others have none.
      { hits: words, least: words.length < RANKED ? 0 : (words.at(-1)?.score ?? 0), weight },
      sideBySide(near),
    ]
  })
}

interface Placed {
  /** In its ranking, from 1. */
  place: number
}

/** Of each hit, how the first ranking that has it does: the message itself comes before what it leans on. */
export function firstOf<T extends { id: number }>(found: readonly (readonly T[])[]): Map<number, T & Placed> {
  const first = new Map<number, T & Placed>()
  for (const hits of found)
    for (const [at, hit] of hits.entries())
      if (!first.has(hit.id)) first.set(hit.id, { ...hit, place: at + 1 })
  return first
}

/** Rankings always have an end, however little it has to do with the question. */
export function nearOnes(pieces: readonly FoundPiece[], on: Found): FoundPiece[] {
  const shared = new Set(
    on.words.flatMap(({ hits }) =>
      hits.filter(({ score }) => score >= LEAST_OF_BEST * (hits[0]?.score ?? 0)).map(({ id }) => id),
    ),
  )
  const near = new Set(
    on.meaning.flat().flatMap(({ fingerprint, hits }) => {
      const floor = on.floorOf.get(fingerprint) ?? Infinity
      return hits.filter(({ similarity }) => similarity >= floor).map(({ id }) => id)
    }),
  )
  return pieces.filter(({ id }) => shared.has(id) || near.has(id))
}
