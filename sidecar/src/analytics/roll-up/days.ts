/** Hours out of calls, and the day that they are part of. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import type { Change, Db, Store } from '#store/store.ts'

import { HOUR_MS } from '../calendar.ts'
import { count, emptyCell, mergeCell } from '../cell.ts'
import { readCalls, type Call } from './calls.ts'
import { ALL, cellOf, mergeRows, replaceRows, toRows, type Cells, type RollUpRow } from './cells.ts'
import { readItems, replaceItems } from './items.ts'
import { openMembers, type Members } from './members.ts'
import { dequeue, enqueue, queued } from './queue.ts'
import type { RollUpRun } from './roll-up.ts'

/** More than any day has. */
const HOURS_AT_ONCE = 32

/** On SQLite whoever records a call waits until so many are written: a few milliseconds. */
const ROWS_IN_COMMIT = 100

export async function buildDays(run: RollUpRun): Promise<void> {
  const { store, calendar } = run
  for (;;) {
    const hours = await queued(store, 'hour', HOURS_AT_ONCE)
    const days = [
      ...hours.slice(0, 1).map((atMs) => calendar.startOf('day', atMs)),
      ...(await queued(store, 'day', 1)),
    ]
    if (days.length === 0) return
    const dayMs = Math.min(...days)
    const ofDay = hours.filter((atMs) => calendar.startOf('day', atMs) === dayMs)
    // What is left of its records is not all of it any more.
    if (dayMs < run.keptSinceMs) await run.commit((to) => done(store, to, ofDay, dayMs))
    else await buildDay(run, dayMs, ofDay)
  }
}

const done = (store: Store, to: Db, hours: readonly number[], dayMs: number): Change[] => [
  ...dequeue(store, to, 'hour', hours),
  ...dequeue(store, to, 'day', [dayMs]),
]

async function buildDay(run: RollUpRun, dayMs: number, hours: readonly number[]): Promise<void> {
  const { store, calendar } = run
  const day: Cells = new Map()
  const members = await openMembers(run, dayMs)
  let built: number[] = []
  let rows: RollUpRow[] = []
  const commitHours = () =>
    run.commit((to) => [
      ...replaceRows(store, to, 'hour', built, rows),
      ...members.changes(to),
      ...dequeue(store, to, 'hour', built),
      enqueue(store, 'day', [dayMs]),
    ])
  for await (const { atMs, cells } of countHours(store, hours, members)) {
    for (const [groupName, ofGroup] of cells)
      for (const of of ofGroup.values()) mergeCell(cellOf(day, groupName, of), of.cell)
    built.push(atMs)
    rows.push(...toRows('hour', atMs, cells))
    if (rows.length < ROWS_IN_COMMIT) continue
    await commitHours()
    ;[built, rows] = [[], []]
  }
  if (built.length > 0) await commitHours()
  const untilMs = calendar.next('day', dayMs)
  await mergeRows(store, day, { grain: 'hour', fromMs: dayMs, toMs: untilMs, without: hours })
  const items = await readItems(store, dayMs, untilMs)
  await run.commit((to) => [
    ...replaceRows(store, to, 'day', [dayMs], toRows('day', dayMs, day)),
    ...replaceItems(store, to, 'day', dayMs, items),
    ...dequeue(store, to, 'day', [dayMs]),
    enqueue(store, 'month', [calendar.startOf('month', dayMs)]),
  ])
}

interface CountedHour {
  atMs: number
  cells: Cells
}

/** Each of the hours, which are in their order; those without calls too. */
async function* countHours(
  store: Store,
  hours: readonly number[],
  members: Members,
): AsyncGenerator<CountedHour> {
  for (const stretch of stretchesOf(hours)) {
    let at = 0
    let cells: Cells = new Map()
    for await (const calls of readCalls(store, stretch.fromMs, stretch.toMs)) {
      await members.learn(calls)
      for (const call of calls) {
        for (; call.startedAtMs >= stretch.fromMs + (at + 1) * HOUR_MS; at++) {
          yield { atMs: stretch.fromMs + at * HOUR_MS, cells }
          cells = new Map()
        }
        countIn(cells, call)
        members.add(call)
      }
      await nextTurn()
    }
    for (; stretch.fromMs + at * HOUR_MS < stretch.toMs; at++) {
      yield { atMs: stretch.fromMs + at * HOUR_MS, cells }
      cells = new Map()
    }
  }
}

/** Hours that follow each other can be read at once. */
function stretchesOf(hours: readonly number[]): { fromMs: number; toMs: number }[] {
  const stretches: { fromMs: number; toMs: number }[] = []
  for (const atMs of hours) {
    const last = stretches.at(-1)
    if (last?.toMs === atMs) last.toMs = atMs + HOUR_MS
    else stretches.push({ fromMs: atMs, toMs: atMs + HOUR_MS })
  }
  return stretches
}

function countIn(cells: Cells, call: Call): void {
  const one = emptyCell()
  count(one, call)
  mergeCell(cellOf(cells, ALL, call), one)
  for (const groupName of new Set(call.groups)) mergeCell(cellOf(cells, groupName, call), one)
}
