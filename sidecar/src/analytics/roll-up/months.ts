/** Months out of days. */
import { setImmediate as nextTurn } from 'node:timers/promises'

import { and, eq, gte, lt } from 'drizzle-orm'

import { mergeRows, replaceRows, toRows, type Cells } from './cells.ts'
import { replaceItems, total, type Item } from './days.ts'
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

function sumItems({ store }: RollUpRun, fromMs: number, untilMs: number): Promise<Item[]> {
  const { itemRollUps: table } = store.t
  const rows = store.db
    .select({
      ...{ kind: table.kind, characterId: table.characterId, item: table.item },
      ...{ used: total(table.used), dropped: total(table.dropped) },
      ...{ tokens: total(table.tokens), scoreSum: total(table.scoreSum) },
    })
    .from(table)
    .where(and(eq(table.grain, 'day'), gte(table.atMs, fromMs), lt(table.atMs, untilMs)))
    .groupBy(table.kind, table.characterId, table.item)
  return Promise.resolve(rows)
}
