/** The first row of the page: one number of each kind, with what it is made of and how it was before. */
import { counted } from '../words.ts'
import { elapsedOf, numberOf, type Base, type Figure, type Row } from './figure.ts'
import { seriesOf, type Series } from './series.ts'
import { changeOf, duration, FEW, large, NONE, percent, tell, type Change } from './telling.ts'

export interface Tile {
  label: string
  value: string
  /** What the value is of. */
  detail: string
  change: Change | null
  series: Series
  means: string
}

export interface Told {
  overview: Figure
  /** Thumbs, which the overview has the share of only. */
  tally: Figure | null
  /** Null for those who may not see people. */
  people: Figure | null
  peopleBefore: Figure | null
}

export function tilesOf({ overview, tally, people, peopleBefore }: Told): Tile[] {
  const { total, previous, base } = overview
  const elapsed = elapsedOf(base)
  const now = (key: string) => numberOf(total, key)
  // Shares and times of a handful of calls are chance: the house may not have been there yet.
  const before = (key: string) => ((numberOf(previous, 'calls') ?? 0) < FEW ? null : numberOf(previous, key))
  const means = (key: string) => overview.columns.find((column) => column.key === key)?.means ?? ''
  const [calls, messages] = [now('calls'), now('messages')]
  const tokens = sumOf(total)
  const given = (numberOf(tally?.total ?? null, 'up') ?? 0) + (numberOf(tally?.total ?? null, 'down') ?? 0)
  return [
    ...(people === null ? [] : [peopleTile(people, peopleBefore)]),
    {
      label: 'Finished answers',
      value: messages === null ? NONE : large(messages),
      detail: calls === null ? '' : `of ${counted(calls, 'call')}`,
      change: changeOf(messages, numberOf(previous, 'messages'), {
        unit: 'count',
        better: 'neither',
        elapsed,
      }),
      series: seriesOf(overview, 'messages'),
      means: means('messages'),
    },
    {
      label: 'Tokens',
      value: tokens === null ? NONE : large(tokens),
      detail:
        tokens === null
          ? ''
          : `${large(now('promptTokens') ?? 0)} read, ${large(now('completionTokens') ?? 0)} written`,
      change: changeOf(tokens, before('calls') === null ? null : sumOf(previous), {
        ...{ unit: 'tokens', better: 'neither', elapsed },
      }),
      series: overview.rows.map(sumOf),
      means: `${means('promptTokens')}, and ${lowered(means('completionTokens'))}`,
    },
    {
      label: 'First token',
      value: now('firstTokenP90') === null ? NONE : duration(now('firstTokenP90') ?? 0),
      detail: 'or less, nine of ten times',
      change: changeOf(now('firstTokenP90'), before('firstTokenP90'), {
        unit: 'ms',
        better: 'less',
        elapsed,
      }),
      series: seriesOf(overview, 'firstTokenP90'),
      means: means('firstTokenP90'),
    },
    {
      label: 'Failures',
      value: now('errorRate') === null ? NONE : percent(now('errorRate') ?? 0),
      detail: calls === null ? '' : `${tell(now('failed'), 'count')} of ${counted(staying(total), 'call')}`,
      change: changeOf(now('errorRate'), before('errorRate'), { unit: 'share', better: 'less', elapsed }),
      series: seriesOf(overview, 'errorRate'),
      means: means('errorRate'),
    },
    {
      label: 'Not read again',
      value: now('cacheShare') === null ? NONE : percent(now('cacheShare') ?? 0),
      detail: now('cacheShare') === null ? 'no server tells' : 'of prompts, where servers tell',
      change: changeOf(now('cacheShare'), before('cacheShare'), { unit: 'share', better: 'more', elapsed }),
      series: seriesOf(overview, 'cacheShare'),
      means: means('cacheShare'),
    },
    {
      label: 'Satisfaction',
      value: now('satisfaction') === null ? NONE : percent(now('satisfaction') ?? 0),
      detail: thumbs(given, now('satisfaction')),
      change: changeOf(given < FEW ? null : now('satisfaction'), before('satisfaction'), {
        unit: 'share',
        better: 'more',
        elapsed,
      }),
      // A day has a thumb or two, and they show no course.
      series: base.grain === 'month' ? seriesOf(overview, 'satisfaction') : [],
      means: means('satisfaction'),
    },
  ]
}

const DAY_MS = 24 * 3_600_000

/** The days that the number of people is of: no more than the period has, and no more than thirty. */
function spanOf({ fromMs, toMs }: Base): { key: string; words: string } {
  const days = Math.round((toMs - fromMs) / DAY_MS)
  if (days < 7) return { key: 'daily', words: 'on the last day' }
  return days < 30
    ? { key: 'weekly', words: 'in the last 7 days' }
    : { key: 'monthly', words: 'in the last 30 days' }
}

function peopleTile(people: Figure, peopleBefore: Figure | null): Tile {
  const { key, words } = spanOf(people.base)
  const last = people.rows.at(-1) ?? null
  const value = numberOf(last, key)
  const isHidden = value === null && last !== null
  return {
    label: 'People',
    value: isHidden ? 'under 5' : tell(value, 'people'),
    detail: words,
    change: changeOf(value, numberOf(peopleBefore?.rows.at(-1) ?? null, key), {
      ...{ unit: 'people', better: 'neither', elapsed: elapsedOf(people.base) },
    }),
    series: seriesOf(people, key),
    means: people.columns.find((column) => column.key === key)?.means ?? '',
  }
}

const sumOf = (row: Row | null): number | null => {
  const [read, wrote] = [numberOf(row, 'promptTokens'), numberOf(row, 'completionTokens')]
  return read === null || wrote === null ? null : read + wrote
}

/** Whoever left did not wait for a failure. */
const staying = (total: Row | null): number =>
  Math.max(0, (numberOf(total, 'calls') ?? 0) - (numberOf(total, 'cancelled') ?? 0))

function thumbs(given: number, satisfaction: number | null): string {
  if (satisfaction === null) return 'nobody gave a thumb'
  return given === 0 ? 'thumbs up among all thumbs' : `of ${counted(given, 'thumb')}`
}

const lowered = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)
