/** What is chosen on the page of the figures, as fields of its address. */

export const TABS = ['use', 'speed', 'failures', 'knowledge', 'satisfaction', 'people', 'cost'] as const
export type Tab = (typeof TABS)[number]

export const PRESETS = ['today', '7d', '30d', '90d', '12m'] as const
export type Preset = (typeof PRESETS)[number]

/** The first and the last day, as 2026-11-01. */
export interface Days {
  from: string
  to: string
}

export const DIMENSIONS = ['character', 'version', 'model', 'surface', 'group', 'kind'] as const
export type Dimension = (typeof DIMENSIONS)[number]

export const FILTERS = ['character', 'model', 'surface', 'group'] as const
export type Filter = (typeof FILTERS)[number]

export interface Choice extends Record<Filter, string | null> {
  tab: Tab
  period: Preset | Days
  /** What rows are about; null for what the tab shows by itself. */
  by: Dimension | null
}

/** What the rows of a tab may be about, the usual first; the other tabs have no choice. */
export const DIMENSIONS_OF: Partial<Record<Tab, readonly Dimension[]>> = {
  use: DIMENSIONS,
  speed: ['model', 'character', 'version', 'surface', 'group'],
  failures: ['kind', 'character', 'version', 'model', 'surface', 'group'],
  satisfaction: ['version', 'character', 'model', 'surface', 'group'],
  cost: ['model', 'character', 'version', 'surface', 'group', 'kind'],
}

const USUAL_PRESET: Preset = '30d'

/** `character` is the one that stands open in the gallery, so the filter has another name. */
const FIELDS = {
  character: 'of',
  model: 'model',
  surface: 'surface',
  group: 'group',
} as const satisfies Record<Filter, string>

export function readChoice(address: URLSearchParams): Choice {
  const read = (filter: Filter) => address.get(FIELDS[filter])
  return {
    tab: TABS.find((tab) => tab === address.get('tab')) ?? 'use',
    period: readDays(address) ?? PRESETS.find((preset) => preset === address.get('period')) ?? USUAL_PRESET,
    character: read('character'),
    model: read('model'),
    surface: read('surface'),
    group: read('group'),
    by: DIMENSIONS.find((by) => by === address.get('by')) ?? null,
  }
}

/** Only what is not as usual. */
export function writeChoice(choice: Choice): [string, string][] {
  const { tab, period, by } = choice
  return [
    ...(tab === 'use' ? [] : [['tab', tab] satisfies [string, string]]),
    ...writePeriod(period),
    ...FILTERS.flatMap((filter): [string, string][] => {
      const value = choice[filter]
      return value === null ? [] : [[FIELDS[filter], value]]
    }),
    ...(by === null ? [] : [['by', by] satisfies [string, string]]),
  ]
}

/** The days of a period as they are counted in the house's time zone. */
export function daysOf(period: Preset | Days, nowMs: number, timeZone: string): Days {
  if (typeof period === 'object') return period
  const to = dayOf(nowMs, timeZone)
  return { from: BEGINNINGS[period](to), to }
}

const dayOf = (atMs: number, timeZone: string): string => {
  const parts = new Intl.DateTimeFormat('en', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' })
  const of = new Map(parts.formatToParts(atMs).map(({ type, value }) => [type, value]))
  return `${of.get('year') ?? ''}-${of.get('month') ?? ''}-${of.get('day') ?? ''}`
}

export function shiftDay(day: string, days: number): string {
  const at = new Date(`${day}T00:00Z`)
  at.setUTCDate(at.getUTCDate() + days)
  return at.toISOString().slice(0, 10)
}

export const isFiltered = (choice: Choice): boolean => FILTERS.some((filter) => choice[filter] !== null)

export const dimensionOf = ({ tab, by }: Pick<Choice, 'tab' | 'by'>): Dimension => {
  const offered = DIMENSIONS_OF[tab] ?? DIMENSIONS
  return offered.find((dimension) => dimension === by) ?? offered[0] ?? 'character'
}

const BEGINNINGS: Record<Preset, (today: string) => string> = {
  today: (today) => today,
  '7d': (today) => shiftDay(today, -6),
  '30d': (today) => shiftDay(today, -29),
  '90d': (today) => shiftDay(today, -89),
  // Whole months, but for the running one: half a month at the beginning would look like a fall.
  '12m': (today) => {
    const [year = '', month = ''] = today.split('-')
    return new Date(Date.UTC(Number(year), Number(month) - 12, 1)).toISOString().slice(0, 10)
  },
}

function readDays(address: URLSearchParams): Days | null {
  const [from, to] = [address.get('from') ?? '', address.get('to') ?? '']
  return isDay(from) && isDay(to) && from <= to ? { from, to } : null
}

export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false
  const at = new Date(`${text}T00:00Z`)
  // 2026-02-30 would be the second of March.
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(text)
}

function writePeriod(period: Preset | Days): [string, string][] {
  if (typeof period === 'object')
    return [
      ['from', period.from],
      ['to', period.to],
    ]
  return period === USUAL_PRESET ? [] : [['period', period]]
}
