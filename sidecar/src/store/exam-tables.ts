/** Questions that a base must be able to answer, and how it did each time it was asked. */
import type { Kit } from './kit.sqlite.ts'

/** The place of the passage that was looked for, from 1; null when it was not found. */
export type ExamRanks = Record<string, number | null>

export function defineExamTables(k: Kit) {
  const examQuestions = k.table(
    'exam_questions',
    {
      id: k.text('id').primaryKey(),
      baseId: k.text('base_id').notNull(),
      question: k.text('question').notNull(),
      /** Words of the document that a passage must hold to answer it: they outlive a new cut of the document. */
      quote: k.text('quote').notNull(),
      documentName: k.text('document_name').notNull(),
      createdBy: k.text('created_by').notNull(),
      createdAtMs: k.epochMs('created_at_ms').notNull(),
    },
    (t) => [k.index('exam_questions_base').on(t.baseId)],
  )

  const examRuns = k.table(
    'exam_runs',
    {
      id: k.text('id').primaryKey(),
      baseId: k.text('base_id').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
      /** Of the embedding model; null where words alone were searched. */
      fingerprint: k.text('fingerprint'),
      hitRate: k.float('hit_rate').notNull(),
      ndcg: k.float('ndcg').notNull(),
      ranks: k.json<ExamRanks>('ranks').notNull(),
    },
    (t) => [k.index('exam_runs_base').on(t.baseId, t.atMs)],
  )

  return { examQuestions, examRuns }
}
