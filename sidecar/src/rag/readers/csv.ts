/** A table as rows of "column: value", so that a row is understood wherever it is quoted. */
import { parse } from 'csv-parse/sync'

import { AppError } from '#base/errors.ts'

import type { Reader } from './reader.ts'
import { decode } from './text.ts'

const LONGEST_RECORD = 1_000_000

export const readCsv: Reader = ({ bytes, progress }) => {
  const [header = [], ...rows] = recordsOf(decode(bytes))
  progress(rows.length, rows.length)
  const blocks = rows.map((row) => ({ kind: 'row' as const, text: rowText(header, row) }))
  return { title: null, blocks: blocks.filter(({ text }) => text !== '') }
}

function recordsOf(text: string): string[][] {
  const options = {
    delimiter: delimiterOf(text),
    bom: true,
    relax_quotes: true,
    relax_column_count: true,
    skip_empty_lines: true,
    trim: true,
    max_record_size: LONGEST_RECORD,
  }
  try {
    return parse(text, options)
  } catch (cause) {
    throw new AppError('invalid', 'The table cannot be read; save it as CSV in UTF-8 once more', { cause })
  }
}

/** What stands most often in the first line. */
function delimiterOf(text: string): string {
  const [line = ''] = text.split('\n', 1)
  const count = (delimiter: string) => line.split(delimiter).length
  return [',', ';', '\t', '|'].reduce((best, each) => (count(each) > count(best) ? each : best))
}

function rowText(header: readonly string[], row: readonly string[]): string {
  return row
    .map((value, at) => ({ name: header[at] || `column ${at + 1}`, value }))
    .filter(({ value }) => value !== '')
    .map(({ name, value }) => `${name}: ${value}`)
    .join('\n')
}
