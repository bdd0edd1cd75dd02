/** When an answer tells its sources, and what its record tells of them. */
import type { PassageHit } from '#analytics/record.ts'
import type { RetrievalTrace } from '#knowledge/retrieval.ts'
import type { Ask } from '#prompt/ask.ts'
import type { Knowledge, Passage } from '#prompt/passages.ts'
import type { Prompt } from '#prompt/prompt.ts'
import type { Cited, Delta } from '#providers/provider.ts'
import type { LookedUp } from '#store/analytics-tables.ts'

/** To be asked for each delta before it goes out: the sources that belong before it, or undefined. */
export type Citing = (delta: Delta) => Cited | undefined

/**
 * What was found for the question is told before the first word. What stands in every prompt is told at the end, and only if
 * the answer points at it: a greeting has no sources.
 */
export function citing({ messages }: Ask, prompt: Prompt | undefined): Citing {
  const { passages = [], parts = [] } = prompt ?? {}
  // What comes back from a tool belongs to an answer that has told its sources.
  if (passages.length === 0 || messages.at(-1)?.role === 'tool') return () => undefined
  const isWhole = parts.some(({ kind, place }) => kind === 'passage' && place === 'prefix')
  return isWhole ? whatIsPointedAt(passages) : once({ type: 'sources', passages })
}

function once(cited: Cited): Citing {
  let isTold = false
  return () => {
    if (isTold) return undefined
    isTold = true
    return cited
  }
}

function whatIsPointedAt(passages: readonly Passage[]): Citing {
  let said = ''
  return (delta) => {
    if (delta.type === 'text') said += delta.text
    if (delta.type !== 'done') return undefined
    const told = upToTheLast(said, passages)
    return told.length === 0 ? undefined : { type: 'sources', passages: told }
  }
}

/** For the record: what was looked up, and what of it the model read. What stands in every prompt was not looked up. */
export function passageHits(
  knowledge: Knowledge | undefined,
  prompt: Prompt | undefined,
): readonly PassageHit[] | undefined {
  if (knowledge === undefined || knowledge.isWhole) return undefined
  // Numbers are given anew to those that find room; labels are not.
  const read = new Set(prompt?.passages.map(({ label }) => label))
  return knowledge.passages.map(({ documentId, chunkIds, similarity, label }) => ({
    document: documentId,
    chunk: chunkIds.join(','),
    // Words alone have no score that could be compared between questions.
    score: similarity ?? 0,
    isUsed: read.has(label),
  }))
}

/** Each record of a search keeps so many: those that were read, and the next ones that were not. */
const MOST_PIECES = 12

/** For the record: the trace without its texts. Messages of errors may quote what was asked. */
export function lookedUp(trace: RetrievalTrace | undefined): LookedUp | undefined {
  if (trace === undefined) return undefined
  const { store, gate, notes, pieces, isCached, milliseconds } = trace
  return {
    ...{ store, gate, isCached, milliseconds },
    notes: notes.map(({ code, what }) => ({ code, what })),
    pieces: pieces.slice(0, MOST_PIECES).map(({ id, documentId, words, meaning, score, fate }) => ({
      ...{ chunk: id, document: documentId, score, fate },
      words: words?.score ?? null,
      meaning: meaning?.similarity ?? null,
    })),
  }
}

/** Readers count the sources that they are told, so those with smaller numbers are told as well. */
function upToTheLast(said: string, passages: readonly Passage[]): readonly Passage[] {
  const numbers = new Set(
    [...said.matchAll(/\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]/g)].flatMap(
      ([, list]) => list?.split(',').map(Number) ?? [],
    ),
  )
  const last = passages.findLastIndex(({ reference }) => numbers.has(reference))
  return passages.slice(0, last + 1)
}
