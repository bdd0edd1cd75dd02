/** Cells by what their calls have in common, on their way into the table and out of it. */
import { and, eq, gte, inArray, lt, notInArray } from 'drizzle-orm'

import { rowsOf, type Change, type Db, type Store } from '#store/store.ts'

import type { Grain } from '../calendar.ts'
import { emptyCell, mergeCell, type Cell } from '../cell.ts'
import { mergePacked, packCells, unpackCells, type Dimensions } from '../packed-cells.ts'

/** Stands for all groups, and for all characters. */
export const ALL = '*'

type OfGroup = Map<string, Dimensions & { cell: Cell }>

/** By group, and then by the dimensions. */
export type Cells = Map<string, OfGroup>

export function cellOf(cells: Cells, groupName: string, of: Dimensions): Cell {
  let ofGroup = cells.get(groupName)
  if (ofGroup === undefined) cells.set(groupName, (ofGroup = new Map<string, Dimensions & { cell: Cell }>()))
  const { kind, characterId, characterVersion, baseModel, surface, keyId } = of
  const key = `${characterId}\0${baseModel}\0${String(characterVersion)}\0${kind}\0${surface}\0${keyId}`
  const known = ofGroup.get(key)
  if (known !== undefined) return known.cell
  const cell = emptyCell()
  ofGroup.set(key, { kind, characterId, characterVersion, baseModel, surface, keyId, cell })
  return cell
}

export type RollUpRow = Store['t']['rollUps']['$inferInsert']

export const toRows = (grain: Grain, atMs: number, cells: Cells): RollUpRow[] =>
  Array.from(cells, ([groupName, ofGroup]) => ({
    ...{ grain, atMs, groupName },
    cells: packCells(inOrder(ofGroup)),
    totals: packCells(inOrder(byKind(ofGroup))),
  }))

function byKind(cells: OfGroup): OfGroup {
  const kinds: OfGroup = new Map()
  for (const { kind, cell } of cells.values()) {
    const none = { characterId: '', characterVersion: 0, baseModel: '', surface: '', keyId: '' }
    const known = kinds.get(kind) ?? { kind, ...none, cell: emptyCell() }
    mergeCell(known.cell, cell)
    kinds.set(kind, known)
  }
  return kinds
}

/** The same calls give the same text, in whatever order they were counted. */
const inOrder = (cells: OfGroup) =>
  [...cells].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, ofDimensions]) => ofDimensions)

/** Puts rows in the place of all there are of these hours, days or months. */
export const replaceRows = (
  { t: { rollUps } }: Store,
  to: Db,
  grain: Grain,
  moments: readonly number[],
  rows: readonly RollUpRow[],
): Change[] => [
  to.delete(rollUps).where(and(eq(rollUps.grain, grain), inArray(rollUps.atMs, [...moments]))),
  rowsOf(rollUps, rows),
]

/** Adds the cells of a period to others, but those of some moments. */
export async function mergeRows(
  { db, t: { rollUps } }: Store,
  cells: Cells,
  {
    grain,
    fromMs,
    toMs,
    without = [],
  }: { grain: Grain; fromMs: number; toMs: number; without?: readonly number[] },
): Promise<void> {
  const rows = await db
    .select({ groupName: rollUps.groupName, cells: rollUps.cells })
    .from(rollUps)
    .where(
      and(
        eq(rollUps.grain, grain),
        gte(rollUps.atMs, fromMs),
        lt(rollUps.atMs, toMs),
        without.length === 0 ? undefined : notInArray(rollUps.atMs, [...without]),
      ),
    )
  for (const row of rows)
    for (const { packed, ...of } of unpackCells(row.cells))
      mergePacked(cellOf(cells, row.groupName, of), packed)
}
