/** Roll-ups as they are read for a figure. */
import { and, eq, gte, lt, ne } from 'drizzle-orm'

import type { Group } from '../anonymity.ts'
import { emptyCell, mergeCell, type Cell } from '../cell.ts'
import { dimensionsOf, mergePacked, unpackCells, type Dimensions, type PackedCell } from '../packed-cells.ts'
import { ALL } from '../roll-up/cells.ts'
import type { FigureParts, FigureQuery } from './figure.ts'
import type { Period, Range } from './period.ts'

export interface Context extends FigureParts {
  query: FigureQuery
  period: Period
  dataAsOfMs: number
}

export interface Row extends Dimensions {
  atMs: number
  groupName: string
  cell: PackedCell
}

export interface Wish {
  ranges: readonly Range[]
  /** Turns of people, or everything that asks a model. */
  kinds: 'turns' | 'all'
  /** One row for each group instead of one for all. */
  byGroup?: boolean
}

export async function load(
  { store, query }: Context,
  { ranges, kinds, byGroup = false }: Wish,
): Promise<Row[]> {
  const { rollUps: t } = store.t
  const { character, model, group, surface } = query
  const wanted = byGroup ? ne(t.groupName, ALL) : eq(t.groupName, group ?? ALL)
  // One statement for each stretch of the index.
  const found = await Promise.all(
    ranges.map(({ grain, fromMs, toMs }) =>
      store.db
        .select({ atMs: t.atMs, groupName: t.groupName, cells: t.cells })
        .from(t)
        .where(and(eq(t.grain, grain), gte(t.atMs, fromMs), lt(t.atMs, toMs), wanted)),
    ),
  )
  const rows: Row[] = []
  for (const { atMs, groupName, cells } of found.flat())
    for (const cell of unpackCells(cells)) {
      const of = dimensionsOf(cell)
      if (kinds === 'turns' && of.kind !== 'turn') continue
      if (character !== undefined && of.characterId !== character) continue
      if (model !== undefined && of.baseModel !== model) continue
      if (surface !== undefined && of.surface !== surface) continue
      rows.push({ atMs, groupName, ...of, cell })
    }
  return rows
}

export function groupBy<T>(
  rows: readonly Row[],
  keyOf: (row: Row) => T,
  nameOf: (key: T) => string,
): Group<T>[] {
  const groups = new Map<string, Group<T>>()
  for (const row of rows) {
    const key = keyOf(row)
    const name = nameOf(key)
    const group = groups.get(name) ?? { key, cell: emptyCell() }
    mergePacked(group.cell, row.cell)
    groups.set(name, group)
  }
  return [...groups.values()]
}

export function sumOfRows(rows: readonly Row[]): Cell {
  const cell = emptyCell()
  for (const row of rows) mergePacked(cell, row.cell)
  return cell
}

export function sumOfGroups(groups: readonly Group<unknown>[]): Cell {
  const cell = emptyCell()
  for (const group of groups) mergeCell(cell, group.cell)
  return cell
}
