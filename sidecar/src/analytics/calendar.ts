/** Hours, days, weeks (from Monday) and months as the people of one time zone see them. */

export type Grain = 'hour' | 'day' | 'month'

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

export interface Calendar {
  readonly timeZone: string
  /** When the hour, day, week or month began that this moment lies in. */
  startOf(grain: Grain | 'week', ms: number): number
  /** When the next one begins; `ms` may lie anywhere in the one before. */
  next(grain: Grain | 'week', ms: number): number
  /** What a clock there shows, less what one in UTC does. */
  offsetMs(ms: number): number
  /** By how much hours begin after full hours of UTC; not 0 in a few zones only. */
  readonly hourPhaseMs: number
}

/** `nowMs` decides the phase of hours: a zone that ever moves by half an hour is read as it is then. */
export function createCalendar(timeZone: string, nowMs: number): Calendar {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  })
  const kept = new Map<number, number>()

  /** The same within a quarter of an hour. */
  function offsetMs(ms: number): number {
    const quarter = Math.floor(ms / 900_000)
    const known = kept.get(quarter)
    if (known !== undefined) return known
    const parts = new Map(
      format.formatToParts(quarter * 900_000).map(({ type, value }) => [type, Number(value)]),
    )
    const part = (name: Intl.DateTimeFormatPartTypes) => parts.get(name) ?? 0
    const shown = Date.UTC(
      part('year'),
      part('month') - 1,
      part('day'),
      part('hour'),
      part('minute'),
      part('second'),
    )
    if (kept.size > 50_000) kept.clear()
    kept.set(quarter, shown - quarter * 900_000)
    return shown - quarter * 900_000
  }

  /** The first moment at which clocks there show this; where they jump over it, that at which they jump. */
  const momentOf = (shown: number): number => {
    const moments = [shown - offsetMs(shown - DAY_MS), shown - offsetMs(shown + DAY_MS)]
    const exact = moments.filter((ms) => ms + offsetMs(ms) === shown)
    return exact.length > 0 ? Math.min(...exact) : Math.max(...moments)
  }
  const hourPhaseMs = ((-offsetMs(nowMs) % HOUR_MS) + HOUR_MS) % HOUR_MS

  function shownStart(grain: 'day' | 'week' | 'month', shown: number): number {
    const day = Math.floor(shown / DAY_MS) * DAY_MS
    if (grain === 'day') return day
    const date = new Date(day)
    // The first of January 1970 was a Thursday.
    if (grain === 'week') return day - ((Math.floor(day / DAY_MS) + 3) % 7) * DAY_MS
    return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)
  }

  function startOf(grain: Grain | 'week', ms: number): number {
    if (grain === 'hour') return ms - ((((ms - hourPhaseMs) % HOUR_MS) + HOUR_MS) % HOUR_MS)
    return momentOf(shownStart(grain, ms + offsetMs(ms)))
  }

  return {
    timeZone,
    offsetMs,
    hourPhaseMs,
    startOf,
    next(grain, ms) {
      const start = startOf(grain, ms)
      if (grain === 'hour') return start + HOUR_MS
      // Far enough for the longest one, and for an hour more or less.
      const after = { day: 1.5, week: 7.5, month: 32 }[grain] * DAY_MS
      return startOf(grain, start + after)
    },
  }
}
