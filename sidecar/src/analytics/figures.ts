/**
 * The figures of the dashboard. Each is made of roll-ups alone, says what it counted and what it left out, and is told to those
 * who may not see small groups without them. `docs/analytics.md` lists them.
 */
import { and, asc, between, desc, eq, gte, lt, or, sql } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import type { Cell } from '#store/cell.ts'
import type { Store } from '#store/store.ts'

import { hideSmall, roundCell, roundCount, type Group } from './anonymity.ts'
import { DAY_MS, type Calendar, type Grain } from './calendar.ts'
import { emptyCell, leastPeople, mergeCell, sumOf } from './cell.ts'
import { MEASURES, type Measure, type MeasureName, type Value } from './measures.ts'
import { ALL, type Dimensions } from './roll-up.ts'

export const FIGURES = [
  'overview',
  'usage',
  'speed',
  'errors',
  'people',
  'retention',
  'lore',
  'knowledge',
  'ratings',
  'costs',
] as const
export type FigureName = (typeof FIGURES)[number]

export const DIMENSIONS = ['character', 'version', 'model', 'surface', 'group', 'kind'] as const
export type Dimension = (typeof DIMENSIONS)[number]

export interface FigureQuery {
  figure: FigureName
  fromMs: number
  toMs: number
  character?: string | undefined
  model?: string | undefined
  group?: string | undefined
  surface?: string | undefined
  /** What each row of `usage`, `errors`, `ratings` and `costs` is about. */
  by?: Dimension | undefined
  /** What leaves the house has to have everything that was recorded: a standby is not asked. */
  mustBeWhole?: boolean
  /** Groups of fewer people are not told of, and counts are rounded to multiples of it; null tells everything. */
  smallest: number | null
}

export interface Column {
  key: string
  unit: Measure['unit'] | 'name' | 'time'
  means: string
}

export interface Base {
  /** Calls that the figure is made of. */
  n: number
  /** Whole hours, days or months around what was asked for. */
  fromMs: number
  toMs: number
  grain: Grain
  timeZone: string
  /** Everything recorded until then is in it. */
  dataAsOfMs: number
  excludes: string[]
  /** Rows that are about too few people to be told of one by one. */
  hidden: number
  /** What counts are rounded to; null for exact ones. */
  roundedTo: number | null
  /** Where there is a standby: which of the two was asked, and how far the standby is behind; null when it does not answer. */
  source?: 'primary' | 'replica'
  replicaLagMs?: number | null
}

export interface Figure {
  figure: FigureName
  base: Base
  columns: Column[]
  rows: Record<string, Value>[]
  /** All rows together; null where they cannot be added, or are about too few people. */
  total: Record<string, Value> | null
  /** The same for the period before, of the same length. */
  previous?: Record<string, Value> | null
}

export interface FigureParts {
  store: Store
  calendar: Calendar
  now: () => number
}

/** Up to here a figure is told by the hour, or by the day. */
const LONGEST_HOURLY_MS = 2 * DAY_MS
const LONGEST_DAILY_MS = 100 * DAY_MS

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

interface Context extends FigureParts {
  query: FigureQuery
  period: Period
  dataAsOfMs: number
}

interface Period {
  fromMs: number
  toMs: number
  grain: Grain
}

/** Throws AppError `invalid` for a filter that a figure does not have. */
export async function makeFigure(query: FigureQuery, on: FigureParts): Promise<Figure> {
  if (query.fromMs >= query.toMs)
    throw new AppError('invalid', '"from" must be before "to"', { param: 'from' })
  const [mark] = await on.store.db
    .select()
    .from(on.store.t.rollUpMarks)
    .where(eq(on.store.t.rollUpMarks.name, 'data'))
  const context = { ...on, query, period: periodOf(query, on.calendar), dataAsOfMs: mark?.atMs ?? 0 }
  return BUILDERS[query.figure](context)
}

function periodOf({ fromMs, toMs, smallest }: FigureQuery, calendar: Calendar): Period {
  const length = toMs - fromMs
  // Who may not see small groups does not see hours either.
  const isHourly = length <= LONGEST_HOURLY_MS && smallest === null
  const step = isHourly ? 'hour' : 'day'
  const start = calendar.startOf(step, fromMs)
  const last = calendar.startOf(step, toMs)
  return {
    fromMs: start,
    toMs: last === toMs ? last : calendar.next(step, last),
    grain: isHourly ? 'hour' : length <= LONGEST_DAILY_MS ? 'day' : 'month',
  }
}

type Row = Dimensions & { grain: string; atMs: number; cell: Cell }

interface Range {
  grain: Grain
  fromMs: number
  toMs: number
}

/** The fewest roll-ups that make up a period: whole months, and days at its ends. */
function coverOf({ fromMs, toMs, grain }: Period, calendar: Calendar): Range[] {
  if (grain === 'hour') return [{ grain, fromMs, toMs }]
  const firstMonth = calendar.startOf('month', fromMs) === fromMs ? fromMs : calendar.next('month', fromMs)
  const lastMonth = calendar.startOf('month', toMs)
  if (firstMonth >= lastMonth) return [{ grain: 'day', fromMs, toMs }]
  const ranges: Range[] = [
    { grain: 'day', fromMs, toMs: firstMonth },
    { grain: 'month', fromMs: firstMonth, toMs: lastMonth },
    { grain: 'day', fromMs: lastMonth, toMs },
  ]
  return ranges.filter((range) => range.fromMs < range.toMs)
}

const everyDay = ({ fromMs, toMs, grain }: Period): Range[] => [
  { grain: grain === 'hour' ? 'hour' : 'day', fromMs, toMs },
]

interface Wish {
  ranges: readonly Range[]
  /** Turns of people, or everything that asks a model. */
  kinds: 'turns' | 'all'
  /** One row for each group instead of one for all. */
  byGroup?: boolean
}

async function load({ store, query }: Context, { ranges, kinds, byGroup = false }: Wish): Promise<Row[]> {
  const { rollUps: t } = store.t
  const { character, model, group, surface } = query
  const some = ranges.map(({ grain, fromMs, toMs }) =>
    and(eq(t.grain, grain), gte(t.atMs, fromMs), lt(t.atMs, toMs)),
  )
  return store.db
    .select()
    .from(t)
    .where(
      and(
        or(...some),
        byGroup ? sql`${t.groupName} <> ${ALL}` : eq(t.groupName, group ?? ALL),
        kinds === 'turns' ? eq(t.kind, 'turn') : undefined,
        character === undefined ? undefined : eq(t.characterId, character),
        model === undefined ? undefined : eq(t.baseModel, model),
        surface === undefined ? undefined : eq(t.surface, surface),
      ),
    )
}

function groupBy<T>(rows: readonly Row[], keyOf: (row: Row) => T, nameOf: (key: T) => string): Group<T>[] {
  const groups = new Map<string, Group<T>>()
  for (const row of rows) {
    const key = keyOf(row)
    const name = nameOf(key)
    const group = groups.get(name) ?? { key, cell: emptyCell() }
    mergeCell(group.cell, row.cell)
    groups.set(name, group)
  }
  return [...groups.values()]
}

function together(rows: readonly Row[]): Cell {
  const cell = emptyCell()
  for (const row of rows) mergeCell(cell, row.cell)
  return cell
}

function measured(cell: Cell, names: readonly MeasureName[], smallest: number | null): Record<string, Value> {
  const told = smallest === null ? cell : roundCell(cell, smallest)
  return Object.fromEntries(names.map((name) => [name, MEASURES[name].of(told)]))
}

/** Null for a total of too few people. */
const totalOf = (cell: Cell, names: readonly MeasureName[], smallest: number | null) =>
  isTooSmall(cell, smallest) ? null : measured(cell, names, smallest)

const isTooSmall = (cell: Cell, smallest: number | null): boolean =>
  smallest !== null && leastPeople(cell) < smallest

function baseOf(context: Context, n: number, excludes: string[], hidden = 0): Base {
  const { query, period, calendar, dataAsOfMs } = context
  return {
    n: query.smallest === null ? n : roundCount(n, query.smallest),
    ...period,
    timeZone: calendar.timeZone,
    dataAsOfMs,
    excludes,
    hidden,
    roundedTo: query.smallest,
  }
}

const columnsOf = (names: readonly MeasureName[]): Column[] =>
  names.map((key) => ({ key, unit: MEASURES[key].unit, means: MEASURES[key].means }))

const AT: Column = { key: 'atMs', unit: 'time', means: 'Beginning of the hour, day or month' }
const ONLY_TURNS = 'titles, tags and other tasks of Open WebUI; embeddings'
const NO_FAILURES = 'failed and cancelled calls, in times'

/** One row for each hour, day or month. */
async function overTime(context: Context, names: MeasureName[]): Promise<Figure> {
  const { query, period, calendar } = context
  const ranges = period.grain === 'month' ? coverOf(period, calendar) : everyDay(period)
  const rows = await load(context, { ranges, kinds: 'turns' })
  const steps = new Map(
    groupBy(rows, ({ atMs }) => calendar.startOf(period.grain, atMs), String).map(({ key, cell }) => [
      key,
      cell,
    ]),
  )
  const all = together(rows)
  let hidden = 0
  const told: Record<string, Value>[] = []
  for (
    let atMs = calendar.startOf(period.grain, period.fromMs);
    atMs < period.toMs;
    atMs = calendar.next(period.grain, atMs)
  ) {
    const cell = steps.get(atMs) ?? emptyCell()
    const isHidden = sumOf(cell, 'calls') > 0 && isTooSmall(cell, query.smallest)
    if (isHidden) hidden += 1
    const values = isHidden
      ? Object.fromEntries(names.map((name) => [name, null]))
      : measured(cell, names, query.smallest)
    told.push({ atMs, ...values })
  }
  const length = period.toMs - period.fromMs
  const before = periodOf({ ...query, fromMs: period.fromMs - length, toMs: period.fromMs }, calendar)
  const earlier = together(await load(context, { ranges: coverOf(before, calendar), kinds: 'turns' }))
  return {
    figure: query.figure,
    base: baseOf(context, sumOf(all, 'calls'), [ONLY_TURNS, NO_FAILURES], hidden),
    columns: [AT, ...columnsOf(names)],
    rows: told,
    total: totalOf(all, names, query.smallest),
    previous: totalOf(earlier, names, query.smallest),
  }
}

const KEYS: Record<Dimension, { key: (row: Row) => Record<string, Value>; columns: Column[] }> = {
  character: {
    key: ({ characterId }) => ({ character: characterId }),
    columns: [{ key: 'character', unit: 'name', means: 'Id of the character; empty for base models' }],
  },
  version: {
    key: ({ characterId, characterVersion }) => ({ character: characterId, version: characterVersion }),
    columns: [
      { key: 'character', unit: 'name', means: 'Id of the character' },
      { key: 'version', unit: 'name', means: 'Version that answered' },
    ],
  },
  model: {
    key: ({ baseModel }) => ({ model: baseModel }),
    columns: [{ key: 'model', unit: 'name', means: 'Base model; empty where no model was asked' }],
  },
  surface: {
    key: ({ surface }) => ({ surface }),
    columns: [{ key: 'surface', unit: 'name', means: 'Where it was asked: Open WebUI or the API' }],
  },
  group: {
    key: ({ groupName }) => ({ group: groupName }),
    columns: [{ key: 'group', unit: 'name', means: 'A group of Open WebUI; who is in two counts in both' }],
  },
  kind: {
    key: ({ kind }) => ({ kind }),
    columns: [{ key: 'kind', unit: 'name', means: 'turn of a person, task of Open WebUI, or embedding' }],
  },
}

const OTHERS = '(others)'

/** One row for each character, model and so on. */
async function byDimension(
  context: Context,
  names: MeasureName[],
  usual: Dimension,
  kinds: Wish['kinds'] = 'turns',
): Promise<Figure> {
  const { query, period, calendar } = context
  const by = query.by ?? usual
  const { key, columns } = KEYS[by]
  const ranges = coverOf(period, calendar)
  const rows = await load(context, { ranges, kinds, byGroup: by === 'group' && query.group === undefined })
  const groups = groupBy(rows, key, JSON.stringify)
  const all = by === 'group' ? undefined : together(rows)
  const { shown, others, hidden } =
    query.smallest === null
      ? { shown: groups, others: undefined, hidden: 0 }
      : hideSmall(groups, query.smallest)
  const told = shown
    .sort((a, b) => sumOf(b.cell, 'calls') - sumOf(a.cell, 'calls'))
    .map((group) => ({ ...group.key, ...measured(group.cell, names, query.smallest) }))
  const rest = others && {
    ...Object.fromEntries(columns.map((column) => [column.key, OTHERS])),
    ...measured(others, names, query.smallest),
  }
  const calls = rows.reduce((sum, { cell }) => sum + sumOf(cell, 'calls'), 0)
  return {
    figure: query.figure,
    base: baseOf(
      context,
      calls,
      [
        ...(kinds === 'turns' ? [ONLY_TURNS] : []),
        ...(by === 'group' ? ['calls of people whose groups are not known'] : []),
      ],
      hidden,
    ),
    columns: [...columns, ...columnsOf(names)],
    rows: rest === undefined ? told : [...told, rest],
    total: all === undefined ? null : totalOf(all, names, query.smallest),
  }
}

async function errors(context: Context): Promise<Figure> {
  const { query, period, calendar } = context
  const by = query.by ?? 'kind'
  const { key, columns } = KEYS[by]
  const rows = await load(context, {
    ranges: coverOf(period, calendar),
    kinds: 'all',
    byGroup: by === 'group',
  })
  const groups = groupBy(rows, key, JSON.stringify)
  const { shown, hidden } =
    query.smallest === null ? { shown: groups, hidden: 0 } : hideSmall(groups, query.smallest)
  const told = shown.flatMap((group) => {
    const cell = query.smallest === null ? group.cell : roundCell(group.cell, query.smallest)
    return Object.entries(cell.errors ?? {})
      .filter(([, failures]) => failures > 0)
      .map(([error, failures]) => ({
        ...group.key,
        error,
        failures,
        share: failures / Math.max(1, sumOf(cell, 'calls')),
      }))
  })
  const all = together(rows)
  return {
    figure: query.figure,
    base: baseOf(context, sumOf(all, 'calls'), [], hidden),
    columns: [
      ...columns,
      { key: 'error', unit: 'name', means: 'Class of the failure; "cancelled" is a client that left' },
      { key: 'failures', unit: 'count', means: 'Calls that ended so' },
      { key: 'share', unit: 'share', means: 'Of all calls of the row' },
    ],
    rows: told.sort((a, b) => b.failures - a.failures),
    total: totalOf(all, ['calls', 'failed', 'cancelled', 'errorRate'], query.smallest),
  }
}

function refuse(query: FigureQuery, name: 'model' | 'surface' | 'group', why: string): void {
  if (query[name] !== undefined)
    throw new AppError('invalid', `"${query.figure}" cannot be filtered by ${name}: ${why}`, { param: name })
}

const NO_MODEL = 'people are counted by character and group only'

async function people(context: Context): Promise<Figure> {
  const { store, query, period, calendar } = context
  refuse(query, 'model', NO_MODEL)
  refuse(query, 'surface', NO_MODEL)
  const { peopleRollUps: t } = store.t
  const rows = await store.db
    .select()
    .from(t)
    .where(
      and(
        eq(t.characterId, query.character ?? ALL),
        eq(t.groupName, query.group ?? ALL),
        gte(t.dayMs, period.fromMs),
        lt(t.dayMs, period.toMs),
      ),
    )
    .orderBy(asc(t.dayMs))
  const of = new Map(rows.map((row) => [row.dayMs, row]))
  const tell = (count: number) => tellPeople(count, query.smallest)
  const told: Record<string, Value>[] = []
  let hidden = 0
  for (
    let dayMs = period.fromMs;
    dayMs < Math.min(period.toMs, context.now());
    dayMs = calendar.next('day', dayMs)
  ) {
    const { day = 0, week = 0, month = 0, fresh = 0 } = of.get(dayMs) ?? {}
    const [daily, monthly] = [tell(day), tell(month)]
    const [news, returning] = [tell(fresh), tell(day - fresh)]
    if (daily === null && day > 0) hidden += 1
    told.push({
      ...{ atMs: dayMs, daily, weekly: tell(week), monthly },
      stickiness: daily === null || !monthly ? null : daily / monthly,
      // Both or none: one of them is the other less the whole day.
      fresh: returning === null ? null : news,
      returning: news === null ? null : returning,
    })
  }
  return {
    figure: 'people',
    base: {
      ...baseOf(
        context,
        rows.reduce((sum, { day }) => sum + day, 0),
        ['calls that name nobody, e.g. by API keys', ONLY_TURNS],
        hidden,
      ),
      grain: 'day',
    },
    columns: [
      { ...AT, means: 'Beginning of the day' },
      { key: 'daily', unit: 'people', means: 'Different people who asked something on this day' },
      { key: 'weekly', unit: 'people', means: 'In the seven days that end with this one' },
      { key: 'monthly', unit: 'people', means: 'In the thirty days that end with this one' },
      { key: 'stickiness', unit: 'share', means: 'People of the day among those of the thirty days' },
      { key: 'fresh', unit: 'people', means: 'Never seen before, as long as pseudonyms are kept' },
      { key: 'returning', unit: 'people', means: 'The other people of the day' },
    ],
    rows: told,
    total: null,
  }
}

function tellPeople(count: number, smallest: number | null): number | null {
  if (smallest === null || count === 0) return count
  return count < smallest ? null : roundCount(count, smallest)
}

async function retention(context: Context): Promise<Figure> {
  const { store, query, period, calendar } = context
  refuse(query, 'model', NO_MODEL)
  refuse(query, 'surface', NO_MODEL)
  const { cohortRollUps: t } = store.t
  const rows = await store.db
    .select()
    .from(t)
    .where(
      and(
        eq(t.characterId, query.character ?? ALL),
        eq(t.groupName, query.group ?? ALL),
        gte(t.cohortMs, calendar.startOf('week', period.fromMs)),
        lt(t.cohortMs, period.toMs),
      ),
    )
    .orderBy(asc(t.cohortMs), asc(t.weekMs))
  const sizes = new Map(
    rows.filter(({ weekMs, cohortMs }) => weekMs === cohortMs).map((row) => [row.cohortMs, row.people]),
  )
  let hidden = 0
  const told = rows.flatMap(({ cohortMs, weekMs, people: count }) => {
    const size = tellPeople(sizes.get(cohortMs) ?? 0, query.smallest)
    const back = tellPeople(count, query.smallest)
    if (size === null || back === null) {
      hidden += 1
      return []
    }
    const week = Math.round((weekMs - cohortMs) / (7 * DAY_MS))
    return [{ cohortMs, week, size, people: back, share: size === 0 ? null : Math.min(1, back / size) }]
  })
  return {
    figure: 'retention',
    base: {
      ...baseOf(
        context,
        [...sizes.values()].reduce((sum, size) => sum + size, 0),
        ['calls that name nobody'],
        hidden,
      ),
      grain: 'day',
    },
    columns: [
      { key: 'cohortMs', unit: 'time', means: 'Beginning of the week in which these people were first seen' },
      { key: 'week', unit: 'count', means: 'How many weeks later' },
      { key: 'size', unit: 'people', means: 'People first seen in that week' },
      { key: 'people', unit: 'people', means: 'Those of them who asked something in the later week' },
      { key: 'share', unit: 'share', means: 'Of the people first seen in that week' },
    ],
    rows: told,
    total: null,
  }
}

/** Entries of lorebooks, or documents. */
async function items(context: Context, kind: 'lore' | 'document'): Promise<Figure> {
  const { store, query, period, calendar } = context
  const why = 'lore and documents are counted by character only'
  for (const name of ['model', 'surface', 'group'] as const) refuse(query, name, why)
  const { itemRollUps: t } = store.t
  const daily = period.grain === 'hour' ? { ...period, grain: 'day' as const } : period
  const ranges = coverOf(
    {
      ...daily,
      fromMs: calendar.startOf('day', period.fromMs),
      toMs: calendar.startOf('day', period.toMs - 1) + DAY_MS,
    },
    calendar,
  )
  const sum = (column: typeof t.used) => sql<number>`sum(${column})`.mapWith(Number)
  const rows = await store.db
    .select({
      ...{ character: t.characterId, item: t.item, used: sum(t.used), dropped: sum(t.dropped) },
      tokens: sql<number>`sum(${t.tokens})`.mapWith(Number),
      scoreSum: sql<number>`sum(${t.scoreSum})`.mapWith(Number),
    })
    .from(t)
    .where(
      and(
        eq(t.kind, kind),
        query.character === undefined ? undefined : eq(t.characterId, query.character),
        or(
          ...ranges.map((range) =>
            and(eq(t.grain, range.grain), between(t.atMs, range.fromMs, range.toMs - 1)),
          ),
        ),
      ),
    )
    .groupBy(t.characterId, t.item)
    .orderBy(desc(sql`sum(${t.used})`))
    .limit(MOST_ITEMS)
  const calls = together(await load(context, { ranges: coverOf(period, calendar), kinds: 'turns' }))
  const k = query.smallest
  const shown = k === null ? rows : rows.filter(({ used, dropped }) => used + dropped >= k)
  const tell = (value: number) => (k === null ? value : roundCount(value, k))
  const names: MeasureName[] =
    kind === 'lore' ? ['calls', 'loreRate', 'loreTokens'] : ['calls', 'searches', 'knowledgeRate']
  return {
    figure: query.figure,
    base: baseOf(
      context,
      sumOf(calls, 'calls'),
      [`all but the ${String(MOST_ITEMS)} most used`],
      rows.length - shown.length,
    ),
    columns: [
      { key: 'character', unit: 'name', means: 'Id of the character' },
      ...(kind === 'lore' ? LORE_COLUMNS : DOCUMENT_COLUMNS),
    ],
    rows: shown.map(({ character, item, used, dropped, tokens, scoreSum }) =>
      kind === 'lore'
        ? {
            character,
            entry: item,
            used: tell(used),
            dropped: tell(dropped),
            tokens: k === null ? tokens : Math.round(tokens / Math.max(1, used)) * tell(used),
          }
        : {
            character,
            document: item,
            used: tell(used),
            unused: tell(dropped),
            score: scoreSum / Math.max(1, used + dropped),
          },
    ),
    total: totalOf(calls, names, k),
  }
}

const MOST_ITEMS = 500
const LORE_COLUMNS: Column[] = [
  { key: 'entry', unit: 'name', means: 'Name of the entry' },
  { key: 'used', unit: 'count', means: 'Prompts that it stood in' },
  { key: 'dropped', unit: 'count', means: 'Prompts that had no room for it' },
  { key: 'tokens', unit: 'tokens', means: 'Tokens that it took, as estimated' },
]
const DOCUMENT_COLUMNS: Column[] = [
  { key: 'document', unit: 'name', means: 'Id of the document' },
  { key: 'used', unit: 'count', means: 'Passages of it that stood in prompts' },
  { key: 'unused', unit: 'count', means: 'Passages that were found and left out' },
  { key: 'score', unit: 'share', means: 'Mean score of its passages' },
]

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

/** Long enough for a look at the house; the default of doors that ask for no period. */
export const USUAL_PERIOD_MS = 30 * DAY_MS
