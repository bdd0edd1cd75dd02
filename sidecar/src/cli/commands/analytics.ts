/** Figures on the command line. */
import { z } from 'zod'

import { FIGURES } from '#analytics/figures/figure.ts'
import { AppError } from '#base/errors.ts'

import { query, textOf, type Command, type Run } from '../command.ts'
import { writeNamed } from '../files.ts'

const FILTERS = ['from', 'to', 'character', 'model', 'group', 'surface', 'key', 'by'] as const

const Value = z.union([z.string(), z.number(), z.null()])
const Figure = z.looseObject({
  base: z.looseObject({
    n: z.number(),
    fromMs: z.number(),
    toMs: z.number(),
    dataAsOfMs: z.number(),
    grain: z.string(),
    excludes: z.array(z.string()),
    hidden: z.number(),
  }),
  columns: z.array(z.looseObject({ key: z.string(), unit: z.string() })),
  rows: z.array(z.record(z.string(), Value)),
  total: z.record(z.string(), Value).nullable(),
})
type Figure = z.infer<typeof Figure>
type Row = Figure['rows'][number]

async function show({ positionals, values, api, screen }: Run): Promise<number> {
  const [figure = 'overview'] = positionals
  if (!FIGURES.some((known) => known === figure))
    throw new AppError('invalid', `There is no figure "${figure}"; there are ${FIGURES.join(', ')}`)
  const filter = Object.fromEntries(FILTERS.map((name) => [name, textOf(values, name)]))
  const path = `/troupe/api/analytics/${figure}`
  const file = textOf(values, 'csv')
  if (file !== undefined) {
    const { bytes } = await api.download(path + query({ ...filter, format: 'csv' }))
    await writeNamed(file, bytes)
    screen.line(`Wrote ${file}`)
    screen.result({ file })
    return 0
  }
  const answer = await api.call('GET', path + query(filter), Figure)
  const { base } = answer
  const shown = withoutEmpty(answer)
  for (const line of tableOf(shown)) screen.line(line)
  screen.line('')
  const rowsLess = answer.rows.length - shown.rows.length
  if (rowsLess > 0) screen.line(`${counted(rowsLess, base.grain)} without a call ${notShown(rowsLess)}`)
  const columnsLess = answer.columns.length - shown.columns.length
  if (columnsLess > 0)
    screen.line(`${counted(columnsLess, 'column')} without a figure ${notShown(columnsLess)}; --csv has all`)
  const hidden = base.hidden === 0 ? '' : `; ${String(base.hidden)} rows are about too few people to be shown`
  screen.line(
    `n = ${String(base.n)}; ${dayOf(base.fromMs)} to ${dayOf(base.toMs)}; data as of ${timeOf(base.dataAsOfMs)}${hidden}`,
  )
  if (base.excludes.length > 0) screen.line(`Left out: ${base.excludes.join('; ')}`)
  screen.result(answer)
  return 0
}

/** The hours, days or months of a period in which nothing was, and columns that say nothing in any of the others, are noise. */
function withoutEmpty({ columns, rows, total, ...rest }: Figure): Figure {
  const saysSomething = (row: Row) => columns.some(({ key, unit }) => !NAMING.has(unit) && isFigure(row[key]))
  const kept = columns[0]?.key === 'atMs' ? rows.filter(saysSomething) : rows
  const sum = total !== null && saysSomething(total) ? total : null
  const told = [...kept, ...(sum === null ? [] : [sum])]
  const used = columns.filter(({ key, unit }) => NAMING.has(unit) || told.some((row) => isFigure(row[key])))
  return { ...rest, columns: used, rows: kept, total: sum }
}

const NAMING: ReadonlySet<string> = new Set(['name', 'time'])

const isFigure = (value: Row[string] | undefined) => value !== undefined && value !== null && value !== 0

const counted = (count: number, what: string) => `${String(count)} ${what}${count === 1 ? '' : 's'}`
const notShown = (count: number) => (count === 1 ? 'is not shown' : 'are not shown')

/** No line without a row. */
function tableOf({ columns, rows, total }: Figure): string[] {
  if (rows.length === 0 && total === null) return []
  const cells = [
    columns.map(({ key }) => key),
    ...[...rows, ...(total === null ? [] : [total])].map((row) =>
      columns.map(({ key, unit }) => shown(row[key] ?? null, unit)),
    ),
  ]
  const [first] = columns
  const last = cells.at(-1)
  if (total !== null && first !== undefined && last !== undefined) last[0] = 'all'
  const widths = columns.map((_, at) => Math.max(...cells.map((line) => line[at]?.length ?? 0)))
  return cells.map((line) => line.map((cell, at) => cell.padStart(widths[at] ?? 0)).join('  '))
}

function shown(value: string | number | null, unit: string): string {
  if (value === null) return '-'
  if (typeof value === 'string') return value
  if (unit === 'time') return timeOf(value)
  if (unit === 'share') return `${(value * 100).toFixed(1)}%`
  if (unit === 'ms') return `${value.toFixed(0)} ms`
  if (unit === 'money') return value.toFixed(4)
  return Number.isInteger(value) ? String(value) : value.toFixed(1)
}

const dayOf = (ms: number): string => new Date(ms).toISOString().slice(0, 10)
const timeOf = (ms: number): string => new Date(ms).toISOString().slice(0, 16).replace('T', ' ')

export const analyticsCommands: readonly Command[] = [
  {
    name: 'analytics',
    usage:
      'analytics [FIGURE] [--from DAY] [--to DAY] [--character ID] [--model NAME] [--group NAME] [--key ID] [--by WHAT] [--csv FILE]',
    summary: 'shows figures about use, speed and people',
    details: `Figures: ${FIGURES.join(', ')}.\n--by: character, version, model, surface, key, group or kind.\n`,
    options: {
      ...Object.fromEntries(FILTERS.map((name) => [name, { type: 'string' as const }])),
      csv: { type: 'string' },
    },
    run: show,
  },
]
