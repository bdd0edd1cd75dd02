/** Months out of days. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { mergeRows, replaceRows, toRows, type Cells } from './cells.ts'
import { replaceItems, sumItems } from './items.ts'
import { dequeue, queued } from './queue.ts'
import type { RollUpRun } from './roll-up.ts'

export async function buildMonths(run: RollUpRun): Promise<void> {
  for (;;) {
    const [atMs] = await queued(run.store, 'month', 1)
    if (atMs === undefined) return
    await buildMonth(run, atMs)
  }
}

async function buildMonth(run: RollUpRun, atMs: number): Promise<void> {
  const { store, calendar } = run
  const untilMs = calendar.next('month', atMs)
  const cells: Cells = new Map()
  for (let dayMs = atMs; dayMs < untilMs; dayMs = calendar.next('day', dayMs)) {
    await mergeRows(store, cells, { grain: 'day', fromMs: dayMs, toMs: calendar.next('day', dayMs) })
    await nextTurn()
  }
  const items = await sumItems(run, atMs, untilMs)
  await run.commit((to) => [
    ...replaceRows(store, to, 'month', [atMs], toRows('month', atMs, cells)),
    ...replaceItems(store, to, 'month', atMs, items),
    ...dequeue(store, to, 'month', [atMs]),
  ])
}
