/**
 * The figures of the dashboard. Each is made of roll-ups alone, says what it counted and what it left out, and is told to those
 * who may not see small groups without them. `docs/analytics.md` lists them.
 */
import { eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'

import type { MeasureName } from '../measures.ts'
import { byDimension } from './by-dimension.ts'
import { errors } from './errors.ts'
import type { Figure, FigureName, FigureParts, FigureQuery } from './figure.ts'
import { items } from './items.ts'
import { overTime } from './over-time.ts'
import { people } from './people.ts'
import { periodOf } from './period.ts'
import { retention } from './retention.ts'
import type { Context } from './rows.ts'

const USAGE: MeasureName[] = [
  ...(['calls', 'messages', 'chats', 'turnsPerChat', 'failed', 'cancelled', 'errorRate'] as const),
  ...([
    'promptTokens',
    'completionTokens',
    'reasoningTokens',
    'cacheShare',
    'firstTokenP50',
    'firstTokenP90',
  ] as const),
  ...(['totalP90', 'satisfaction', 'regenerateRate', 'cutRate', 'toolCalls', 'cost', 'leastPeople'] as const),
]
const SPEED: MeasureName[] = [
  ...([
    'messages',
    'firstTokenP50',
    'firstTokenP90',
    'firstTokenP99',
    'totalP50',
    'totalP90',
    'totalP99',
  ] as const),
  ...(['tokensPerSecond', 'timedCalls', 'queueShare', 'loadShare', 'prefillShare', 'decodeShare'] as const),
  ...(['queueP90', 'loadP90', 'coldCalls', 'cacheShare'] as const),
]
const RATINGS: MeasureName[] = ['messages', 'up', 'down', 'satisfaction', 'regenerated', 'regenerateRate']
const COSTS: MeasureName[] = ['calls', 'pricedCalls', 'promptTokens', 'completionTokens', 'cost']

/** Their rows may be about something else than usual. */
const WITH_ROWS_BY: ReadonlySet<FigureName> = new Set(['usage', 'speed', 'errors', 'ratings', 'costs'])

/** Throws AppError `invalid` for a filter or rows that a figure does not have. */
export async function makeFigure(query: FigureQuery, on: FigureParts): Promise<Figure> {
  if (query.fromMs >= query.toMs)
    throw new AppError('invalid', '"from" must be before "to"', { param: 'from' })
  if (query.by !== undefined && !WITH_ROWS_BY.has(query.figure))
    throw new AppError('invalid', `The rows of "${query.figure}" are always about the same; leave "by" out`, {
      param: 'by',
    })
  const [mark] = await on.store.db
    .select()
    .from(on.store.t.rollUpMarks)
    .where(eq(on.store.t.rollUpMarks.name, 'data'))
  const context = { ...on, query, period: periodOf(query, on.calendar), dataAsOfMs: mark?.atMs ?? 0 }
  return BUILDERS[query.figure](context)
}

const BUILDERS: Record<FigureName, (context: Context) => Promise<Figure>> = {
  overview: (context) => overTime(context, USAGE),
  usage: (context) => byDimension(context, USAGE, 'character'),
  speed: (context) =>
    context.query.by === undefined ? overTime(context, SPEED) : byDimension(context, SPEED, 'model'),
  errors,
  people,
  retention,
  lore: (context) => items(context, 'lore'),
  knowledge: (context) => items(context, 'document'),
  ratings: (context) => byDimension(context, RATINGS, 'version'),
  costs: (context) => byDimension(context, COSTS, 'model', 'all'),
}
