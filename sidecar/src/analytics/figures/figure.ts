/** What is asked of the figures, and what is answered. */
import type { Store } from '#store/store.ts'

import { DAY_MS, type Calendar, type Grain } from '../calendar.ts'
import type { Measure, Value } from '../measures.ts'

export const FIGURES = [
  'overview',
  'usage',
  'speed',
  'errors',
  'people',
  'retention',
  'lore',
  'knowledge',
  'ratings',
  'costs',
] as const
export type FigureName = (typeof FIGURES)[number]

export const DIMENSIONS = ['character', 'version', 'model', 'surface', 'key', 'group', 'kind'] as const
export type Dimension = (typeof DIMENSIONS)[number]

export interface FigureQuery {
  figure: FigureName
  fromMs: number
  toMs: number
  character?: string | undefined
  model?: string | undefined
  group?: string | undefined
  surface?: string | undefined
  /** Id of an API key. */
  key?: string | undefined
  /** What each row of `usage`, `errors`, `ratings` and `costs` is about. */
  by?: Dimension | undefined
  /** What leaves the house has to have everything that was recorded: a standby is not asked. */
  mustBeWhole?: boolean
  /** Groups of fewer people are not told of, and counts are rounded to multiples of it; null tells everything. */
  smallest: number | null
}

export interface Column {
  key: string
  unit: Measure['unit'] | 'name' | 'time'
  means: string
}

export interface Base {
  /** Calls that the figure is made of. */
  n: number
  /** Whole hours, days or months around what was asked for. */
  fromMs: number
  toMs: number
  grain: Grain
  timeZone: string
  /** Everything recorded until then is in it. */
  dataAsOfMs: number
  excludes: string[]
  /** Rows that are about too few people to be told of one by one. */
  hidden: number
  /** What counts are rounded to; null for exact ones. */
  roundedTo: number | null
  /** Where there is a standby: which of the two was asked, and how far the standby is behind; null when it does not answer. */
  source?: 'primary' | 'replica'
  replicaLagMs?: number | null
}

export interface Figure {
  figure: FigureName
  base: Base
  columns: Column[]
  rows: Record<string, Value>[]
  /** All rows together; null where they cannot be added, or are about too few people. */
  total: Record<string, Value> | null
  /** The same for the period before, of the same length. */
  previous?: Record<string, Value> | null
}

export interface FigureParts {
  store: Store
  calendar: Calendar
  now: () => number
}

/** Long enough for a look at the house; the default of doors that ask for no period. */
export const USUAL_PERIOD_MS = 30 * DAY_MS
