import { describe, expect, test } from 'vitest'

import { createCalendar } from '#analytics/calendar.ts'
import { readMoment } from '#analytics/period.ts'

const at = (text: string) => Date.parse(text)

describe.each([
  [
    'UTC',
    '2026-11-27T10:20Z',
    '2026-11-27T10:00Z',
    '2026-11-27T00:00Z',
    '2026-11-23T00:00Z',
    '2026-11-01T00:00Z',
  ],
  [
    'Europe/Berlin',
    '2026-11-26T23:30Z',
    '2026-11-26T23:00Z',
    '2026-11-26T23:00Z',
    '2026-11-22T23:00Z',
    '2026-10-31T23:00Z',
  ],
  [
    'America/New_York',
    '2026-11-01T12:10Z',
    '2026-11-01T12:00Z',
    '2026-11-01T04:00Z',
    '2026-10-26T04:00Z',
    '2026-11-01T04:00Z',
  ],
  [
    'Asia/Kolkata',
    '2026-11-27T10:20Z',
    '2026-11-27T09:30Z',
    '2026-11-26T18:30Z',
    '2026-11-22T18:30Z',
    '2026-10-31T18:30Z',
  ],
  // Clocks there jump over midnight.
  [
    'America/Santiago',
    '2026-09-06T12:10Z',
    '2026-09-06T12:00Z',
    '2026-09-06T04:00Z',
    '2026-08-31T04:00Z',
    '2026-09-01T04:00Z',
  ],
  [
    'America/Havana',
    '2026-03-08T12:10Z',
    '2026-03-08T12:00Z',
    '2026-03-08T05:00Z',
    '2026-03-02T05:00Z',
    '2026-03-01T05:00Z',
  ],
  [
    'Atlantic/Azores',
    '2026-03-29T12:10Z',
    '2026-03-29T12:00Z',
    '2026-03-29T01:00Z',
    '2026-03-23T01:00Z',
    '2026-03-01T01:00Z',
  ],
])('in %s', (timeZone, moment, hour, day, week, month) => {
  const calendar = createCalendar(timeZone, at('2026-11-27T00:00Z'))
  test('a moment lies in its hour, day, week from Monday, and month', () => {
    expect(calendar.startOf('hour', at(moment))).toBe(at(hour))
    expect(calendar.startOf('day', at(moment))).toBe(at(day))
    expect(calendar.startOf('week', at(moment))).toBe(at(week))
    expect(calendar.startOf('month', at(moment))).toBe(at(month))
  })

  test('days follow each other without a gap over a year, and months and weeks begin with one', () => {
    const days = new Set<number>()
    for (let ms = calendar.startOf('day', at('2026-01-01T12:00Z')); ms < at('2027-01-01T12:00Z');) {
      days.add(ms)
      const next = calendar.next('day', ms)
      expect([23, 24, 25]).toContain((next - ms) / 3_600_000)
      expect(calendar.startOf('day', next - 1)).toBe(ms)
      expect(days).toContain(ms)
      if (calendar.startOf('month', ms) === ms) expect(days.has(ms)).toBe(true)
      ms = next
    }
    expect(days.size).toBeGreaterThanOrEqual(365)
    expect([...days].filter((ms) => calendar.startOf('week', ms) === ms).length).toBeGreaterThanOrEqual(52)
  })
})

test('a day that somebody writes is one of the time zone, and as an end it is included', () => {
  const berlin = createCalendar('Europe/Berlin', 0)
  expect(readMoment('2026-10-25', 'from', berlin)).toBe(at('2026-10-24T22:00Z'))
  expect(readMoment('2026-10-25', 'to', berlin)).toBe(at('2026-10-25T23:00Z'))
  expect(readMoment('2026-10-25T10:00:00Z', 'to', berlin)).toBe(at('2026-10-25T10:00Z'))
  expect(readMoment('1795000000000', 'to', berlin)).toBe(1_795_000_000_000)
  expect(() => readMoment('soon', 'from', berlin)).toThrow(/"from" is no day/)
})
