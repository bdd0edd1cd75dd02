/** The chunking set as our own cutting sees it, and how much of what answers a question stands in what was found. */
import { chunkDocument, documentText, plainBlocks } from '#rag/chunk.ts'
import type { Chunk } from '#rag/document.ts'

import { readChunking, recallOfSpans, type ChunkQuery } from './retrieval-sets.ts'

export interface CutSet {
  /** Of all corpora, in their order. */
  pieces: readonly (Chunk & { corpus: string })[]
  queries: readonly ChunkQuery[]
  /** A share of 1; of `found`, `documentId` is the corpus. */
  recallOf(query: ChunkQuery, found: readonly Found[]): number
}

interface Found {
  documentId: string
  startOffset: number
  endOffset: number
}

export function cutChunkingSet(): CutSet {
  const { corpora, queries } = readChunking()
  const cut = new Map<string, Int32Array>()
  const whole = new Map<string, Int32Array>()
  const pieces = [...corpora].flatMap(([corpus, text]) => {
    const blocks = plainBlocks(text)
    cut.set(corpus, placesOf(documentText(blocks)))
    whole.set(corpus, placesOf(text))
    return chunkDocument({ title: corpus.replaceAll('_', ' '), blocks }).map((chunk) => ({
      ...chunk,
      corpus,
    }))
  })
  const rangeIn = (places: Int32Array | undefined, start: number, end: number) =>
    [places?.[start] ?? 0, places?.[end] ?? 0] as const
  return {
    pieces,
    queries,
    recallOf: ({ corpus, spans }, found) =>
      recallOfSpans(
        spans.map(([start, end]) => rangeIn(whole.get(corpus), start, end)),
        found
          .filter(({ documentId }) => documentId === corpus)
          .map(({ startOffset, endOffset }) => rangeIn(cut.get(corpus), startOffset, endOffset)),
      ),
  }
}

/** Where the characters of a text are that are no white space: cutting changes nothing but that. */
function placesOf(text: string): Int32Array {
  const places = new Int32Array(text.length + 1)
  for (let at = 0, place = 0; at < text.length; at++) {
    if (!/\s/.test(text.charAt(at))) place++
    places[at + 1] = place
  }
  return places
}
