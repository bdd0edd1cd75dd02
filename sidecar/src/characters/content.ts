/** What a card says, whatever file it came in: for finding equal cards, and for showing how two versions differ. */
import { createHash } from 'node:crypto'

import type { Card, Lorebook } from './card.ts'

/** Written anew with each export, without the card saying anything else. */
const PASSING = new Set(['modification_date', 'source'])

/** SHA-256 in hex. Equal for one card from JSON, YAML and PNG, and for our own export of it. */
export function contentHash(card: Card): string {
  const { troupe, ...extensions } = card.extensions
  const said = Object.entries(card).filter(([key]) => !PASSING.has(key))
  const content = { ...Object.fromEntries(said), extensions: { ...extensions, ...ownSettings(troupe) } }
  return createHash('sha256')
    .update(JSON.stringify(sorted(content)))
    .digest('hex')
}

/** Whether two books say the same, whatever the order of their keys. */
export const isSameBook = (one: Lorebook, other: Lorebook): boolean => isSame(one, other)

/** Ours without the id, which says where a card lives and not what it is. */
function ownSettings(troupe: unknown): object {
  if (!isObject(troupe)) return {}
  const settings = Object.entries(troupe).filter(([key]) => key !== 'id')
  return settings.length === 0 ? {} : { troupe: Object.fromEntries(settings) }
}

/** Keys in one order: programs write them in any. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isObject(value)) return value
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key])]),
  )
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export interface Difference {
  /** E.g. `character_book.entries[2].content`. */
  path: string
  /** Absent where there was nothing. */
  before?: unknown
  after?: unknown
}

/** In the order of the fields; nothing in it when both say the same. */
export function diffCards(before: Card, after: Card): Difference[] {
  return differences('', before, after).filter(({ path }) => !PASSING.has(path))
}

function differences(path: string, before: unknown, after: unknown): Difference[] {
  if (Array.isArray(before) && Array.isArray(after)) return listDifferences(path, before, after)
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...keys].flatMap((key) =>
      differences(path === '' ? key : `${path}.${key}`, before[key], after[key]),
    )
  }
  if (isSame(before, after)) return []
  return [{ path, ...(before !== undefined && { before }), ...(after !== undefined && { after }) }]
}

/** What both begin and end with is left out first, so that one new item in the middle is one difference. */
function listDifferences(path: string, before: readonly unknown[], after: readonly unknown[]): Difference[] {
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && isSame(before[start], after[start])) start++
  let end = 0
  while (end < shorter - start && isSame(before.at(-1 - end), after.at(-1 - end))) end++
  const left = before.slice(start, before.length - end)
  const right = after.slice(start, after.length - end)
  return Array.from({ length: Math.max(left.length, right.length) }, (_, at) =>
    differences(`${path}[${String(start + at)}]`, left[at], right[at]),
  ).flat()
}

const isSame = (one: unknown, other: unknown): boolean =>
  one === other || JSON.stringify(sorted(one)) === JSON.stringify(sorted(other))
