/** How figures are told, to those who may see small groups and to those who may not. */
import { AppError } from '#base/errors.ts'

import { roundCell, roundCount } from '../anonymity.ts'
import { leastPeople, type Cell } from '../cell.ts'
import { MEASURES, type MeasureName, type Value } from '../measures.ts'
import type { Base, Column, FigureQuery } from './figure.ts'
import type { Context } from './rows.ts'

export function measured(
  cell: Cell,
  names: readonly MeasureName[],
  smallest: number | null,
): Record<string, Value> {
  const told = smallest === null ? cell : roundCell(cell, smallest)
  return Object.fromEntries(names.map((name) => [name, MEASURES[name].of(told)]))
}

/** Null for a total of too few people. */
export const totalOf = (cell: Cell, names: readonly MeasureName[], smallest: number | null) =>
  isTooSmall(cell, smallest) ? null : measured(cell, names, smallest)

export const isTooSmall = (cell: Cell, smallest: number | null): boolean =>
  smallest !== null && leastPeople(cell) < smallest

export function baseOf(context: Context, n: number, excludes: string[], hidden = 0): Base {
  const { query, period, calendar, dataAsOfMs } = context
  return {
    n: query.smallest === null ? n : roundCount(n, query.smallest),
    ...period,
    timeZone: calendar.timeZone,
    dataAsOfMs,
    excludes,
    hidden,
    roundedTo: query.smallest,
  }
}

export const columnsOf = (names: readonly MeasureName[]): Column[] =>
  names.map((key) => ({ key, unit: MEASURES[key].unit, means: MEASURES[key].means }))

export const AT: Column = { key: 'atMs', unit: 'time', means: 'Beginning of the hour, day or month' }
export const ONLY_TURNS = 'titles, tags and other tasks of Open WebUI; embeddings'
export const NO_FAILURES = 'failed and cancelled calls, in times'

export function tellPeople(count: number, smallest: number | null): number | null {
  if (smallest === null || count === 0) return count
  return count < smallest ? null : roundCount(count, smallest)
}

export function refuse(query: FigureQuery, name: 'model' | 'surface' | 'key' | 'group', why: string): void {
  if (query[name] !== undefined)
    throw new AppError('invalid', `"${query.figure}" cannot be filtered by ${name}: ${why}`, { param: name })
}

export const NO_MODEL = 'people are counted by character and group only'
