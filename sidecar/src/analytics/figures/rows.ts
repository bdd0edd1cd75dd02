/** Roll-ups as they are read for a figure. */
import { and, eq, gte, lt, ne } from 'drizzle-orm'

import type { Group } from '../anonymity.ts'
import { emptyCell, mergeCell, type Cell } from '../cell.ts'
import { mergePacked, unpackCells, type PackedCell } from '../packed-cells.ts'
import { ALL } from '../roll-up/cells.ts'
import type { Dimension, FigureParts, FigureQuery } from './figure.ts'
import type { Period, Range } from './period.ts'

export interface Context extends FigureParts {
  query: FigureQuery
  period: Period
  dataAsOfMs: number
}

export interface Row extends PackedCell {
  atMs: number
  groupName: string
}

export interface Wish {
  ranges: readonly Range[]
  /** Turns of people, or everything that asks a model. */
  kinds: 'turns' | 'all'
  /** What the rows are told apart by, beside the time. */
  by?: Dimension
}

const NEEDS_CELLS: ReadonlySet<Dimension | undefined> = new Set<Dimension>([
  'character',
  'version',
  'model',
  'surface',
  'key',
])

export async function load({ store, query }: Context, { ranges, kinds, by }: Wish): Promise<Row[]> {
  const { rollUps: t } = store.t
  const { character, model, group, surface, key } = query
  const wanted = by === 'group' && group === undefined ? ne(t.groupName, ALL) : eq(t.groupName, group ?? ALL)
  const isFiltered = [character, model, surface, key].some((filter) => filter !== undefined)
  const cells = isFiltered || NEEDS_CELLS.has(by) ? t.cells : t.totals
  // One statement for each stretch of the index.
  const found = await Promise.all(
    ranges.map(({ grain, fromMs, toMs }) =>
      store.db
        .select({ atMs: t.atMs, groupName: t.groupName, cells })
        .from(t)
        .where(and(eq(t.grain, grain), gte(t.atMs, fromMs), lt(t.atMs, toMs), wanted)),
    ),
  )
  const rows: Row[] = []
  for (const { atMs, groupName, cells: text } of found.flat())
    for (const cell of unpackCells(text)) {
      if (kinds === 'turns' && cell.kind !== 'turn') continue
      if (character !== undefined && cell.characterId !== character) continue
      if (model !== undefined && cell.baseModel !== model) continue
      if (surface !== undefined && cell.surface !== surface) continue
      if (key !== undefined && cell.keyId !== key) continue
      rows.push({ atMs, groupName, ...cell })
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
    mergePacked(group.cell, row.packed)
    groups.set(name, group)
  }
  return [...groups.values()]
}

export function sumOfRows(rows: readonly Row[]): Cell {
  const cell = emptyCell()
  for (const row of rows) mergePacked(cell, row.packed)
  return cell
}

export function sumOfGroups(groups: readonly Group<unknown>[]): Cell {
  const cell = emptyCell()
  for (const group of groups) mergeCell(cell, group.cell)
  return cell
}
