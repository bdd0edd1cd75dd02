import { expect, test } from 'vitest'

import { toCsv } from '#analytics/csv.ts'
import type { Figure } from '#analytics/figures/figure.ts'

const figure = (rows: Figure['rows']): Figure => ({
  figure: 'usage',
  base: {
    ...{ n: 12, fromMs: 0, toMs: 86_400_000, grain: 'day', timeZone: 'UTC', dataAsOfMs: 86_400_000 },
    ...{ excludes: [], hidden: 0, roundedTo: null },
  },
  columns: [
    { key: 'character', unit: 'name', means: '' },
    { key: 'atMs', unit: 'time', means: '' },
    { key: 'cost', unit: 'money', means: '' },
  ],
  rows,
  total: null,
})

const firstField = (name: string) => {
  const [, line = ''] = toCsv(figure([{ character: name, atMs: 0, cost: -1.5 }])).split('\r\n')
  return line.slice(0, line.indexOf(',1970'))
}

test.each(['=1+1', '+cmd|x', '-2+3', '@SUM(A1)', '\tx', '\rx'])('%j does not become a formula', (name) => {
  expect(firstField(name)).toMatch(/^"'/)
})

test('numbers stay numbers, times are readable, and every line tells its base', () => {
  const text = toCsv(
    figure([
      { character: 'a "b", c', atMs: 0, cost: -1.5 },
      { character: null, atMs: 0, cost: null },
    ]),
  )
  expect(text).toBe(
    [
      'character,atMs,cost,n,from,to,data_as_of',
      '"a ""b"", c",1970-01-01T00:00:00.000Z,-1.5,12,1970-01-01T00:00:00.000Z,1970-01-02T00:00:00.000Z,1970-01-02T00:00:00.000Z',
      ',1970-01-01T00:00:00.000Z,,12,1970-01-01T00:00:00.000Z,1970-01-02T00:00:00.000Z,1970-01-02T00:00:00.000Z',
      '',
    ].join('\r\n'),
  )
})
