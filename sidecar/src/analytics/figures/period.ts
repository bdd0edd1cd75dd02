/** The period of a figure, and the roll-ups that make it up. */
import { DAY_MS, type Calendar, type Grain } from '../calendar.ts'
import type { FigureQuery } from './figure.ts'

/** Up to here a figure is told by the hour, or by the day. */
const LONGEST_HOURLY_MS = 2 * DAY_MS
const LONGEST_DAILY_MS = 100 * DAY_MS

export interface Period {
  fromMs: number
  toMs: number
  grain: Grain
}

export function periodOf({ fromMs, toMs, smallest }: FigureQuery, calendar: Calendar): Period {
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

export interface Range {
  grain: Grain
  fromMs: number
  toMs: number
}

/** The fewest roll-ups that make up a period: whole months, and days at its ends. */
export function coverOf({ fromMs, toMs, grain }: Period, calendar: Calendar): Range[] {
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

export const everyDay = ({ fromMs, toMs, grain }: Period): Range[] => [
  { grain: grain === 'hour' ? 'hour' : 'day', fromMs, toMs },
]
