import { hideSmall, roundCell } from '../anonymity.ts'
import { sumOf } from '../cell.ts'
import { KEYS } from './by-dimension.ts'
import type { Figure } from './figure.ts'
import { coverOf } from './period.ts'
import { groupBy, load, sumOfGroups, type Context } from './rows.ts'
import { baseOf, totalOf } from './told.ts'

export async function errors(context: Context): Promise<Figure> {
  const { query, period, calendar } = context
  const by = query.by ?? 'kind'
  const { key, columns } = KEYS[by]
  const rows = await load(context, { ranges: coverOf(period, calendar), kinds: 'all', by })
  const groups = groupBy(rows, key, JSON.stringify)
  const { shown, hidden } =
    query.smallest === null ? { shown: groups, hidden: 0 } : hideSmall(groups, query.smallest)
  const told = shown.flatMap((group) => {
    const cell = query.smallest === null ? group.cell : roundCell(group.cell, query.smallest)
    return [...(cell.errors ?? [])]
      .filter(([, failures]) => failures > 0)
      .map(([error, failures]) => ({
        ...group.key,
        error,
        failures,
        share: failures / Math.max(1, sumOf(cell, 'calls')),
      }))
  })
  const all = sumOfGroups(groups)
  return {
    figure: query.figure,
    base: baseOf(context, sumOf(all, 'calls'), [], hidden),
    columns: [
      ...columns,
      { key: 'error', unit: 'name', means: 'Class of the failure; "cancelled" is a client that left' },
      { key: 'failures', unit: 'count', means: 'Calls that ended so' },
      { key: 'share', unit: 'share', means: 'Of all calls of the row' },
    ],
    rows: told.sort((a, b) => b.failures - a.failures),
    total: totalOf(all, ['calls', 'failed', 'cancelled', 'errorRate'], query.smallest),
  }
}
