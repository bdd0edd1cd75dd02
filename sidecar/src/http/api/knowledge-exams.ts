/** What a base finds: one question with everything that led to its passages, and the exam. */
import { Hono } from 'hono'
import { z } from 'zod'

import { tryLookUp, type TryingParts } from '#chat/trying.ts'
import type { Exams } from '#knowledge/exam.ts'

import { readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { goneSignal } from '../gone.ts'
import type { Operation } from '../openapi.ts'

const QUESTION_CHARACTERS = 4_000

const question = z.string().trim().min(1).max(QUESTION_CHARACTERS)

const Test = z
  .object({
    question,
    /** The question before, for one that leans on it. */
    previous: z.string().max(QUESTION_CHARACTERS).optional(),
    /** Looks into what this character may look into. */
    character: z.string().optional(),
    /** Or into these bases. */
    bases: z.array(z.string()).min(1).max(100).optional(),
  })
  .refine(({ character, bases }) => character !== undefined || bases !== undefined, {
    error: 'name it, or the "bases" to look into',
    path: ['character'],
  })
  .refine(({ character, bases }) => character === undefined || bases === undefined, {
    error: 'it and "bases" are both named; name the one to look into',
    path: ['character'],
  })

const Added = z.object({
  question,
  /** Words of the document that answer it. */
  quote: z.string().trim().min(8).max(20_000),
  document: z.string().min(1),
})

export const knowledgeTestOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/',
    summary: 'What would be found for a question, and why',
    may: 'editor',
    body: Test,
  },
]
export const examOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/:base',
    summary: 'The questions of a base that it must find something for',
    may: 'viewer',
  },
  {
    method: 'post',
    path: '/:base',
    summary: 'One more question, with what should be found',
    may: 'editor',
    body: Added,
    status: 201,
    audit: ['exam_add', 'knowledge :base'],
  },
  {
    method: 'delete',
    path: '/:base/:question',
    summary: 'One question less',
    may: 'editor',
    status: 204,
    audit: ['exam_remove', 'knowledge :base'],
  },
  {
    method: 'post',
    path: '/:base/run',
    summary: 'Asks them all; hit rate, nDCG and what changed since the last time',
    may: 'editor',
  },
]

export interface ExamRouteParts extends TryingParts {
  exams: Exams
}

export function knowledgeTestRoutes(on: TryingParts) {
  return new Hono<AppEnv>().post('/', async (c) => {
    const { question: text, previous, character = '', bases } = await readJson(Test, c.env.incoming)
    const trial = {
      ...{ text, ...(previous !== undefined && { previous }) },
      in: bases === undefined ? { character } : { bases },
    }
    return c.json(await tryLookUp(trial, on, goneSignal(c.env.outgoing)))
  })
}

export function examRoutes(on: Pick<ExamRouteParts, 'exams'>) {
  return new Hono<AppEnv>()
    .get('/:base', async (c) => c.json({ questions: await on.exams.questions(c.req.param('base')) }))
    .post('/:base', async (c) => {
      const wish = await readJson(Added, c.env.incoming)
      const added = await on.exams.add(
        {
          baseId: c.req.param('base'),
          question: wish.question,
          quote: wish.quote,
          documentName: wish.document,
        },
        { actor: c.var.principal.name },
      )
      return c.json(added, 201)
    })
    .delete('/:base/:question', async (c) => {
      await on.exams.remove(c.req.param('base'), c.req.param('question'))
      return c.body(null, 204)
    })
    .post('/:base/run', async (c) =>
      c.json(await on.exams.run(c.req.param('base'), goneSignal(c.env.outgoing))),
    )
}
