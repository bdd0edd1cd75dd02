import { and, asc, eq, gte, lt } from 'drizzle-orm'

import { DAY_MS } from '../calendar.ts'
import { ALL } from '../roll-up/cells.ts'
import type { Figure } from './figure.ts'
import type { Context } from './rows.ts'
import { baseOf, NO_MODEL, refuse, tellPeople } from './told.ts'

export async function retention(context: Context): Promise<Figure> {
  const { store, query, period, calendar } = context
  refuse(query, 'model', NO_MODEL)
  refuse(query, 'surface', NO_MODEL)
  refuse(query, 'key', NO_MODEL)
  const { cohortRollUps: t } = store.t
  const rows = await store.db
    .select()
    .from(t)
    .where(
      and(
        eq(t.characterId, query.character ?? ALL),
        eq(t.groupName, query.group ?? ALL),
        gte(t.cohortMs, calendar.startOf('week', period.fromMs)),
        lt(t.cohortMs, period.toMs),
      ),
    )
    .orderBy(asc(t.cohortMs), asc(t.weekMs))
  const sizes = new Map(
    rows.filter(({ weekMs, cohortMs }) => weekMs === cohortMs).map((row) => [row.cohortMs, row.people]),
  )
  let hidden = 0
  const told = rows.flatMap(({ cohortMs, weekMs, people: count }) => {
    const size = tellPeople(sizes.get(cohortMs) ?? 0, query.smallest)
    const back = tellPeople(count, query.smallest)
    if (size === null || back === null) {
      hidden += 1
      return []
    }
    const week = Math.round((weekMs - cohortMs) / (7 * DAY_MS))
    return [{ cohortMs, week, size, people: back, share: size === 0 ? null : Math.min(1, back / size) }]
  })
  return {
    figure: 'retention',
    base: {
      ...baseOf(
        context,
        [...sizes.values()].reduce((sum, size) => sum + size, 0),
        ['calls that name nobody'],
        hidden,
      ),
      grain: 'day',
    },
    columns: [
      { key: 'cohortMs', unit: 'time', means: 'Beginning of the week in which these people were first seen' },
      { key: 'week', unit: 'count', means: 'How many weeks later' },
      { key: 'size', unit: 'people', means: 'People first seen in that week' },
      { key: 'people', unit: 'people', means: 'Those of them who asked something in the later week' },
      { key: 'share', unit: 'share', means: 'Of the people first seen in that week' },
    ],
    rows: told,
    total: null,
  }
}
