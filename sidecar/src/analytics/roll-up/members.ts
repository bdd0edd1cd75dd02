/** The people of a day: who is in its sets, and what changes with them. */
import { and, eq, gt, inArray } from 'drizzle-orm'

import { rowsOf, type Change, type Db, type Store } from '#store/store.ts'

import type { Calendar } from '../calendar.ts'
import { eachMember, packSet } from '../person-set.ts'
import type { Call } from './calls.ts'
import { ALL } from './cells.ts'
import { seenLater, type Numbered } from './numbering.ts'
import { MONTH_DAYS } from './people.ts'
import { enqueue, inPieces } from './queue.ts'
import type { RollUpRun } from './roll-up.ts'

export interface Members {
  /** To be asked before the calls are added. */
  learn(calls: readonly Call[]): Promise<void>
  add(call: Call): void
  /** What was added since it was asked the last time, as changes of the tables. */
  changes(to: Db): Change[]
}

interface PersonSet {
  characterId: string
  groupName: string
  members: Set<number>
}

export async function openMembers(
  { store, calendar, now, numbering }: RollUpRun,
  dayMs: number,
): Promise<Members> {
  const sets = await readSets(store, dayMs)
  let known: ReadonlyMap<string, Numbered> = new Map()
  let isChanged = false
  const seen = new Set<Numbered>()

  function setOf(characterId: string, groupName: string): Set<number> {
    const key = `${characterId}\0${groupName}`
    const set = sets.get(key) ?? { characterId, groupName, members: new Set() }
    sets.set(key, set)
    return set.members
  }

  return {
    async learn(calls) {
      const persons = new Set(
        calls.flatMap(({ kind, person }) => (kind === 'turn' && person !== null ? [person] : [])),
      )
      known = await numbering.learn(persons, dayMs)
    },
    add({ kind, person, characterId, groups }) {
      const numbered = kind === 'turn' && person !== null ? known.get(person) : undefined
      if (numbered === undefined) return
      seen.add(numbered)
      for (const character of new Set([ALL, characterId]))
        for (const group of new Set([ALL, ...groups])) {
          const members = setOf(character, group)
          isChanged ||= !members.has(numbered.number)
          members.add(numbered.number)
        }
    },
    changes(to) {
      const earlier = [...seen].filter(({ firstDayMs }) => firstDayMs > dayMs)
      const later = [...seen].filter(({ lastDayMs }) => lastDayMs < dayMs)
      seen.clear()
      const changes = [
        ...seenLater(
          store,
          to,
          later.map(({ number }) => number),
          dayMs,
        ),
        ...seenEarlier(store, to, calendar, earlier, dayMs),
      ]
      for (const numbered of later) numbered.lastDayMs = dayMs
      for (const numbered of earlier) numbered.firstDayMs = dayMs
      if (!isChanged) return changes
      isChanged = false
      return [
        ...changes,
        to.delete(store.t.personSets).where(eq(store.t.personSets.dayMs, dayMs)),
        rowsOf(
          store.t.personSets,
          Array.from(sets.values(), ({ members, ...of }) => ({ ...of, dayMs, members: packSet(members) })),
        ),
        enqueue(store, 'people', monthFrom(calendar, dayMs, now())),
        enqueue(store, 'week', [calendar.startOf('week', dayMs)]),
      ]
    },
  }
}

async function readSets({ db, t: { personSets } }: Store, dayMs: number): Promise<Map<string, PersonSet>> {
  const rows = await db.select().from(personSets).where(eq(personSets.dayMs, dayMs))
  return new Map(
    rows.map(({ characterId, groupName, members: bytes }) => {
      const members = new Set<number>()
      eachMember(bytes, (member) => members.add(member))
      return [`${characterId}\0${groupName}`, { characterId, groupName, members }]
    }),
  )
}

/** Every day whose thirty days have this one among them. */
function monthFrom(calendar: Calendar, dayMs: number, nowMs: number): number[] {
  const days: number[] = []
  for (let day = dayMs; day <= nowMs && days.length < MONTH_DAYS; day = calendar.next('day', day))
    days.push(day)
  return days
}

/** They are new on another day than was thought, and belong to another week of retention. */
function seenEarlier(
  store: Store,
  to: Db,
  calendar: Calendar,
  seen: readonly Numbered[],
  dayMs: number,
): Change[] {
  if (seen.length === 0) return []
  const { people } = store.t
  const weeks: number[] = []
  const lastMs = Math.max(...seen.map(({ lastDayMs }) => lastDayMs))
  for (let week = calendar.startOf('week', dayMs); week <= lastMs; week = calendar.next('week', week))
    weeks.push(week)
  return [
    ...inPieces(seen.map(({ number }) => number)).map((some) =>
      to
        .update(people)
        .set({ firstDayMs: dayMs })
        .where(and(inArray(people.number, some), gt(people.firstDayMs, dayMs))),
    ),
    enqueue(
      store,
      'people',
      seen.map(({ firstDayMs }) => firstDayMs),
    ),
    enqueue(store, 'week', weeks),
  ]
}
