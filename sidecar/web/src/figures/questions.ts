/** What is asked for what is chosen: each figure once, with the filters that it knows. */
import {
  dimensionOf,
  FILTERS,
  shiftDay,
  type Choice,
  type Days,
  type Dimension,
  type Filter,
  type Tab,
} from './choice.ts'
import type { FigureName } from './figure.ts'

export interface Question extends Days {
  figure: FigureName
  filters: Partial<Record<Filter, string>>
  by?: Dimension
}

export type QuestionName =
  | 'overview'
  | 'tally'
  | 'people'
  | 'peopleBefore'
  | 'usage'
  | 'speed'
  | 'speedBy'
  | 'classes'
  | 'errors'
  | 'lore'
  | 'knowledge'
  | 'ratings'
  | 'retention'
  | 'groups'
  | 'costs'

/** A figure refuses a filter that it was not counted by. */
const KNOWN_FILTERS: Partial<Record<FigureName, readonly Filter[]>> = {
  people: ['character', 'group'],
  retention: ['character', 'group'],
  lore: ['character'],
  knowledge: ['character'],
}

const TILES: readonly QuestionName[] = ['overview', 'tally']
const PEOPLE_TILE: readonly QuestionName[] = ['people', 'peopleBefore']
const TABS_NEED: Record<Tab, readonly QuestionName[]> = {
  use: ['usage'],
  speed: ['speed', 'speedBy'],
  failures: ['classes', 'errors'],
  knowledge: ['lore', 'knowledge'],
  satisfaction: ['ratings'],
  people: ['retention', 'groups'],
  cost: ['costs'],
}

export function questionsFor(choice: Choice, days: Days): Record<QuestionName, Question> {
  const by = dimensionOf(choice)
  const ask = (figure: FigureName, rows?: Dimension): Question => ({
    figure,
    ...days,
    filters: Object.fromEntries(
      FILTERS.flatMap((filter) => {
        const value = choice[filter]
        return value === null || !isKnown(figure, filter) ? [] : [[filter, value]]
      }),
    ),
    ...(rows === undefined ? {} : { by: rows }),
  })
  const dayBefore = shiftDay(days.from, -1)
  return {
    overview: ask('overview'),
    tally: ask('ratings', 'version'),
    people: ask('people'),
    // What was told on the last day of the period before.
    peopleBefore: { ...ask('people'), from: dayBefore, to: dayBefore },
    usage: ask('usage', by),
    speed: ask('speed'),
    speedBy: ask('speed', by),
    classes: ask('errors', 'kind'),
    errors: ask('errors', by),
    lore: ask('lore'),
    knowledge: ask('knowledge'),
    ratings: ask('ratings', by),
    retention: ask('retention'),
    groups: ask('usage', 'group'),
    costs: ask('costs', by),
  }
}

/** For whoever may not see people, nothing of them is asked: it would be refused. */
export function namesFor(tab: Tab, mayPeople: boolean): QuestionName[] {
  return [...TILES, ...(mayPeople ? PEOPLE_TILE : []), ...TABS_NEED[tabFor(tab, mayPeople)]]
}

export const tabFor = (tab: Tab, mayPeople: boolean): Tab => (tab === 'people' && !mayPeople ? 'use' : tab)

/** Filters that are on, and that this figure does not know. */
export const leftOut = (figure: FigureName, choice: Choice): Filter[] =>
  FILTERS.filter((filter) => choice[filter] !== null && !isKnown(figure, filter))

/** Below the API; the same for the same question, so that it names the answer too. */
export function addressOf({ figure, from, to, filters, by }: Question, format?: 'csv'): string {
  const fields = new URLSearchParams({ from, to, ...filters })
  if (by !== undefined) fields.set('by', by)
  if (format !== undefined) fields.set('format', format)
  return `/analytics/${figure}?${fields.toString()}`
}

const isKnown = (figure: FigureName, filter: Filter): boolean =>
  KNOWN_FILTERS[figure]?.includes(filter) ?? true
