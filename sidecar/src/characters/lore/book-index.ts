/** What a run wants to know of all entries of a book without going through them. */
import { SOURCES, type Source } from './conditions.ts'
import type { LoreEntry } from './entry.ts'

export interface BookIndex {
  /** By the number of a plain key, the index of the entry that it calls up. */
  owners: readonly (number | undefined)[]
  /** Indices of entries that may be on though none of their plain keys is found. */
  unasked: readonly number[]
  /** How many messages back any entry looks. */
  deepest: number
  /** Texts that any entry looks into besides the messages. */
  sources: readonly Source[]
  /** Levels for which entries wait. */
  levels: readonly number[]
  /** Some entry depends on earlier turns. */
  isTimed: boolean
}

/** In messages, as in SillyTavern. */
export const DEEPEST_SCAN = 1_000

/** In messages; never below 0. */
export const depthOf = (entry: LoreEntry, bookDepth: number): number =>
  Math.max(0, Math.min(entry.scanDepth ?? bookDepth, DEEPEST_SCAN))

export const indexEntries = (entries: readonly LoreEntry[], bookDepth: number): BookIndex => ({
  owners: ownersOf(entries),
  unasked: entries.flatMap((entry, index) => (isUnasked(entry) ? [index] : [])),
  deepest: entries.reduce((deepest, entry) => Math.max(deepest, depthOf(entry, bookDepth)), 0),
  sources: SOURCES.filter((source) => entries.some((entry) => entry.sources.includes(source))),
  levels: [...new Set(entries.map(({ recursionLevel }) => recursionLevel))],
  isTimed: entries.some(isTimed),
})

function ownersOf(entries: readonly LoreEntry[]): number[] {
  const owners: number[] = []
  for (const [index, { keys }] of entries.entries())
    for (const key of keys) if (key.kind === 'plain') owners[key.number] = index
  return owners
}

const isUnasked = ({ isConstant, decorators, keys }: LoreEntry): boolean =>
  isConstant ||
  decorators.isForcedOn ||
  decorators.keepsAfterMatch ||
  keys.some(({ kind }) => kind === 'pattern')

const isTimed = ({ sticky, cooldown, decorators }: LoreEntry): boolean =>
  sticky > 0 || cooldown > 0 || decorators.keepsAfterMatch || decorators.firesOnce
