/** What is chosen on the page of the figures, in its address and in days. */
import { describe, expect, test } from 'vitest'

import {
  daysOf,
  dimensionOf,
  isDay,
  readChoice,
  writeChoice,
  type Choice,
} from '../../../sidecar/web/src/figures/choice.ts'
import {
  addressOf,
  leftOut,
  namesFor,
  questionsFor,
  tabFor,
} from '../../../sidecar/web/src/figures/questions.ts'

const read = (query: string) => readChoice(new URLSearchParams(query))
const usual = read('')

describe('the address', () => {
  test.each<[string, Partial<Choice>]>([
    ['', {}],
    ['tab=speed&period=7d&by=character', { tab: 'speed', period: '7d', by: 'character' }],
    ['from=2026-01-01&to=2026-02-01', { period: { from: '2026-01-01', to: '2026-02-01' } }],
    [
      'of=mira&model=qwen3%3A8b&surface=api&group=Staff',
      { character: 'mira', model: 'qwen3:8b', surface: 'api', group: 'Staff' },
    ],
  ])('%s is read, and written as it was', (query, change) => {
    expect(read(query)).toEqual({ ...usual, ...change })
    expect(new URLSearchParams(writeChoice(read(query))).toString()).toBe(query)
  })

  test.each([
    'tab=money',
    'period=forever',
    'by=colour',
    'from=2026-02-30&to=2026-03-01',
    'from=2026-02-02&to=2026-02-01',
    'from=2026-02-01&to=soon',
  ])('%s is nothing that can be shown, so the usual is', (query) => {
    expect(read(query)).toEqual(usual)
  })

  test('rows that a tab does not have are those that it shows by itself', () => {
    expect(dimensionOf({ tab: 'speed', by: 'kind' })).toBe('model')
    expect(dimensionOf({ tab: 'use', by: 'kind' })).toBe('kind')
    expect(isDay('2024-02-29')).toBe(true)
  })
})

describe('a period', () => {
  // In Berlin it is already the first of March.
  const now = Date.parse('2028-02-29T23:30Z')

  test.each([
    ['today', '2028-03-01'],
    ['7d', '2028-02-24'],
    ['30d', '2028-02-01'],
    ['90d', '2027-12-03'],
    ['12m', '2027-04-01'],
  ] as const)('%s begins on the %s of the house', (period, from) => {
    expect(daysOf(period, now, 'Europe/Berlin')).toEqual({ from, to: '2028-03-01' })
  })

  test('of the house, not of the reader', () => {
    expect(daysOf('today', now, 'America/New_York').to).toBe('2028-02-29')
  })
})

describe('what is asked', () => {
  const days = { from: '2026-11-01', to: '2026-11-30' }

  test('who may not see people is not asked for them, on any tab', () => {
    for (const tab of ['use', 'speed', 'failures', 'knowledge', 'satisfaction', 'people', 'cost'] as const) {
      const asked = namesFor(tab, false).map((name) => questionsFor({ ...usual, tab }, days)[name].figure)
      expect(asked).not.toContain('people')
      expect(asked).not.toContain('retention')
    }
    expect(tabFor('people', false)).toBe('use')
    expect(namesFor('people', true)).toContain('retention')
  })

  test('a figure gets only the filters that it knows, and the others are told', () => {
    const narrowed = read('of=mira&model=base&group=Staff')
    const { people, lore, usage } = questionsFor(narrowed, days)
    expect(people.filters).toEqual({ character: 'mira', group: 'Staff' })
    expect(lore.filters).toEqual({ character: 'mira' })
    expect(usage.filters).toEqual({ character: 'mira', model: 'base', group: 'Staff' })
    expect(leftOut('people', narrowed)).toEqual(['model'])
    expect(leftOut('usage', narrowed)).toEqual([])
  })

  test('people are compared with those of the last day before', () => {
    expect(questionsFor(usual, days).peopleBefore).toMatchObject({ from: '2026-10-31', to: '2026-10-31' })
  })

  test('its address is that of the API', () => {
    const { speedBy } = questionsFor(read('tab=speed&of=mira&by=character'), days)
    expect(addressOf(speedBy, 'csv')).toBe(
      '/analytics/speed?from=2026-11-01&to=2026-11-30&character=mira&by=character&format=csv',
    )
  })
})
