import { emptyCell, sumOf } from '../cell.ts'
import type { MeasureName, Value } from '../measures.ts'
import type { Figure } from './figure.ts'
import { coverOf, everyDay, periodOf } from './period.ts'
import { groupBy, load, sumOfGroups, sumOfRows, type Context } from './rows.ts'
import { AT, baseOf, columnsOf, isTooSmall, measured, NO_FAILURES, ONLY_TURNS, totalOf } from './told.ts'

/** One row for each hour, day or month. */
export async function overTime(context: Context, names: MeasureName[]): Promise<Figure> {
  const { query, period, calendar } = context
  const ranges = period.grain === 'month' ? coverOf(period, calendar) : everyDay(period)
  const rows = await load(context, { ranges, kinds: 'turns' })
  const groups = groupBy(rows, ({ atMs }) => calendar.startOf(period.grain, atMs), String)
  const steps = new Map(groups.map(({ key, cell }) => [key, cell]))
  const all = sumOfGroups(groups)
  let hidden = 0
  const told: Record<string, Value>[] = []
  for (
    let atMs = calendar.startOf(period.grain, period.fromMs);
    atMs < period.toMs;
    atMs = calendar.next(period.grain, atMs)
  ) {
    const cell = steps.get(atMs) ?? emptyCell()
    const isHidden = sumOf(cell, 'calls') > 0 && isTooSmall(cell, query.smallest)
    if (isHidden) hidden += 1
    const values = isHidden
      ? Object.fromEntries(names.map((name) => [name, null]))
      : measured(cell, names, query.smallest)
    told.push({ atMs, ...values })
  }
  const length = period.toMs - period.fromMs
  const before = periodOf({ ...query, fromMs: period.fromMs - length, toMs: period.fromMs }, calendar)
  const earlier = sumOfRows(await load(context, { ranges: coverOf(before, calendar), kinds: 'turns' }))
  return {
    figure: query.figure,
    base: baseOf(context, sumOf(all, 'calls'), [ONLY_TURNS, NO_FAILURES], hidden),
    columns: [AT, ...columnsOf(names)],
    rows: told,
    total: totalOf(all, names, query.smallest),
    previous: totalOf(earlier, names, query.smallest),
  }
}
