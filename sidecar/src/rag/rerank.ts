/** A second look at the first hits by a model that reads question and passage together, over the `/rerank` of Cohere and Jina (vLLM, TEI, Infinity). */
import { request } from 'undici'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import type { RankedPiece } from './arrange.ts'

export interface Rerank {
  /** How long a turn waits for it. */
  readonly deadlineMs: number
  /** The same pieces in another order. Throws AppError `unavailable`, `upstream`. */
  order<T extends RankedPiece>(
    question: string,
    pieces: readonly T[],
    signal: AbortSignal,
  ): Promise<readonly T[]>
}

export interface RerankOptions {
  /** Up to and without `/rerank`. */
  url: string
  model: string
  apiKey?: string | undefined
}

const DEADLINE_MS = 1_000

const Answer = z.object({
  results: z.array(z.object({ index: z.number().int(), relevance_score: z.number() })),
})

/**
 * What the first ranking still counts beside the second, by place: a passage that words and meaning both put on top is rarely
 * wrong, whatever the reranker says (the shares of tobi/qmd).
 */
const shareOfFirst = (place: number) => (place < 3 ? 0.75 : place < 10 ? 0.6 : 0.4)

export function createRerank({ url, model, apiKey }: RerankOptions): Rerank {
  return {
    deadlineMs: DEADLINE_MS,
    async order(question, pieces, signal) {
      const body = { model, query: question, documents: pieces.map(({ text }) => text), top_n: pieces.length }
      const limit = AbortSignal.any([signal, AbortSignal.timeout(DEADLINE_MS)])
      const answer = await request(`${url}/rerank`, {
        method: 'POST',
        signal: limit,
        headers: {
          'content-type': 'application/json',
          ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
        },
        body: JSON.stringify(body),
      }).catch((cause: unknown) => {
        throw new AppError('unavailable', `The reranker at ${url} does not answer; check RERANK_URL`, {
          cause,
        })
      })
      if (answer.statusCode !== 200) {
        await answer.body.dump()
        throw new AppError(
          'upstream',
          `The reranker at ${url} answered with status ${String(answer.statusCode)}`,
        )
      }
      const parsed = Answer.safeParse(await answer.body.json())
      if (!parsed.success) throw new AppError('upstream', `The reranker at ${url} answered something else`)
      return blend(pieces, parsed.data.results)
    },
  }
}

/** Both rankings as shares of their best. */
function blend<T extends RankedPiece>(
  pieces: readonly T[],
  results: readonly { index: number; relevance_score: number }[],
): T[] {
  const best = results.toSorted((a, b) => b.relevance_score - a.relevance_score)
  const places = new Map(best.map(({ index }, place) => [index, place]))
  return pieces
    .map((piece, place) => {
      const first = shareOfFirst(place)
      const second = places.get(place) ?? pieces.length
      return { ...piece, score: first / (place + 1) + (1 - first) / (second + 1) }
    })
    .sort((a, b) => b.score - a.score || a.id - b.id)
}
