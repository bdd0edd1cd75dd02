/** Rows of a figure as what is drawn of them. */
import { numberOf, type Figure, type Row, type Unit, type Value } from './figure.ts'

/** Equal steps from left to right: an hour that a clock skips is no gap. */
export type Series = (number | null)[]

export const seriesOf = ({ rows }: Figure, key: string): Series => rows.map((row) => numberOf(row, key))

/** The steps that are named below an axis: at most so many, equally far apart, the last one being the newest. */
export function ticksOf(length: number, most: number): number[] {
  if (length === 0) return []
  const step = Math.ceil(length / Math.max(1, most))
  const ticks: number[] = []
  for (let at = length - 1; at >= 0; at -= step) ticks.unshift(at)
  return ticks
}

/** The path of a sparkline, with gaps where nothing is told. A step alone between gaps is a dot. */
export function sparkline(series: Series, width: number, height: number): string {
  // A few days here and there show no course.
  const told = series.filter((value) => value !== null).length
  if (told < 2 || told * 4 < series.length * 3) return ''
  const top = Math.max(...series.map((value) => value ?? 0))
  const step = series.length > 1 ? width / (series.length - 1) : 0
  const y = (value: number) => (top === 0 ? height : height - (value / top) * height)
  let isDown = false
  const drawn = series.map((value, at) => {
    const command = isDown ? 'L' : 'M'
    isDown = value !== null
    if (value === null) return ''
    const isAlone = command === 'M' && (series[at + 1] ?? null) === null
    return `${command}${coordinate(at * step)} ${coordinate(y(value))}${isAlone ? 'h0' : ''}`
  })
  return drawn.join('')
}

const coordinate = (value: number): string => String(Math.round(value * 100) / 100)

export interface Part {
  key: string
  label: string
  share: number
  /** Where it begins, from 0 to 1. */
  from: number
}

const PARTS = [
  ['queueShare', 'Waiting in the queue'],
  ['loadShare', 'Loading the model'],
  ['prefillShare', 'Reading the prompt'],
  ['decodeShare', 'Writing the answer'],
] as const

/** Where the time of calls went, from the first part to the rest; null where no server told. */
export function timeParts(row: Row | null): Part[] | null {
  if ((numberOf(row, 'timedCalls') ?? 0) === 0) return null
  const parts: Part[] = []
  let from = 0
  for (const [key, label] of PARTS) {
    const share = Math.min(1 - from, Math.max(0, numberOf(row, key) ?? 0))
    parts.push({ key, label, share, from })
    from += share
  }
  return [
    ...parts,
    { key: 'rest', label: 'All else, and calls without times', share: Math.max(0, 1 - from), from },
  ]
}

export interface Failures {
  error: string
  failures: number
}

/** Classes of failures over all rows, the most frequent first. */
export function failureClasses({ rows }: Figure): Failures[] {
  const counts = new Map<string, number>()
  for (const row of rows) {
    const error = String(row['error'] ?? '')
    counts.set(error, (counts.get(error) ?? 0) + (numberOf(row, 'failures') ?? 0))
  }
  return [...counts]
    .map(([error, failures]) => ({ error, failures }))
    .sort((a, b) => b.failures - a.failures || a.error.localeCompare(b.error))
}

/** Null: fewer than five, so that it is not told; a week that is not over is no cell at all. */
export type Returned = { people: number; share: number } | null

export interface Cohort {
  cohortMs: number
  size: number
  /** One for each week after the first that has begun. */
  later: Returned[]
}

const WEEK_MS = 7 * 24 * 3_600_000

export function retentionGrid({ rows, base }: Figure): Cohort[] {
  const cohorts = new Map<number, Map<number, Row>>()
  for (const row of rows) {
    const cohortMs = numberOf(row, 'cohortMs') ?? 0
    const weeks = cohorts.get(cohortMs) ?? new Map<number, Row>()
    weeks.set(numberOf(row, 'week') ?? 0, row)
    cohorts.set(cohortMs, weeks)
  }
  return [...cohorts]
    .map(([cohortMs, weeks]) => {
      const size = numberOf([...weeks.values()][0] ?? null, 'size') ?? 0
      const begun = Math.floor(((base.dataAsOfMs ?? cohortMs) - cohortMs) / WEEK_MS)
      const later = Array.from({ length: Math.max(0, begun) }, (_, at) =>
        returnedIn(weeks.get(at + 1), base.roundedTo !== null),
      )
      return { cohortMs, size, later }
    })
    .sort((a, b) => b.cohortMs - a.cohortMs)
}

function returnedIn(row: Row | undefined, hidesFew: boolean): Returned {
  if (row === undefined) return hidesFew ? null : { people: 0, share: 0 }
  return { people: numberOf(row, 'people') ?? 0, share: numberOf(row, 'share') ?? 0 }
}

/** Five shades, the first for nobody. */
export const shadeOf = (returned: Returned): number =>
  returned === null || returned.share === 0 ? 0 : Math.min(4, 1 + Math.floor(returned.share * 4))

export interface Sorting {
  key: string
  isDescending: boolean
}

/** What is missing comes last, whichever way. */
export function sorted(rows: readonly Row[], { key, isDescending }: Sorting): Row[] {
  const direction = isDescending ? -1 : 1
  return [...rows].sort((one, other) => {
    const [a, b] = [one[key] ?? null, other[key] ?? null]
    if (a === null || b === null) return Number(a === null) - Number(b === null)
    return direction * compare(a, b)
  })
}

/** Names from A, numbers from the largest. */
export const firstDirection = (unit: Unit): boolean => unit !== 'name' && unit !== 'time'

function compare(a: NonNullable<Value>, b: NonNullable<Value>): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return String(a).localeCompare(String(b), 'en', { numeric: true })
}
