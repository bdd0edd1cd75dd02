/**
 * The cells of a time and a group in few characters: those of a year of a large house are millions, and a figure reads
 * thousands. Without names, and without the zeros at the end of each list.
 */
import { addAll, uniteAll, type Cell } from './cell.ts'
import { mergeInto } from './histogram.ts'

/** What the calls of a cell have in common, beside the time and the group. */
export interface Dimensions {
  kind: string
  /** Empty for base models. */
  characterId: string
  characterVersion: number
  /** Empty where no model was asked. */
  baseModel: string
  surface: string
  /** Id of the API key; empty in roll-ups from before keys were told apart. */
  keyId: string
}

type PackedDimensions = [
  kind: string,
  characterId: string,
  characterVersion: number,
  baseModel: string,
  surface: string,
  keyId?: string,
]

/** Times are places of the histogram, each followed by its number of calls. */
type Packed = [sums: number[], times: number[], people: number[], errors?: Record<string, number>]

/** Neither stands in JSON as it is. */
const [CELL_END, DIMENSIONS_END] = ['\n', '\t']

export interface PackedCell extends Dimensions {
  /** Its numbers, for `mergePacked`. */
  packed: string
}

/** A line for each cell: its dimensions, and its numbers behind them, which nobody reads who looks for other cells. */
export const packCells = (cells: Iterable<Dimensions & { cell: Cell }>): string =>
  Array.from(cells, ({ cell, kind, characterId, characterVersion, baseModel, surface, keyId }) => {
    const of = JSON.stringify([kind, characterId, characterVersion, baseModel, surface, keyId])
    return `${of}${DIMENSIONS_END}${pack(cell)}`
  }).join(CELL_END)

function pack({ sums, times, people, errors }: Cell): string {
  const packed: Packed = [trim(sums), flat(times), trim(people)]
  if (errors !== undefined) packed.push(Object.fromEntries([...errors].sort()))
  return JSON.stringify(packed)
}

export const unpackCells = (text: string): PackedCell[] =>
  text.split(CELL_END).map((line) => {
    const end = line.indexOf(DIMENSIONS_END)
    const [kind, characterId, characterVersion, baseModel, surface, keyId = ''] = JSON.parse(
      line.slice(0, end),
    ) as PackedDimensions
    return { kind, characterId, characterVersion, baseModel, surface, keyId, packed: line.slice(end + 1) }
  })

/** Adds the numbers of a packed cell to a cell. */
export function mergePacked(cell: Cell, packed: string): void {
  const [sums, times, people, errors] = JSON.parse(packed) as Packed
  addAll(cell.sums, sums)
  for (let at = 0; at < times.length; at += 2) {
    const [place = 0, calls = 0] = [times[at], times[at + 1]]
    cell.times.set(place, (cell.times.get(place) ?? 0) + calls)
  }
  uniteAll(cell.people, people)
  if (errors !== undefined) mergeInto((cell.errors ??= new Map<string, number>()), Object.entries(errors))
}

/** The sketch of people alone. */
export const packPeople = (people: readonly number[]): string => JSON.stringify(trim(people))

/** Of rows that older versions wrote, nobody is known. */
export const unpackPeople = (packed: string | null): number[] =>
  packed === null ? [] : (JSON.parse(packed) as number[])

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
