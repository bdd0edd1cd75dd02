/**
 * The cells of a time and a group in few characters: those of a year of a large house are millions, and a figure reads
 * thousands. JSON without names, and without the zeros at the end of each list.
 */
import { addAll, emptyCell, uniteAll, type Cell } from './cell.ts'

/** What the calls of a cell have in common, beside the time and the group. */
export interface Dimensions {
  kind: string
  /** Empty for base models. */
  characterId: string
  characterVersion: number
  /** Empty where no model was asked. */
  baseModel: string
  surface: string
}

/** Times are places of the histogram, each followed by its number of calls. */
export type PackedCell = [
  kind: string,
  characterId: string,
  characterVersion: number,
  baseModel: string,
  surface: string,
  sums: number[],
  times: number[],
  people: number[],
  errors?: Record<string, number>,
]

export function packCells(cells: Iterable<Dimensions & { cell: Cell }>): string {
  const packed: PackedCell[] = []
  for (const { cell, kind, characterId, characterVersion, baseModel, surface } of cells) {
    const { sums, people, errors } = cell
    const numbers = [trim(sums), flat(cell.times), trim(people)] as const
    const of = [kind, characterId, characterVersion, baseModel, surface] as const
    packed.push(
      errors === undefined
        ? [...of, ...numbers]
        : [...of, ...numbers, Object.fromEntries([...errors].sort())],
    )
  }
  return JSON.stringify(packed)
}

export const unpackCells = (text: string): PackedCell[] => JSON.parse(text) as PackedCell[]

export const dimensionsOf = ([
  kind,
  characterId,
  characterVersion,
  baseModel,
  surface,
]: PackedCell): Dimensions => ({
  ...{ kind, characterId, characterVersion, baseModel, surface },
})

/** Adds a packed cell to one. */
export function mergePacked(cell: Cell, packed: PackedCell): void {
  const [, , , , , sums, times, people, errors] = packed
  addAll(cell.sums, sums)
  for (let at = 0; at < times.length; at += 2) {
    const [place = 0, calls = 0] = [times[at], times[at + 1]]
    cell.times.set(place, (cell.times.get(place) ?? 0) + calls)
  }
  uniteAll(cell.people, people)
  if (errors === undefined) return
  cell.errors ??= new Map()
  for (const [code, calls] of Object.entries(errors))
    cell.errors.set(code, (cell.errors.get(code) ?? 0) + calls)
}

export function unpackCell(packed: PackedCell): Cell {
  const cell = emptyCell()
  mergePacked(cell, packed)
  return cell
}

function trim(list: readonly number[]): number[] {
  let length = list.length
  while (length > 0 && list[length - 1] === 0) length--
  return list.slice(0, length)
}

/** In ascending order, so that the same calls always give the same text. */
function flat(times: Cell['times']): number[] {
  const places = [...times.keys()].sort((a, b) => a - b)
  const list: number[] = []
  for (const place of places) list.push(place, times.get(place) ?? 0)
  return list
}
