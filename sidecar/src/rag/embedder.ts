/** Texts to vectors through a model server: in batches, one after the other, and never of the beginning of a text alone. */
import { AppError, toAppError } from '#base/errors.ts'

import { fingerprintOf, schemeOf } from './fingerprint.ts'

/** One call of a model server; throws as `Provider.embed` does. */
export type EmbedTexts = (
  model: string,
  texts: readonly string[],
  signal: AbortSignal,
) => Promise<readonly (readonly number[])[]>

export interface Embedder {
  readonly model: string
  /** Of the vectors that it makes; asks the server once. Throws what the server's call throws. */
  fingerprint(signal: AbortSignal): Promise<string>
  /** In the order of the texts; undefined for a text that the model does not take even in small parts. Throws as above. */
  passages(texts: readonly string[], signal: AbortSignal): Promise<(Float32Array | undefined)[]>
  /** Throws as above. */
  question(text: string, signal: AbortSignal): Promise<Float32Array>
}

/** Small enough that a chat which shares the server does not wait long, large enough to use it. */
export const EMBEDDING_BATCH = 32
/** Half of what is shorter says nothing any more. */
const SHORTEST_SPLIT = 64

export function createEmbedder(embed: EmbedTexts, model: string): Embedder {
  const { prefixes } = schemeOf(model)
  let dimensions: number | undefined

  async function call(texts: readonly string[], signal: AbortSignal): Promise<Float32Array[]> {
    const answer = await embed(model, texts, signal)
    if (answer.length !== texts.length) throw nonsense(model, 'another number of vectors than of texts')
    return answer.map((vector) => {
      dimensions ??= vector.length
      if (vector.length !== dimensions) throw nonsense(model, 'vectors of different lengths')
      return unit(vector) ?? fail(nonsense(model, 'a vector that is no direction'))
    })
  }

  /** A text that is too long is put together from its halves. */
  async function one(prefix: string, text: string, signal: AbortSignal): Promise<Float32Array | undefined> {
    try {
      const [vector] = await call([prefix + text], signal)
      return vector
    } catch (thrown) {
      if (toAppError(thrown).code !== 'context_length') throw thrown
      if (text.length < 2 * SHORTEST_SPLIT) return undefined
      const cut = middleOf(text)
      const parts = [text.slice(0, cut), text.slice(cut)]
      const vectors = [await one(prefix, parts[0] ?? '', signal), await one(prefix, parts[1] ?? '', signal)]
      return mean(vectors.map((vector, index) => ({ vector, weight: parts[index]?.length ?? 0 })))
    }
  }

  async function batch(texts: readonly string[], signal: AbortSignal): Promise<(Float32Array | undefined)[]> {
    try {
      return await call(
        texts.map((text) => prefixes.passage + text),
        signal,
      )
    } catch (thrown) {
      if (toAppError(thrown).code !== 'context_length') throw thrown
      const [only = '', second] = texts
      if (second === undefined) return [await one(prefixes.passage, only, signal)]
      // One of them is too long, and the server does not say which.
      const half = texts.length >> 1
      return [...(await batch(texts.slice(0, half), signal)), ...(await batch(texts.slice(half), signal))]
    }
  }

  return {
    model,
    async fingerprint(signal) {
      if (dimensions === undefined) await call([`${prefixes.question}hello`], signal)
      return fingerprintOf(model, dimensions ?? 0)
    },
    async passages(texts, signal) {
      const vectors: (Float32Array | undefined)[] = []
      for (let start = 0; start < texts.length; start += EMBEDDING_BATCH) {
        signal.throwIfAborted()
        vectors.push(...(await batch(texts.slice(start, start + EMBEDDING_BATCH), signal)))
      }
      return vectors
    },
    async question(text, signal) {
      return (await one(prefixes.question, text, signal)) ?? fail(nonsense(model, 'no vector'))
    },
  }
}

const nonsense = (model: string, what: string) =>
  new AppError('upstream', `The embedding model ${model} answered with ${what}; take another one`)

function fail(error: AppError): never {
  throw error
}

/** Of length 1; undefined for a vector of zeros or of what is no number. */
function unit(vector: ArrayLike<number>): Float32Array | undefined {
  const length = Math.sqrt(Array.from(vector).reduce((sum, value) => sum + value * value, 0))
  return length > 0 && Number.isFinite(length)
    ? Float32Array.from(vector, (value) => value / length)
    : undefined
}

function mean(
  parts: readonly { vector: Float32Array | undefined; weight: number }[],
): Float32Array | undefined {
  const sum = new Float32Array(parts.find(({ vector }) => vector !== undefined)?.vector?.length ?? 0)
  for (const { vector, weight } of parts)
    for (const [index, value] of (vector ?? []).entries()) sum[index] = (sum[index] ?? 0) + value * weight
  return unit(sum)
}

/** Between two words where there are any, and never between the halves of one character. */
function middleOf(text: string): number {
  const half = text.length >> 1
  const space = text.lastIndexOf(' ', half)
  if (space > half / 2) return space
  return /[\udc00-\udfff]/.test(text.charAt(half)) ? half + 1 : half
}
