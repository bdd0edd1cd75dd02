/** A figure as the sidecar tells it: rows with their columns, and what they were made of. */
import { fields, list, numeral, text } from '../api/reading.ts'

export type FigureName =
  | 'overview'
  | 'usage'
  | 'speed'
  | 'errors'
  | 'people'
  | 'retention'
  | 'lore'
  | 'knowledge'
  | 'ratings'
  | 'costs'

export type Value = number | string | null
export type Row = Readonly<Record<string, Value>>
export type Grain = 'hour' | 'day' | 'month'
export type Unit = 'count' | 'tokens' | 'ms' | 'share' | 'money' | 'people' | 'name' | 'time'

export interface Column {
  key: string
  unit: Unit
  means: string
}

export interface Base {
  /** Calls that the figure is made of. */
  n: number
  fromMs: number
  toMs: number
  grain: Grain
  timeZone: string
  /** Everything recorded until then is in it; null while nothing was counted yet. */
  dataAsOfMs: number | null
  excludes: string[]
  hidden: number
  roundedTo: number | null
  source: 'primary' | 'replica' | null
  replicaLagMs: number | null
}

export interface Figure {
  base: Base
  columns: Column[]
  rows: Row[]
  total: Row | null
  previous: Row | null
}

const GRAINS = ['hour', 'day', 'month'] as const
const UNITS = ['count', 'tokens', 'ms', 'share', 'money', 'people', 'name', 'time'] as const

export function readFigure(value: unknown): Figure {
  const figure = fields(value)
  return {
    base: readBase(fields(figure['base'])),
    columns: list(figure['columns']).map(readColumn),
    rows: list(figure['rows']).map(readRow),
    total: readSum(figure['total']),
    previous: readSum(figure['previous']),
  }
}

export const numberOf = (row: Row | null, key: string): number | null => numeral(row?.[key])

/** Nothing was asked: neither by many nor by few. */
export const isEmpty = ({ base, total }: Figure): boolean =>
  base.n === 0 && base.hidden === 0 && (numberOf(total, 'calls') ?? 0) === 0

/** Something was asked, by fewer people than may be told of. */
export const isTooFew = (figure: Figure): boolean => figure.total === null && !isEmpty(figure)

/** How much of the period lies behind the last moment that was counted, from 0 to 1. */
export function elapsedOf({ fromMs, toMs, dataAsOfMs }: Base): number {
  if (dataAsOfMs === null || toMs <= fromMs) return 0
  return Math.min(1, Math.max(0, (dataAsOfMs - fromMs) / (toMs - fromMs)))
}

function readBase(base: Record<string, unknown>): Base {
  const source = text(base['source'])
  return {
    n: numeral(base['n']) ?? 0,
    fromMs: numeral(base['fromMs']) ?? 0,
    toMs: numeral(base['toMs']) ?? 0,
    grain: GRAINS.find((grain) => grain === base['grain']) ?? 'day',
    timeZone: readTimeZone(text(base['timeZone'])),
    dataAsOfMs: readMark(base['dataAsOfMs']),
    excludes: list(base['excludes']).map(text).filter(Boolean),
    hidden: numeral(base['hidden']) ?? 0,
    roundedTo: numeral(base['roundedTo']),
    source: source === 'primary' || source === 'replica' ? source : null,
    replicaLagMs: numeral(base['replicaLagMs']),
  }
}

/** The sidecar says 0 before it has counted anything. */
const readMark = (value: unknown): number | null => (value === 0 ? null : numeral(value))

/** Browsers may know fewer zones than the sidecar: then times are told in UTC, and said to be. */
function readTimeZone(name: string): string {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone && name
  } catch {
    return 'UTC' // told as such beside every figure
  }
}

function readColumn(value: unknown): Column {
  const column = fields(value)
  return {
    key: text(column['key']),
    unit: UNITS.find((unit) => unit === column['unit']) ?? 'name',
    means: text(column['means']),
  }
}

const readRow = (value: unknown): Row =>
  Object.fromEntries(Object.entries(fields(value)).map(([key, cell]) => [key, readValue(cell)]))

const readSum = (value: unknown): Row | null => (value == null ? null : readRow(value))

const readValue = (value: unknown): Value =>
  typeof value === 'number' || typeof value === 'string' ? value : null
