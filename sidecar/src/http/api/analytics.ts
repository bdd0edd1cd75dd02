/** Figures about use, speed and people, as JSON or CSV; and ratings from elsewhere than Open WebUI. */
import { Hono } from 'hono'
import { z } from 'zod'

import { toCsv } from '#analytics/csv.ts'
import { DIMENSIONS, FIGURES, USUAL_PERIOD_MS, type FigureName } from '#analytics/figures/figure.ts'
import { readMoment } from '#analytics/period.ts'
import type { Recorder } from '#analytics/recorder.ts'
import type { FigureDesk } from '#analytics/thread.ts'
import { AppError } from '#base/errors.ts'
import { reaches } from '#gateway/roles.ts'

import { check, readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'
import type { PromptParts } from './prompts.ts'

const name = z.string().max(200)

const Wish = z.object({
  from: z
    .string()
    .optional()
    .describe('2026-11-01, a moment as in ISO 8601, or milliseconds; default: 30 days before "to"'),
  to: z.string().optional().describe('As "from"; a day is included as a whole; default: now'),
  character: name.optional(),
  model: name.optional(),
  group: name.optional(),
  surface: z.enum(['open-webui', 'api']).optional(),
  key: name.optional().describe('Id of an API key'),
  by: z.enum(DIMENSIONS).optional().describe('What each row is about'),
  format: z.enum(['json', 'csv']).default('json'),
})

const NewRating = z.strictObject({
  request: name.describe('The x-request-id of the answer'),
  value: z.union([z.literal(1), z.literal(-1), z.literal(0)]).describe('Thumb up, thumb down, taken back'),
  source: name.optional(),
})

const SUMMARIES: Record<FigureName, string> = {
  overview: 'Use, speed, failures and cost over time, beside the period before',
  usage: 'The same for each character, version, model, surface, API key, group or kind of call',
  speed: 'Times to the first token and to the end, and where the time went',
  errors: 'Failures by their class',
  people: 'People of the day, the week and the month; new and returning ones',
  retention: 'Who of those first seen in a week came back later',
  lore: 'Entries of lorebooks: how often they were called up or had no room',
  knowledge: 'Documents: how often their passages were found and used',
  ratings: 'Thumbs and regenerated answers for each version of a character',
  costs: 'What models cost, by price or by power',
}

/** Numbers of people, not of calls. */
const ABOUT_PEOPLE: ReadonlySet<FigureName> = new Set(['people', 'retention'])

/** Who does not own the house learns nothing about fewer people. */
const SMALLEST_GROUP = 5

export const analyticsOperations: readonly Operation[] = [
  ...FIGURES.map((figure): Operation => ({
    method: 'get',
    path: `/${figure}`,
    summary: SUMMARIES[figure],
    query: Wish,
    may: ABOUT_PEOPLE.has(figure) ? 'admin' : 'viewer',
  })),
  {
    method: 'post',
    path: '/ratings',
    summary: 'Rates an answer',
    body: NewRating,
    status: 204,
    may: 'admin',
  },
]

export interface AnalyticsParts {
  figures: FigureDesk
  addRating: Recorder['addRating']
  findRecord: PromptParts['findRecord']
  now: () => number
}

export function analyticsRoutes(on: AnalyticsParts) {
  const routes = new Hono<AppEnv>()
  for (const figure of FIGURES)
    routes.get(`/${figure}`, async (c) => {
      const { from, to, format, ...filter } = check(Wish, c.req.query())
      const { calendar } = on.figures
      const toMs = to === undefined ? on.now() : readMoment(to, 'to', calendar)
      const fromMs = from === undefined ? toMs - USUAL_PERIOD_MS : readMoment(from, 'from', calendar)
      const smallest = reaches(c.var.principal.role, 'owner') ? null : SMALLEST_GROUP
      const mustBeWhole = format === 'csv'
      const made = await on.figures.figure({ figure, fromMs, toMs, ...filter, smallest, mustBeWhole })
      if (format === 'json') return c.json(made)
      c.header('content-type', 'text/csv; charset=utf-8')
      c.header('content-disposition', `attachment; filename="troupe-${figure}.csv"`)
      return c.body(toCsv(made))
    })
  return routes.post('/ratings', async (c) => {
    const { request, value, source = 'api' } = await readJson(NewRating, c.env.incoming)
    const record = await on.findRecord(request)
    if (record?.message == null)
      throw new AppError('not_found', 'There is no record with this id, or not yet', { param: 'request' })
    const { message } = record
    await on.addRating({ id: `api:${message}`, message, value, source, atMs: on.now() })
    return c.body(null, 204)
  })
}
