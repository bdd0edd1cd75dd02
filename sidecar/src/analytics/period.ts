/** Moments as people write them. */
import { AppError } from '#base/errors.ts'

import type { Calendar } from './calendar.ts'

/** Far from both ends of a day, whatever an hour is moved by. */
const NOON_MS = 12 * 3_600_000

const DAY = /^\d{4}-\d{2}-\d{2}$/

/**
 * A day (2026-11-01) is one of the calendar's time zone, and as the end of a period its last moment. Else a moment in ISO 8601
 * or in milliseconds. Throws AppError `invalid`.
 */
export function readMoment(text: string, end: 'from' | 'to', calendar: Calendar): number {
  if (/^\d+$/.test(text)) return Number(text)
  const ms = Date.parse(text)
  if (Number.isNaN(ms))
    throw new AppError('invalid', `"${end}" is no day such as 2026-11-01 and no moment`, { param: end })
  if (!DAY.test(text)) return ms
  const day = calendar.startOf('day', ms + NOON_MS - calendar.offsetMs(ms))
  return end === 'from' ? day : calendar.next('day', day)
}
