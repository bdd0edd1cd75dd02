/** The exam of a base: questions with what should be found for them, asked again after every change. */
import { and, asc, desc, eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { ExamRanks } from '#store/exam-tables.ts'
import type { Store } from '#store/store.ts'

import { refuseUnfindable, squeeze } from './expected.ts'
import type { Retrieval } from './retrieval.ts'
import type { SearchIndex } from './search-index.ts'

export interface ExamQuestion {
  id: string
  baseId: string
  question: string
  quote: string
  documentName: string
  createdBy: string
  createdAtMs: number
}

export interface ExamRun {
  id: string
  atMs: number
  /** Of the model that took part; null where words alone answered. */
  fingerprint: string | null
  /** Of the questions that were answered, the share whose passage was among those that would stand in a prompt, 0 to 1. */
  hitRate: number
  /** Normalised discounted cumulative gain over the first ten, with one right passage for each question. */
  ndcg: number
  /** Questions that a search came too late for, or was away for: they say nothing about the base, and count nowhere. */
  unanswered: number
  questions: (Pick<ExamQuestion, 'id' | 'question' | 'documentName'> & {
    rank: number | null
    isUnanswered: boolean
    /** When it was last answered; absent for a question that never was. */
    rankBefore?: number | null
  })[]
}

export interface Exams {
  /** Oldest first. Throws AppError `not_found` for an unknown base. */
  questions(baseId: string): Promise<ExamQuestion[]>
  /** Throws AppError `not_found` for a base, or a document of it, that is not there; `invalid` for a quote that is not in it. */
  add(
    wish: Pick<ExamQuestion, 'baseId' | 'question' | 'quote' | 'documentName'>,
    by: { actor: string },
  ): Promise<ExamQuestion>
  /** Throws AppError `not_found`. */
  remove(baseId: string, id: string): Promise<void>
  /**
   * Asks every question. Throws AppError `not_found` for an unknown base, `conflict` for one in the trash, which would lose all
   * that it finds, `invalid` for an exam without any question, `unavailable` when none was answered in time,
   * `cancelled` when `signal` aborts.
   */
  run(baseId: string, signal: AbortSignal): Promise<ExamRun>
}

/** A person waits for the figure, not for a first token. */
const DEADLINE_MS = 5_000
/** nDCG@10 is what retrieval is compared by. */
const DEEPEST = 10
const QUOTE_CHARACTERS = 200

interface ExamParts {
  store: Store
  retrieval: Pick<Retrieval, 'retrieve'>
  index: Pick<SearchIndex, 'hasMeaning'>
  now: () => number
}

export function createExams({ store, retrieval, index, now }: ExamParts): Exams {
  const { examQuestions, examRuns } = store.t
  const questionsOf = (baseId: string): Promise<ExamQuestion[]> =>
    Promise.resolve(
      store.db
        .select()
        .from(examQuestions)
        .where(eq(examQuestions.baseId, baseId))
        .orderBy(asc(examQuestions.createdAtMs), asc(examQuestions.id)),
    )

  async function lastRanks(baseId: string): Promise<ExamRanks> {
    const [run] = await store.db
      .select({ ranks: examRuns.ranks })
      .from(examRuns)
      .where(eq(examRuns.baseId, baseId))
      .orderBy(desc(examRuns.atMs), desc(examRuns.id))
      .limit(1)
    return run?.ranks ?? {}
  }

  /** Undefined where it was not found and not all was searched: it may have been there. */
  async function rankOf(
    { baseId, question, quote }: ExamQuestion,
    signal: AbortSignal,
  ): Promise<number | null | undefined> {
    const asked = { text: question, baseIds: [baseId], deadlineMs: DEADLINE_MS }
    const { passages, trace } = await retrieval.retrieve(asked, signal)
    const wanted = squeeze(quote)
    const at = passages.findIndex(({ text }) => squeeze(text).includes(wanted))
    if (at >= 0) return at + 1
    return trace.notes.some(({ code }) => code !== 'unreadable') ? undefined : null
  }

  /** Throws AppError `not_found`. */
  async function baseOf(baseId: string) {
    const { knowledgeBases } = store.t
    const [base] = await store.db
      .select({ fingerprint: knowledgeBases.fingerprint, deletedAtMs: knowledgeBases.deletedAtMs })
      .from(knowledgeBases)
      .where(eq(knowledgeBases.id, baseId))
    if (base === undefined) throw new AppError('not_found', `There is no knowledge base "${baseId}"`)
    return base
  }

  return {
    async questions(baseId) {
      await baseOf(baseId)
      return questionsOf(baseId)
    },
    async add({ quote, ...wish }, { actor }) {
      await baseOf(wish.baseId)
      const row = {
        ...wish,
        id: createId(now()),
        quote: quoteOf(quote),
        createdBy: actor,
        createdAtMs: now(),
      }
      await refuseUnfindable(row, store)
      await store.atomically((db) => [db.insert(examQuestions).values(row)])
      return row
    },
    async remove(baseId, id) {
      if (!(await questionsOf(baseId)).some((each) => each.id === id))
        throw new AppError('not_found', `The exam of "${baseId}" has no question "${id}"`)
      const isIt = and(eq(examQuestions.baseId, baseId), eq(examQuestions.id, id))
      await store.atomically((db) => [db.delete(examQuestions).where(isIt)])
    },
    async run(baseId, signal) {
      const base = await baseOf(baseId)
      if (base.deletedAtMs !== null)
        throw new AppError('conflict', `The knowledge base "${baseId}" lies in the trash; restore it first`)
      const asked = await questionsOf(baseId)
      if (asked.length === 0)
        throw new AppError(
          'invalid',
          `The exam of "${baseId}" has no questions yet; add one with what it should find`,
        )
      const before = await lastRanks(baseId)
      const ranks: ExamRanks = {}
      const fingerprint = index.hasMeaning ? base.fingerprint : null
      for (const question of asked) {
        if (signal.aborted) throw new AppError('cancelled', 'The exam was stopped; nothing of it is kept')
        const rank = await rankOf(question, signal)
        if (rank !== undefined) ranks[question.id] = rank
      }
      const answered = Object.values(ranks)
      if (answered.length === 0)
        throw new AppError(
          'unavailable',
          `No question of the exam of "${baseId}" was answered in time; see what /readyz says of the searches`,
        )
      const figures = { id: createId(now()), atMs: now(), fingerprint, ...scores(answered) }
      // What was not answered is compared with the time before again.
      const known = { ...present(before, asked), ...ranks }
      await store.atomically((db) => [db.insert(examRuns).values({ ...figures, baseId, ranks: known })])
      return {
        ...{ ...figures, unanswered: asked.length - answered.length },
        questions: asked.map(({ id, question, documentName }) => ({
          ...{ id, question, documentName, rank: ranks[id] ?? null, isUnanswered: !(id in ranks) },
          ...(id in before && { rankBefore: before[id] ?? null }),
        })),
      }
    },
  }
}

/** Of questions that are still asked. */
const present = (ranks: ExamRanks, asked: readonly ExamQuestion[]): ExamRanks =>
  Object.fromEntries(asked.flatMap(({ id }) => (id in ranks ? [[id, ranks[id] ?? null]] : [])))

function scores(ranks: readonly (number | null)[]): { hitRate: number; ndcg: number } {
  const gains = ranks.map((rank) => (rank === null || rank > DEEPEST ? 0 : 1 / Math.log2(rank + 1)))
  const mean = (numbers: readonly number[]) => numbers.reduce((sum, each) => sum + each, 0) / ranks.length
  return { hitRate: mean(ranks.map((rank) => (rank === null ? 0 : 1))), ndcg: mean(gains) }
}

/** From the middle: the ends of a passage are what a new cut moves. */
function quoteOf(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim()
  if (line.length <= QUOTE_CHARACTERS) return line
  const from = line.indexOf(' ', Math.floor((line.length - QUOTE_CHARACTERS) / 2)) + 1
  const to = line.lastIndexOf(' ', from + QUOTE_CHARACTERS)
  return line.slice(from, to > from ? to : from + QUOTE_CHARACTERS)
}
