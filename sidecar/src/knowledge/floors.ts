/**
 * How near small talk comes to a base in the terms of a model. For one model 0.35 is near, for another 0.75 is far (the e5
 * family hardly goes below 0.7), so each is asked with some small talk of our own, and a question must be nearer than that.
 */
import type { Scope } from '#rag/scope.ts'
import type { VectorStore } from '#rag/vectors.ts'

import type { Embeddings } from './embeddings.ts'

export interface CalibratedBase {
  id: string
  generation: number
  fingerprint: string | null
  revision: number
}

export interface Floors {
  /** A cosine; the least one until the base was calibrated. */
  of(base: CalibratedBase): number
  /** Does nothing for a base that is calibrated already, or has no vectors. Throws as `Embeddings.question`. */
  calibrate(base: CalibratedBase, signal: AbortSignal): Promise<void>
}

/** Below it passages have hardly to do with a question in any model that is common on Ollama. */
const LEAST_FLOOR = 0.35
const FLOORS_KEPT = 1_000

const SMALL_TALK = [
  'Good to have you here, shall we chat a bit?',
  'I am doing fine, how about yourself?',
  'You make me laugh every single time.',
  'What a long day that was, I need a break.',
  'Do you think we will get along?',
  'Let us just sit here for a while.',
  '*yawns and stretches* So, what now?',
  'Okay, thanks a lot, talk to you soon!',
  'I really enjoy your company.',
  'Give me a minute, I am making tea.',
  'Wie war dein Tag?',
  '¿Qué te apetece hacer hoy?',
] as const

export function createFloors({
  vectors,
  embeddings,
}: {
  vectors: VectorStore | undefined
  embeddings: Embeddings
}): Floors {
  const known = new Map<string, number>()
  const keyOf = ({ id, revision, fingerprint }: CalibratedBase) => JSON.stringify([id, revision, fingerprint])

  async function nearest(
    text: string,
    { fingerprint, scope }: { fingerprint: string; scope: Scope },
    signal: AbortSignal,
  ) {
    const vector = await embeddings.question(text, fingerprint, signal)
    const hits = await vectors?.search({ fingerprint, scopes: [scope], vector, limit: 1 }, signal)
    return hits?.[0]?.similarity ?? 0
  }

  return {
    of: (base) => known.get(keyOf(base)) ?? LEAST_FLOOR,
    async calibrate(base, signal) {
      const { id, generation, fingerprint } = base
      if (vectors === undefined || fingerprint === null || known.has(keyOf(base))) return
      const on = { fingerprint, scope: { baseId: id, generation } }
      const similarities: number[] = []
      for (const text of SMALL_TALK) similarities.push(await nearest(text, on, signal))
      // One of them may be about what the base is about by chance.
      const [, second = 0] = similarities.sort((a, b) => b - a)
      if (known.size >= FLOORS_KEPT) known.clear()
      known.set(keyOf(base), Math.max(LEAST_FLOOR, second))
    },
  }
}
