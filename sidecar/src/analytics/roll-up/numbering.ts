/** The number of each pseudonym, under which it stands in sets. */
import { and, inArray, lt } from 'drizzle-orm'

import type { Change, Db, Store } from '#store/store.ts'

import { inPieces } from './queue.ts'

export interface Numbered {
  readonly number: number
  firstDayMs: number
  lastDayMs: number
}

export interface Numbering {
  /** Gives numbers to those who have none; they were first seen on this day, as far as is known. */
  learn(persons: ReadonlySet<string>, dayMs: number): Promise<ReadonlyMap<string, Numbered>>
}

/** For one run: whoever is erased later must not be found in it. */
export function createNumbering({ db, t: { people } }: Store): Numbering {
  const known = new Map<string, Numbered>()

  async function read(persons: readonly string[]): Promise<void> {
    for (const { person, ...numbered } of await db
      .select()
      .from(people)
      .where(inArray(people.person, [...persons])))
      known.set(person, numbered)
  }

  return {
    async learn(persons, dayMs) {
      const unknown = [...persons].filter((person) => !known.has(person))
      for (const some of inPieces(unknown)) {
        await read(some)
        const fresh = some.filter((person) => !known.has(person))
        if (fresh.length === 0) continue
        await db
          .insert(people)
          .values(fresh.map((person) => ({ person, firstDayMs: dayMs, lastDayMs: dayMs })))
          .onConflictDoNothing()
        await read(fresh)
      }
      return known
    },
  }
}

/** Writes down that these were seen later than was known. */
export const seenLater = (
  { t: { people } }: Store,
  to: Db,
  numbers: readonly number[],
  dayMs: number,
): Change[] =>
  inPieces(numbers).map((some) =>
    to
      .update(people)
      .set({ lastDayMs: dayMs })
      .where(and(inArray(people.number, some), lt(people.lastDayMs, dayMs))),
  )
