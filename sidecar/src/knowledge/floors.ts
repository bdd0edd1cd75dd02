/**
 * How near small talk comes to a base, by words and by meaning. Two rare words of a chat stand in one of 100,000 pieces by
 * chance, and hardly ever in one of six; for one model a cosine of 0.35 is near, for another 0.75 is far (the e5 family hardly
 * goes below 0.7). So each base is tried with small talk of our own, and a question must go beyond that.
 */
import { setTimeout as sleep } from 'node:timers/promises'

import { decide, isAsking } from '#rag/gate.ts'
import type { LexicalIndex } from '#rag/lexical.ts'
import { lookupsOf } from '#rag/question.ts'
import type { Scope } from '#rag/scope.ts'
import type { VectorStore } from '#rag/vectors.ts'

import type { Embeddings } from './embeddings.ts'
import { scriptOf, SMALL_TALK, SMALL_TALK_FOR_MODELS, type Script } from './small-talk.ts'

export interface CalibratedBase {
  id: string
  generation: number
  fingerprint: string | null
  revision: number
}

export interface Floors {
  /** A cosine: of the base as it is, or as it was when it was calibrated last; the least one until then. */
  nearness(base: CalibratedBase): number
  /**
   * The strength of words (see `decide`) that small talk like this text reaches, or did before the base changed; undefined until
   * the base was calibrated.
   */
  chance(base: CalibratedBase, text: string): number | undefined
  /**
   * Does nothing for a base that is calibrated already. Words and meaning are tried side by side, and either counts where the
   * other fails. Throws as `Embeddings.question`, `LexicalIndex.search` and the census.
   */
  calibrate(base: CalibratedBase, signal: AbortSignal): Promise<void>
}

/** How many pieces a base has, the newest id of them, and how many have a larger id than `after`. */
export type Census = (
  scope: Scope,
  after: number,
) => Promise<{ pieces: number; newest: number; since: number }>

interface FloorsParts {
  lexical: Pick<LexicalIndex, 'search'>
  census: Census
  vectors: VectorStore | undefined
  embeddings?: Embeddings
  now: () => number
}

/** Below it passages have hardly to do with a question in any model that is common on Ollama. */
const LEAST_FLOOR = 0.35
const FLOORS_KEPT = 1_000
/** Of the small talk of a language, what may come nearer: it may be about what the base is about by chance. */
const SPARED_SHARE = 0.05
/** A base of which less came or went is not tried again with words: it takes a search for each text. */
const CHANGED_SHARE = 0.25
/** Fewer texts say nothing about their kind. */
const FEWEST = 4

/** Small talk that asks shares other words with a base than small talk that tells. */
type Kind = `${Script} ${'asking' | 'telling'}`
type Chances = Readonly<Partial<Record<Kind, number>>>

interface Tried {
  revision: number
  pieces: number
  newest: number
  chances: Chances
}

/** Without vectors words alone are tried. */
export function createFloors({ lexical, census, vectors, embeddings, now }: FloorsParts): Floors {
  const nearnesses = new Map<string, { revision: number; floor: number }>()
  const tries = new Map<string, Tried>()
  const meaningKey = ({ id, fingerprint }: CalibratedBase) => JSON.stringify([id, fingerprint])

  async function strengthOf(text: string, scope: Scope): Promise<number> {
    const [{ words } = { words: [] }] = lookupsOf(text, undefined)
    const found = await lexical.search({ scopes: [scope], words, limit: 5 })
    return decide({ text, words, lexical: found }).strength
  }

  /** The largest of all languages of the script: what else it may be in is not known. */
  async function tryWords(scope: Scope, signal: AbortSignal): Promise<Chances> {
    const known: Partial<Record<Kind, number>> = {}
    for (const script of Object.keys(SMALL_TALK) as Script[])
      for (const texts of SMALL_TALK[script]) {
        for (const isQuestion of [true, false]) {
          const strengths: number[] = []
          for (const text of texts.filter((each) => isAsking(each) === isQuestion)) {
            const startedMs = now()
            strengths.push(await strengthOf(text, scope))
            // Turns search in the same index: they get half of it.
            await sleep(now() - startedMs, undefined, { signal })
          }
          const kind: Kind = `${script} ${isQuestion ? 'asking' : 'telling'}`
          if (strengths.length >= FEWEST) known[kind] = Math.max(known[kind] ?? 0, highOf(strengths))
        }
      }
    return known
  }

  async function tryAgain(base: CalibratedBase, scope: Scope, signal: AbortSignal): Promise<void> {
    const { id, revision } = base
    const before = tries.get(id)
    if (before?.revision === revision) return
    const { pieces, newest, since } = await census(scope, before?.newest ?? 0)
    const gone = (before?.pieces ?? 0) + since - pieces
    // Compared with what was tried, however often a little of it has changed since.
    if (before !== undefined && since + gone <= CHANGED_SHARE * before.pieces)
      keep(tries, id, { ...before, revision })
    else keep(tries, id, { revision, pieces, newest, chances: await tryWords(scope, signal) })
  }

  async function tryMeaning(base: CalibratedBase, scope: Scope, signal: AbortSignal): Promise<void> {
    const { fingerprint } = base
    if (vectors === undefined || embeddings === undefined) return
    if (fingerprint === null || nearnesses.get(meaningKey(base))?.revision === base.revision) return
    const similarities: number[] = []
    for (const text of SMALL_TALK_FOR_MODELS) {
      const vector = await embeddings.question(text, fingerprint, signal)
      const hits = await vectors.search({ fingerprint, scopes: [scope], vector, limit: 1 }, signal)
      similarities.push(hits[0]?.similarity ?? 0)
    }
    const floor = Math.max(LEAST_FLOOR, highOf(similarities))
    keep(nearnesses, meaningKey(base), { revision: base.revision, floor })
  }

  return {
    nearness: (base) => nearnesses.get(meaningKey(base))?.floor ?? LEAST_FLOOR,
    chance(base, text) {
      const script = scriptOf(text)
      const known = tries.get(base.id)
      return script === undefined
        ? undefined
        : known?.chances[`${script} ${isAsking(text) ? 'asking' : 'telling'}`]
    },
    async calibrate(base, signal) {
      const scope = { baseId: base.id, generation: base.generation }
      const tried = await Promise.allSettled([tryAgain(base, scope, signal), tryMeaning(base, scope, signal)])
      const failed = tried.find((each) => each.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    },
  }
}

/** Never the highest itself. */
function highOf(values: readonly number[]): number {
  const spared = Math.max(1, Math.ceil(SPARED_SHARE * values.length) - 1)
  return values.toSorted((a, b) => b - a)[spared] ?? 0
}

function keep<T>(known: Map<string, T>, key: string, value: T): void {
  known.delete(key)
  known.set(key, value)
  const [oldest] = known.keys()
  if (known.size > FLOORS_KEPT && oldest !== undefined) known.delete(oldest)
}
