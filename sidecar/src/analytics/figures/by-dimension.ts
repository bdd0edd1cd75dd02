import { hideSmall } from '../anonymity.ts'
import { sumOf } from '../cell.ts'
import type { MeasureName, Value } from '../measures.ts'
import type { Column, Dimension, Figure } from './figure.ts'
import { coverOf } from './period.ts'
import { groupBy, load, sumOfGroups, type Context, type Row, type Wish } from './rows.ts'
import { baseOf, columnsOf, measured, ONLY_TURNS, totalOf } from './told.ts'

export const KEYS: Record<Dimension, { key: (row: Row) => Record<string, Value>; columns: Column[] }> = {
  character: {
    key: ({ characterId }) => ({ character: characterId }),
    columns: [{ key: 'character', unit: 'name', means: 'Id of the character; empty for base models' }],
  },
  version: {
    key: ({ characterId, characterVersion }) => ({ character: characterId, version: characterVersion }),
    columns: [
      { key: 'character', unit: 'name', means: 'Id of the character' },
      { key: 'version', unit: 'name', means: 'Version that answered' },
    ],
  },
  model: {
    key: ({ baseModel }) => ({ model: baseModel }),
    columns: [{ key: 'model', unit: 'name', means: 'Base model; empty where no model was asked' }],
  },
  surface: {
    key: ({ surface }) => ({ surface }),
    columns: [{ key: 'surface', unit: 'name', means: 'Where it was asked: Open WebUI or the API' }],
  },
  key: {
    key: ({ keyId }) => ({ key: keyId }),
    columns: [
      { key: 'key', unit: 'name', means: 'Id of the API key; empty for days before keys were told apart' },
    ],
  },
  group: {
    key: ({ groupName }) => ({ group: groupName }),
    columns: [{ key: 'group', unit: 'name', means: 'A group of Open WebUI; who is in two counts in both' }],
  },
  kind: {
    key: ({ kind }) => ({ kind }),
    columns: [{ key: 'kind', unit: 'name', means: 'turn of a person, task of Open WebUI, or embedding' }],
  },
}

const OTHERS = '(others)'

/** One row for each character, model and so on. */
export async function byDimension(
  context: Context,
  names: MeasureName[],
  usual: Dimension,
  kinds: Wish['kinds'] = 'turns',
): Promise<Figure> {
  const { query, period, calendar } = context
  const by = query.by ?? usual
  const { key, columns } = KEYS[by]
  const ranges = coverOf(period, calendar)
  const rows = await load(context, { ranges, kinds, by })
  const groups = groupBy(rows, key, JSON.stringify)
  const all = sumOfGroups(groups)
  const { shown, others, hidden } =
    query.smallest === null
      ? { shown: groups, others: undefined, hidden: 0 }
      : hideSmall(groups, query.smallest)
  const told = shown
    .sort((a, b) => sumOf(b.cell, 'calls') - sumOf(a.cell, 'calls'))
    .map((group) => ({ ...group.key, ...measured(group.cell, names, query.smallest) }))
  const rest = others && {
    ...Object.fromEntries(columns.map((column) => [column.key, OTHERS])),
    ...measured(others, names, query.smallest),
  }
  return {
    figure: query.figure,
    base: baseOf(
      context,
      sumOf(all, 'calls'),
      [
        ...(kinds === 'turns' ? [ONLY_TURNS] : []),
        ...(by === 'group' ? ['calls of people whose groups are not known'] : []),
      ],
      hidden,
    ),
    columns: [...columns, ...columnsOf(names)],
    rows: rest === undefined ? told : [...told, rest],
    // Who is in two groups would count twice.
    total: by === 'group' ? null : totalOf(all, names, query.smallest),
  }
}
