/** Figures as CSV (RFC 4180), safe to open in a spreadsheet. */
import type { Figure } from './figures/figure.ts'
import type { Value } from './measures.ts'

/** A spreadsheet takes a text that begins so for a formula. Source: OWASP, "CSV Injection". */
const FORMULA = /^[=+\-@\t\r]/

export function toCsv({ columns, rows, base }: Figure): string {
  const about: [string, Value][] = [
    ['n', base.n],
    ['from', new Date(base.fromMs).toISOString()],
    ['to', new Date(base.toMs).toISOString()],
    ['data_as_of', new Date(base.dataAsOfMs).toISOString()],
  ]
  const lines = [
    [...columns.map(({ key }) => key), ...about.map(([name]) => name)],
    ...rows.map((row) => [
      ...columns.map(({ key, unit }) => {
        const value = row[key] ?? null
        return unit === 'time' && typeof value === 'number' ? new Date(value).toISOString() : value
      }),
      ...about.map(([, value]) => value),
    ]),
  ]
  return lines.map((line) => `${line.map(field).join(',')}\r\n`).join('')
}

function field(value: Value): string {
  if (value === null) return ''
  if (typeof value === 'number') return String(value)
  const safe = FORMULA.test(value) ? `'${value}` : value
  return /[",\r\n']/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}
