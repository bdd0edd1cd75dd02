/** From a turn to the passages that answer it. Never throws: a turn goes on without. */
import { createCache } from '#base/cache.ts'
import { toAppError } from '#base/errors.ts'
import { passageTokens } from '#prompt/passages.ts'
import { arrange, type Stretch } from '#rag/arrange.ts'
import { weightOf } from '#rag/fingerprint.ts'
import { fuse } from '#rag/fuse.ts'
import { decide } from '#rag/gate.ts'
import { NOTHING_FOUND, type LexicalResult } from '#rag/lexical.ts'
import { lookupsOf, passing, type Lookup } from '#rag/question.ts'
import type { Rerank } from '#rag/rerank.ts'
import type { Scope } from '#rag/scope.ts'
import type { Store } from '#store/store.ts'

import { createFloors } from './floors.ts'
import { firstOf, nearest, nearOnes, RANKED, rankings, type Found, type NearBy } from './found.ts'
import {
  labelOf,
  nothingFrom,
  traced,
  type FoundPiece,
  type Passage,
  type Question,
  type Retrieval,
  type RetrievalTrace,
  type Retrieved,
} from './retrieval.ts'
import type { SearchIndex } from './search-index.ts'
import { basesOf, censusOf, rowsOf, scopeOf, type Base } from './searchable.ts'
import { leg, within, type Leg } from './waiting.ts'
import { createWholeBases } from './whole-base.ts'

export interface RetrievalParts {
  store: Store
  index: SearchIndex
  rerank?: Rerank
  /** Of questions that name none; milliseconds. */
  deadlineMs?: number
  now: () => number
}

const BUDGET_CHARACTERS = 6_000
const DEADLINE_MS = 150
/** Of the deadline, what the searches may take: the rest is for the rows of what they found. */
const SEARCH_SHARE = 0.8
/** Of the joined ranking: what passages are made of, and what a reranker takes; more makes it worse (arXiv 2411.11767). */
const CANDIDATES = 30
const LOOKED_AT = 2 * CANDIDATES
const RESULTS_KEPT = 1_000
/** Some hundred searches, of which an index that has much to do takes long for each; begun again they would never end. */
const CALIBRATION_MS = 300_000

export function createRetrieval(on: RetrievalParts): Retrieval {
  const { store, index, rerank, now } = on
  const usualDeadlineMs = on.deadlineMs ?? DEADLINE_MS
  const results = createCache<Retrieved>('question', { most: RESULTS_KEPT })
  const wholes = createWholeBases(store)
  const { lexical, vectors, embeddings } = index
  const floors = createFloors({ lexical, census: censusOf(store), vectors, embeddings, now })
  const calibrating = new Set<string>()

  /** Beside the turn, once at a time for each base. */
  function calibrateBeside(base: Base): void {
    if (calibrating.has(base.id)) return
    calibrating.add(base.id)
    // What fails here fails in the turn as well, which says it.
    void floors
      .calibrate(base, AbortSignal.timeout(CALIBRATION_MS))
      .catch(() => undefined)
      .finally(() => calibrating.delete(base.id))
  }

  /** The words of each lookup. */
  async function byWords(lookups: readonly Lookup[], scopes: readonly Scope[]): Promise<LexicalResult[]> {
    return Promise.all(lookups.map(({ words }) => lexical.search({ scopes, words, limit: RANKED })))
  }

  /** The nearest of each lookup, by each of the models that bases were embedded with: while one changes, they are several. */
  async function byMeaning(
    lookups: readonly Lookup[],
    bases: readonly Base[],
    signal: AbortSignal,
  ): Promise<NearBy[][]> {
    if (vectors === undefined) return []
    const search = async (fingerprint: string, text: string): Promise<NearBy> => {
      if (weightOf(fingerprint, text) === 0) return { fingerprint, hits: [] }
      const vector = await embeddings.question(text, fingerprint, signal)
      const scopes = bases.filter((base) => base.fingerprint === fingerprint).map(scopeOf)
      return {
        fingerprint,
        hits: await vectors.search({ fingerprint, scopes, vector, limit: RANKED }, signal),
      }
    }
    const fingerprints = [...new Set(bases.flatMap(({ fingerprint }) => fingerprint ?? []))]
    return Promise.all(
      lookups.map(({ text }) => Promise.all(fingerprints.map((fingerprint) => search(fingerprint, text)))),
    )
  }

  async function search(
    question: Question,
    { bases, startedMs, signal }: { bases: readonly Base[]; startedMs: number; signal: AbortSignal },
  ): Promise<Retrieved> {
    const { text, previous, budgetCharacters = BUDGET_CHARACTERS, budgetTokens = Infinity } = question
    const lookups = lookupsOf(text, previous)
    const shareMs = (question.deadlineMs ?? usualDeadlineMs) * SEARCH_SHARE
    const deadlineMs = Math.max(1, shareMs - (now() - startedMs))
    const [words, meaning] = await Promise.all([
      leg<LexicalResult[]>('words', [], {
        run: () => byWords(lookups, bases.map(scopeOf)),
        deadlineMs,
        now,
      }),
      leg<NearBy[][]>('meaning', [], { run: () => byMeaning(lookups, bases, signal), deadlineMs, now }),
    ])
    const found = { words: words.value, meaning: meaning.value, floorOf: floorsOf(bases) }
    const gate = judge(lookups, bases, found)
    const fused = fuse(rankings(lookups, found)).slice(0, LOOKED_AT)
    const rows = await rowsOf(
      store,
      fused.map(({ id }) => id),
      bases,
    )
    const nearness = meaning.value.map((of) => of.map(({ hits }) => hits))
    const similarities = firstOf(nearness.flat())
    const ranked = fused.flatMap(({ id, score }): FoundPiece[] => {
      const row = rows.get(id)
      return row === undefined
        ? []
        : [{ ...row, score, similarity: similarities.get(id)?.similarity ?? null }]
    })
    const near = gate.passes ? nearOnes(ranked, found) : []
    const ordered = await reorder(text, near, signal)
    const { stretches, fates } = arrange(ordered.value, {
      characters: budgetCharacters,
      tokens: {
        most: budgetTokens,
        of: (piece) => passageTokens({ label: labelOf(piece), text: piece.text }),
      },
    })
    const unreadable = bases.some(
      ({ fingerprint }) => fingerprint !== null && weightOf(fingerprint, text) === 0,
    )
    return {
      passages: stretches.map((stretch) => passageOf(stretch, rows)),
      trace: {
        lookups,
        bases: bases.map(({ id }) => id),
        store: vectors?.kind ?? null,
        gate,
        pieces: traced(ranked, {
          words: firstOf(words.value.map(({ hits }) => hits)),
          meaning: similarities,
          fates: new Map([
            ...ranked.map(({ id }) => [id, gate.passes ? 'far' : 'gate'] as const),
            ...near.map(({ id }) => [id, 'behind'] as const),
            ...fates,
          ]),
        }),
        notes: [
          ...[words.note, meaning.note, ordered.note].filter((note) => note !== undefined),
          ...(unreadable ? [{ code: 'unreadable', what: 'meaning' } as const] : []),
        ],
        isCached: false,
        milliseconds: { words: words.ms, meaning: meaning.ms, rerank: ordered.ms, total: now() - startedMs },
      },
    }
  }

  /** What small talk like this reaches in any of the bases; undefined until all of them were tried. */
  function chanceOf(bases: readonly Base[], text: string): number | undefined {
    const chances = bases.map((base) => floors.chance(base, text))
    return chances.reduce(
      (most, each) => (most === undefined || each === undefined ? undefined : Math.max(most, each)),
      0,
    )
  }

  /** Of each model, what small talk reaches in any of the bases that it embedded. */
  function floorsOf(bases: readonly Base[]): ReadonlyMap<string, number> {
    const known = new Map<string, number>()
    for (const base of bases)
      if (base.fingerprint !== null)
        known.set(base.fingerprint, Math.max(known.get(base.fingerprint) ?? -1, floors.nearness(base)))
    return known
  }

  /** The first lookup that asks for anything and may decide does. */
  function judge(
    lookups: readonly Lookup[],
    bases: readonly Base[],
    on: Found,
  ): NonNullable<RetrievalTrace['gate']> {
    const verdicts = lookups.map((lookup, at) => {
      const near = nearest(on.meaning[at] ?? [], on.floorOf)
      const lexical = on.words[at] ?? NOTHING_FOUND
      const chance = chanceOf(bases, lookup.text)
      const verdict = decide({ ...lookup, lexical, ...near, ...(chance === undefined ? {} : { chance }) })
      return { ...verdict, similarity: near?.similarity ?? null, floor: near?.floor ?? null }
    })
    const nothing = {
      passes: false,
      reason: 'nothing found',
      strength: 0,
      coverage: 0,
      similarity: null,
      floor: null,
    } as const
    return passing(lookups, verdicts) ?? verdicts.find(({ passes }) => !passes) ?? nothing
  }

  async function reorder(
    text: string,
    ranked: readonly FoundPiece[],
    signal: AbortSignal,
  ): Promise<Leg<readonly FoundPiece[]>> {
    const first = ranked.slice(0, CANDIDATES)
    if (rerank === undefined || first.length < 2) return { value: first, ms: 0 }
    return leg<readonly FoundPiece[]>('rerank', first, {
      run: () => rerank.order(text, first, signal),
      deadlineMs: rerank.deadlineMs,
      now,
    })
  }

  async function answer(question: Question, startedMs: number, signal: AbortSignal): Promise<Retrieved> {
    const { text, previous, budgetCharacters = BUDGET_CHARACTERS, budgetTokens, wholeTokens } = question
    const bases = await basesOf(store, { ids: question.baseIds, hasMeaning: index.hasMeaning })
    if (bases.length === 0) return nothingFrom([])
    if (wholeTokens !== undefined && bases.every(({ isWhole }) => isWhole)) {
      const whole = await wholes.of(bases, { characters: budgetCharacters, tokens: wholeTokens })
      if (whole !== undefined) return { ...nothingFrom([]), whole }
    }
    for (const base of bases) calibrateBeside(base)
    const state = bases.map((base) => [
      ...[base.id, base.revision, base.fingerprint],
      ...[floors.nearness(base), floors.chance(base, text)],
    ])
    const key = JSON.stringify([state, text, previous, budgetCharacters, budgetTokens])
    const known = results.get(key)
    if (known !== undefined) {
      const milliseconds = { words: 0, meaning: 0, rerank: 0, total: now() - startedMs }
      return { ...known, trace: { ...known.trace, isCached: true, milliseconds } }
    }
    const found = await search(question, { bases, startedMs, signal })
    if (found.trace.notes.every(({ code }) => code === 'unreadable')) results.set(key, found)
    return found
  }

  return {
    async retrieve(question, signal = new AbortController().signal) {
      const startedMs = now()
      const mostMs = (question.deadlineMs ?? usualDeadlineMs) + (rerank?.deadlineMs ?? 0)
      try {
        return await within(mostMs, answer(question, startedMs, signal))
      } catch (thrown) {
        const { message } = toAppError(thrown)
        return nothingFrom([{ code: 'unavailable', what: 'passages', message }])
      }
    },

    async calibrate(baseIds, aborted) {
      for (const base of await basesOf(store, { ids: baseIds, hasMeaning: index.hasMeaning }))
        await floors.calibrate(base, aborted)
    },
  }
}

function passageOf(
  { ids, ...stretch }: Stretch,
  rows: ReadonlyMap<number, Pick<FoundPiece, 'documentName' | 'documentTitle'>>,
): Passage {
  const { documentName = '', documentTitle = '' } = rows.get(ids[0] ?? 0) ?? {}
  return { ...stretch, chunkIds: ids, documentName, documentTitle }
}
