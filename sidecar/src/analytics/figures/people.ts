import { and, asc, eq, gte, lt } from 'drizzle-orm'

import type { Value } from '../measures.ts'
import { ALL } from '../roll-up/cells.ts'
import type { Figure } from './figure.ts'
import type { Context } from './rows.ts'
import { AT, baseOf, NO_MODEL, ONLY_TURNS, refuse, tellPeople } from './told.ts'

export async function people(context: Context): Promise<Figure> {
  const { store, query, period, calendar } = context
  refuse(query, 'model', NO_MODEL)
  refuse(query, 'surface', NO_MODEL)
  refuse(query, 'key', NO_MODEL)
  const { peopleRollUps: t } = store.t
  const rows = await store.db
    .select()
    .from(t)
    .where(
      and(
        eq(t.characterId, query.character ?? ALL),
        eq(t.groupName, query.group ?? ALL),
        gte(t.dayMs, period.fromMs),
        lt(t.dayMs, period.toMs),
      ),
    )
    .orderBy(asc(t.dayMs))
  const of = new Map(rows.map((row) => [row.dayMs, row]))
  const tell = (count: number) => tellPeople(count, query.smallest)
  const told: Record<string, Value>[] = []
  let hidden = 0
  for (
    let dayMs = period.fromMs;
    // A day that was not counted yet has no number, not even none.
    dayMs < Math.min(period.toMs, context.dataAsOfMs);
    dayMs = calendar.next('day', dayMs)
  ) {
    const { day = 0, week = 0, month = 0, fresh = 0 } = of.get(dayMs) ?? {}
    const [daily, monthly] = [tell(day), tell(month)]
    const [news, returning] = [tell(fresh), tell(day - fresh)]
    if (daily === null && day > 0) hidden += 1
    told.push({
      ...{ atMs: dayMs, daily, weekly: tell(week), monthly },
      stickiness: daily === null || !monthly ? null : daily / monthly,
      // Both or none: one of them is the other less the whole day.
      fresh: returning === null ? null : news,
      returning: news === null ? null : returning,
    })
  }
  return {
    figure: 'people',
    base: {
      ...baseOf(
        context,
        rows.reduce((sum, { day }) => sum + day, 0),
        ['calls that name nobody, e.g. by API keys', ONLY_TURNS],
        hidden,
      ),
      grain: 'day',
    },
    columns: [
      { ...AT, means: 'Beginning of the day' },
      { key: 'daily', unit: 'people', means: 'Different people who asked something on this day' },
      { key: 'weekly', unit: 'people', means: 'In the seven days that end with this one' },
      { key: 'monthly', unit: 'people', means: 'In the thirty days that end with this one' },
      { key: 'stickiness', unit: 'share', means: 'People of the day among those of the thirty days' },
      { key: 'fresh', unit: 'people', means: 'Never seen before, as long as pseudonyms are kept' },
      { key: 'returning', unit: 'people', means: 'The other people of the day' },
    ],
    rows: told,
    total: null,
  }
}
