/** What the page of the figures makes of an answer: series, words, sentences. */
import { describe, expect, test } from 'vitest'

import {
  isEmpty,
  isTooFew,
  readFigure,
  type Figure,
  type Row,
} from '../../../sidecar/web/src/figures/figure.ts'
import {
  commonFailureFinding,
  costFinding,
  failureFinding,
  firstTokenFinding,
  knowledgeFinding,
  mostFinding,
  newcomersFinding,
  peopleFinding,
  retentionFinding,
  timeFinding,
  useFinding,
} from '../../../sidecar/web/src/figures/findings.ts'
import { filterOf, nameOf } from '../../../sidecar/web/src/figures/naming.ts'
import {
  failureClasses,
  retentionGrid,
  shadeOf,
  sorted,
  sparkline,
  ticksOf,
  timeParts,
} from '../../../sidecar/web/src/figures/series.ts'
import {
  changeOf,
  duration,
  money,
  moment,
  percent,
  span,
  tell,
} from '../../../sidecar/web/src/figures/telling.ts'
import { tilesOf } from '../../../sidecar/web/src/figures/tiles.ts'

const DAY_MS = 24 * 3_600_000
const FROM = Date.parse('2026-11-01T00:00Z')

function figure(over: Partial<Omit<Figure, 'base'>> & { base?: object } = {}): Figure {
  const { base, ...rest } = over
  return {
    ...readFigure({
      base: {
        ...{ n: 100, fromMs: FROM, toMs: FROM + 30 * DAY_MS, grain: 'day', timeZone: 'UTC' },
        ...{ dataAsOfMs: FROM + 30 * DAY_MS, excludes: [], hidden: 0, roundedTo: null },
        ...base,
      },
    }),
    ...rest,
  }
}

describe('an answer', () => {
  test('of an older or newer sidecar shows less instead of nothing', () => {
    expect(
      readFigure({ base: { n: 3, grain: 'century', timeZone: 'Mars/Olympus' }, rows: [{ a: {} }] }),
    ).toMatchObject({
      base: { n: 3, grain: 'day', timeZone: 'UTC', dataAsOfMs: null, source: null },
      rows: [{ a: null }],
      total: null,
    })
  })

  test('is empty when nobody asked, and about too few when somebody did', () => {
    expect(isEmpty(figure({ base: { n: 0 }, total: { calls: 0 } }))).toBe(true)
    const few = figure({ base: { n: 0, hidden: 2 }, total: null })
    expect([isEmpty(few), isTooFew(few)]).toEqual([false, true])
    expect(isTooFew(figure({ total: { calls: 100 } }))).toBe(false)
  })
})

describe('a value', () => {
  test.each([
    [0.4, 'under 1 ms'],
    [243, '240 ms'],
    [994, '990 ms'],
    [1_449, '1.4 s'],
    [59_900, '1 min 0 s'],
    [130_400, '2 min 10 s'],
    [3_900_000, '1 h 5 min'],
  ])('of %d ms is told as %s', (ms, told) => {
    expect(duration(ms)).toBe(told)
  })

  test.each([
    [0, '0 %'],
    [0.0004, 'under 0.1 %'],
    [0.0123, '1.2 %'],
    [0.456, '46 %'],
    [0.994, '99.4 %'],
    [0.9999, 'over 99.9 %'],
    [1, '100 %'],
  ])('of %d is the share %s', (share, told) => {
    expect(percent(share)).toBe(told)
  })

  test('that is missing is a dash, and so is the cost of what has no price', () => {
    expect(tell(null, 'ms')).toBe('–')
    expect(tell(0, 'money')).toBe('–')
    expect([money(0.00312), money(0.5), money(1_234.5)]).toEqual(['0.0031', '0.50', '1,234.50'])
    expect([tell(6.84, 'count'), tell(65.4, 'count'), tell(12_345, 'tokens')]).toEqual([
      '6.8',
      '65',
      '12,345',
    ])
  })

  test('of a moment is told in the time zone of the house', () => {
    const at = Date.parse('2026-11-27T23:30Z')
    const where = { grain: 'day', timeZone: 'Europe/Berlin' } as const
    expect(moment(at, where)).toBe('Nov 28, 2026')
    expect(moment(at, { ...where, timeZone: 'UTC' })).toBe('Nov 27, 2026')
    expect(moment(at, { ...where, grain: 'month' })).toBe('Nov 2026')
    // With thin spaces.
    expect(span(figure().base).replace(/\s/g, ' ')).toBe('Nov 1 – 30, 2026')
  })
})

describe('a change', () => {
  const count = { unit: 'count', better: 'neither', elapsed: 1 } as const
  test.each([
    [120, 100, count, '20 % more', 'even'],
    [80, 100, count, '20 % fewer', 'even'],
    [100, 100, count, 'as many as before', 'even'],
    [450, 100, count, '4.5 times as many', 'even'],
    [30, 4, count, '4 in the period before', 'even'],
    [30, 100, { ...count, elapsed: 0.5 }, '100 in the whole period before', 'even'],
    [1_400, 1_000, { ...count, unit: 'ms' }, '400 ms slower', 'bad'],
    [700, 1_000, { ...count, unit: 'ms' }, '300 ms faster', 'good'],
    [1_050, 1_000, { ...count, unit: 'ms' }, 'about as fast as before', 'even'],
    [0.05, 0.04, { ...count, unit: 'share', better: 'less' }, '1 point more', 'bad'],
    [0.9, 0.85, { ...count, unit: 'share', better: 'more' }, '5 points more', 'good'],
  ] as const)('from %d after %d is told', (value, before, how, words, tone) => {
    expect(changeOf(value, before, how)).toEqual({ words, tone })
  })

  test('is not told where the period before has nothing', () => {
    expect(changeOf(5, null, count)).toBeNull()
    expect(changeOf(5, 0, count)).toBeNull()
  })
})

describe('what is drawn', () => {
  test('a sparkline has gaps where nothing is told, and a point alone is a dot', () => {
    expect(sparkline([0, 10, null, 5, null, 10, 10, 10], 70, 20)).toBe('M0 20L10 0M30 10h0M50 0L60 0L70 0')
    // A few steps here and there show no course.
    expect(sparkline([0, 10, null, 5, null, 10], 70, 20)).toBe('')
    expect(sparkline([0, 0], 100, 20)).toBe('M0 20L100 20')
  })

  test('marks below an axis are evenly apart and end with the newest', () => {
    expect(ticksOf(30, 10)).toEqual([2, 5, 8, 11, 14, 17, 20, 23, 26, 29])
    expect(ticksOf(2, 10)).toEqual([0, 1])
    expect(ticksOf(0, 10)).toEqual([])
  })

  test('parts of the time never make more than all of it', () => {
    const parts = timeParts({
      timedCalls: 3,
      queueShare: 0.1,
      loadShare: 0.2,
      prefillShare: 0.3,
      decodeShare: 0.6,
    })
    expect(parts?.map(({ share }) => Math.round(share * 100))).toEqual([10, 20, 30, 40, 0])
    expect(parts?.map(({ from }) => Math.round(from * 100))).toEqual([0, 10, 30, 60, 100])
    expect(timeParts({ timedCalls: 0, queueShare: null })).toBeNull()
  })

  test('rows are sorted by numbers or names, what is missing last', () => {
    const rows: Row[] = [
      { n: 2, of: 'v10' },
      { n: null, of: 'v9' },
      { n: 10, of: 'V1' },
    ]
    const order = (key: string, isDescending: boolean) =>
      sorted(rows, { key, isDescending }).map(({ of }) => of)
    expect(order('n', true)).toEqual(['V1', 'v10', 'v9'])
    expect(order('n', false)).toEqual(['v10', 'V1', 'v9'])
    expect(order('of', false)).toEqual(['V1', 'v9', 'v10'])
  })

  test('failures of one class are one, whatever they were calls of', () => {
    const rows = [
      { kind: 'turn', error: 'upstream', failures: 3 },
      { kind: 'turn', error: 'quota', failures: 5 },
      { kind: 'task', error: 'upstream', failures: 4 },
    ]
    expect(failureClasses(figure({ rows }))).toEqual([
      { error: 'upstream', failures: 7 },
      { error: 'quota', failures: 5 },
    ])
  })

  const WEEK_MS = 7 * DAY_MS
  const cohorts: Row[] = [
    { cohortMs: FROM, week: 0, size: 8, people: 8, share: 1 },
    { cohortMs: FROM, week: 2, size: 8, people: 6, share: 0.75 },
    { cohortMs: FROM + 2 * WEEK_MS, week: 0, size: 5, people: 5, share: 1 },
  ]

  test('a week without anybody is nobody for who may know, and not told to others', () => {
    const base = { dataAsOfMs: FROM + 2.5 * WEEK_MS }
    const [newest, oldest] = retentionGrid(figure({ rows: cohorts, base }))
    expect(newest).toEqual({ cohortMs: FROM + 2 * WEEK_MS, size: 5, later: [] })
    expect(oldest?.later).toEqual([
      { people: 0, share: 0 },
      { people: 6, share: 0.75 },
    ])
    const [, told] = retentionGrid(figure({ rows: cohorts, base: { ...base, roundedTo: 5 } }))
    expect(told?.later[0]).toBeNull()
    expect(
      [null, { people: 0, share: 0 }, { people: 1, share: 0.1 }, { people: 8, share: 1 }].map(shadeOf),
    ).toEqual([0, 0, 1, 4])
    expect(retentionFinding(figure({ rows: cohorts, base }))).toBe(
      'Of 8 newcomers, 0 asked something in the week after (0 %)',
    )
  })
})

describe('a title says', () => {
  const nameOfRow = (row: Row) => String(row['model'])

  test.each<[string, string, string]>([
    [
      'which day had most',
      '9 answers were finished, most of them on Nov 2, 2026 (4)',
      useFinding(
        figure({
          total: { messages: 9 },
          rows: [
            { atMs: FROM, messages: 2 },
            { atMs: FROM + DAY_MS, messages: 4 },
            { atMs: FROM + 2 * DAY_MS, messages: 3 },
          ],
        }),
      ),
    ],
    [
      'no day where two are equal',
      '1 answer was finished',
      useFinding(
        figure({ total: { messages: 1 }, rows: [{ messages: 4 }, { messages: 4 }, { messages: 1 }] }),
      ),
    ],
    [
      'how soon first tokens came',
      'First tokens came within 810 ms for nine of ten answers, 300 ms slower than before',
      firstTokenFinding(figure({ total: { firstTokenP90: 812 }, previous: { firstTokenP90: 512 } })),
    ],
    [
      'where the time went',
      'Most of the time went into writing the answer (70 %)',
      timeFinding(
        figure({
          total: { timedCalls: 2, queueShare: 0, loadShare: 0.1, prefillShare: 0.2, decodeShare: 0.7 },
        }),
      ),
    ],
    [
      'that nobody told',
      'No model server told where the time went',
      timeFinding(figure({ total: { timedCalls: 0 } })),
    ],
    [
      'what failed most, but for clients that left',
      '12 of 2,300 calls failed (0.5 %), most often because the model server failed',
      failureFinding(
        figure({
          total: { calls: 2_300, failed: 12, errorRate: 0.0053 },
          rows: [
            { error: 'cancelled', failures: 40 },
            { error: 'upstream', failures: 9 },
          ],
        }),
      ),
    ],
    [
      'that nothing failed',
      'None of 20 calls failed',
      failureFinding(figure({ total: { calls: 20, failed: 0 } })),
    ],
    [
      'which failure is usual',
      'Most often: big, because a quota was used up (1 call)',
      commonFailureFinding(figure({ rows: [{ model: 'big', error: 'quota', failures: 1 }] }), nameOfRow),
    ],
    [
      'how many searches helped',
      '62 % of 300 searches brought a passage into the prompt',
      knowledgeFinding(figure({ total: { searches: 300, knowledgeRate: 0.62 } })),
    ],
    [
      'what most was spent on',
      '12.40 was spent on 8 of 10 calls, most of it on b (8.20)',
      costFinding(
        figure({
          total: { calls: 10, pricedCalls: 8, cost: 12.4 },
          rows: [
            { model: 'a', cost: 4.2 },
            { model: 'b', cost: 8.2 },
          ],
        }),
        nameOfRow,
      ),
    ],
    [
      'that nothing has a price',
      'None of 10 calls has a price',
      costFinding(figure({ total: { calls: 10, pricedCalls: 0, cost: 0 } }), nameOfRow),
    ],
    [
      'who has the most',
      'a has the most: 20 of 30 answers',
      mostFinding(
        figure({
          total: { messages: 30 },
          rows: [
            { model: 'a', messages: 20 },
            { model: 'b', messages: 10 },
          ],
        }),
        { key: 'messages', noun: 'answer', nouns: 'answers', nameOf: nameOfRow },
      ),
    ],
    [
      'how many people there are',
      '40 people asked something in the last thirty days; on a usual day it is 7',
      peopleFinding(figure({ rows: [5, 9, 7, 8, 6, 7, 7].map((daily) => ({ daily, monthly: 40 })) })),
    ],
    [
      'that people are too few',
      'Fewer than five people asked something in the last thirty days',
      peopleFinding(figure({ rows: [{ daily: null, monthly: null }] })),
    ],
    [
      'how many came',
      '5 people came for the first time',
      newcomersFinding(figure({ rows: [{ fresh: 2 }, { fresh: 3 }] })),
    ],
    [
      'no sum of what is not told',
      'New people, and those who came back',
      newcomersFinding(figure({ rows: [{ fresh: 2 }, { fresh: null }] })),
    ],
  ])('%s', (_what, expected, sentence) => {
    expect(sentence).toBe(expected)
  })
})

describe('a row', () => {
  const known = { character: (id: string) => (id === 'mira' ? 'Mira' : undefined), document: () => undefined }

  test('is named as readers know it', () => {
    expect(nameOf('character', 'mira', known)).toBe('Mira')
    expect(nameOf('character', '', known)).toBe('No character')
    expect(nameOf('surface', 'open-webui', known)).toBe('Open WebUI')
    expect(nameOf('error', 'new_kind', known)).toBe('Of “new_kind”')
    expect(nameOf('group', '(others)', known)).toBe('Others, of few people each')
  })

  test('narrows the page to what it is about, if that is one thing', () => {
    expect(filterOf({ character: 'mira', version: 2 }, 'version')).toEqual({
      filter: 'character',
      value: 'mira',
    })
    expect(filterOf({ model: '(others)' }, 'model')).toBeNull()
    expect(filterOf({ character: '' }, 'character')).toBeNull()
    expect(filterOf({ kind: 'turn' }, 'kind')).toBeNull()
  })
})

describe('the first row of numbers', () => {
  const total = {
    ...{
      calls: 110,
      messages: 100,
      cancelled: 10,
      failed: 2,
      errorRate: 0.02,
      promptTokens: 9_000,
      completionTokens: 3_000,
    },
    ...{ firstTokenP90: 800, cacheShare: 0.5, satisfaction: 0.8 },
  }
  const overview = figure({
    total,
    previous: { ...total, messages: 50 },
    rows: [{ atMs: FROM, messages: 100 }],
  })
  const tally = figure({ total: { up: 40, down: 10 } })
  const of = (told: Partial<Parameters<typeof tilesOf>[0]> = {}) =>
    new Map(
      tilesOf({ overview, tally, people: null, peopleBefore: null, ...told }).map((tile) => [
        tile.label,
        tile,
      ]),
    )

  test('names the base of each share, and no people to who may not see them', () => {
    const tiles = of()
    expect([...tiles.keys()]).toEqual([
      'Finished answers',
      'Tokens',
      'First token',
      'Failures',
      'Not read again',
      'Satisfaction',
    ])
    expect(tiles.get('Failures')).toMatchObject({ value: '2 %', detail: '2 of 100 calls' })
    expect(tiles.get('Satisfaction')).toMatchObject({ value: '80 %', detail: 'of 50 thumbs' })
    expect(tiles.get('Tokens')).toMatchObject({ value: '12K', detail: '9,000 read, 3,000 written' })
    expect(tiles.get('Finished answers')?.change?.words).toBe('100 % more')
  })

  test('compares no shares with a handful of calls', () => {
    const tiles = of({ overview: { ...overview, previous: { ...total, calls: 4, messages: 4 } } })
    expect(tiles.get('Finished answers')?.change?.words).toBe('4 in the period before')
    expect(tiles.get('Failures')?.change).toBeNull()
    expect(tiles.get('First token')?.change).toBeNull()
  })

  test('counts people of as many days as the period has, thirty at most', () => {
    const people = figure({ rows: [{ daily: 5, weekly: 20, monthly: 40 }] })
    const peopleBefore = figure({ rows: [{ daily: 5, weekly: 20, monthly: 20 }] })
    expect(of({ people, peopleBefore }).get('People')).toMatchObject({
      ...{ value: '40', detail: 'in the last 30 days', change: { words: '100 % more' } },
    })
    const hidden = figure({ base: { toMs: FROM + DAY_MS }, rows: [{ daily: null, weekly: 5, monthly: 5 }] })
    expect(of({ people: hidden, peopleBefore }).get('People')).toMatchObject({
      value: 'under 5',
      detail: 'on the last day',
    })
  })
})
