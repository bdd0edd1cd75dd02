import { and, between, desc, eq, or, sql, type SQL } from 'drizzle-orm'

import type { Store } from '#store/store.ts'

import { roundCount } from '../anonymity.ts'
import { sumOf } from '../cell.ts'
import type { MeasureName } from '../measures.ts'
import { createSketches } from '../roll-up/items.ts'
import type { Column, Figure } from './figure.ts'
import { coverOf } from './period.ts'
import { load, sumOfRows, type Context } from './rows.ts'
import { baseOf, refuse, totalOf } from './told.ts'

/** Entries of lorebooks, or documents. */
export async function items(context: Context, kind: 'lore' | 'document'): Promise<Figure> {
  const { store, query, period, calendar } = context
  const why = 'lore and documents are counted by character only'
  for (const name of ['model', 'surface', 'key', 'group'] as const) refuse(query, name, why)
  const { itemRollUps: t } = store.t
  const daily = period.grain === 'hour' ? { ...period, grain: 'day' as const } : period
  const ranges = coverOf(
    {
      ...daily,
      fromMs: calendar.startOf('day', period.fromMs),
      toMs: calendar.next('day', period.toMs - 1),
    },
    calendar,
  )
  const sum = (column: typeof t.used) => sql<number>`sum(${column})`.mapWith(Number)
  const within = and(
    eq(t.kind, kind),
    query.character === undefined ? undefined : eq(t.characterId, query.character),
    or(
      ...ranges.map((range) => and(eq(t.grain, range.grain), between(t.atMs, range.fromMs, range.toMs - 1))),
    ),
  )
  const rows = await store.db
    .select({
      ...{ character: t.characterId, item: t.item, used: sum(t.used), dropped: sum(t.dropped) },
      tokens: sql<number>`sum(${t.tokens})`.mapWith(Number),
      scoreSum: sql<number>`sum(${t.scoreSum})`.mapWith(Number),
    })
    .from(t)
    .where(within)
    .groupBy(t.characterId, t.item)
    .orderBy(desc(sql`sum(${t.used})`))
    .limit(MOST_ITEMS)
  const calls = sumOfRows(await load(context, { ranges: coverOf(period, calendar), kinds: 'turns' }))
  const k = query.smallest
  const shown = k === null ? rows : await withEnoughPeople(store, rows, within, k)
  const tell = (value: number) => (k === null ? value : roundCount(value, k))
  const names: MeasureName[] =
    kind === 'lore' ? ['calls', 'loreRate', 'loreTokens'] : ['calls', 'searches', 'knowledgeRate']
  return {
    figure: query.figure,
    base: baseOf(
      context,
      sumOf(calls, 'calls'),
      [`all but the ${String(MOST_ITEMS)} most used`],
      rows.length - shown.length,
    ),
    columns: [
      { key: 'character', unit: 'name', means: 'Id of the character' },
      ...(kind === 'lore' ? LORE_COLUMNS : DOCUMENT_COLUMNS),
    ],
    rows: shown.map(({ character, item, used, dropped, tokens, scoreSum }) =>
      kind === 'lore'
        ? {
            character,
            entry: item,
            used: tell(used),
            dropped: tell(dropped),
            tokens: k === null ? tokens : Math.round(tokens / Math.max(1, used)) * tell(used),
          }
        : {
            character,
            document: item,
            used: tell(used),
            unused: tell(dropped),
            score: scoreSum / Math.max(1, used + dropped),
          },
    ),
    total: totalOf(calls, names, k),
  }
}

/** However often one person called something up, it is a figure about one person. */
async function withEnoughPeople<Row extends { character: string; item: string }>(
  { db, t: { itemRollUps: t } }: Store,
  rows: readonly Row[],
  within: SQL | undefined,
  k: number,
): Promise<Row[]> {
  const sketches = createSketches()
  const found = await db
    .select({ characterId: t.characterId, item: t.item, people: t.people })
    .from(t)
    .where(within)
  for (const { people, ...of } of found) sketches.unite(of, people)
  return rows.filter(({ character, item }) => sketches.least({ characterId: character, item }) >= k)
}

const MOST_ITEMS = 500
const LORE_COLUMNS: Column[] = [
  { key: 'entry', unit: 'name', means: 'Name of the entry' },
  { key: 'used', unit: 'count', means: 'Prompts that it stood in' },
  { key: 'dropped', unit: 'count', means: 'Prompts that had no room for it' },
  { key: 'tokens', unit: 'tokens', means: 'Tokens that it took, as estimated' },
]
const DOCUMENT_COLUMNS: Column[] = [
  { key: 'document', unit: 'name', means: 'Id of the document' },
  { key: 'used', unit: 'count', means: 'Passages of it that stood in prompts' },
  { key: 'unused', unit: 'count', means: 'Passages that were found and left out' },
  { key: 'score', unit: 'share', means: 'Mean score of its passages' },
]
