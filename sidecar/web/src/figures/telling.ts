/** Values of figures in words and numbers, no more exact than they are. */
import type { Base, Grain, Unit, Value } from './figure.ts'

/** A figure that is missing, or is about too few people. */
export const NONE = '–'

const NUMBER = new Intl.NumberFormat('en', { maximumFractionDigits: 0 })
const ONE_DIGIT = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const TWO_DIGITS = new Intl.NumberFormat('en', { maximumSignificantDigits: 2 })
const LARGE = new Intl.NumberFormat('en', {
  notation: 'compact',
  compactDisplay: 'short',
  maximumSignificantDigits: 3,
})
const MONEY = new Intl.NumberFormat('en', { minimumFractionDigits: 2, maximumFractionDigits: 2 })

export function tell(value: Value | undefined, unit: Unit): string {
  if (value == null) return NONE
  if (typeof value === 'string') return value
  return TOLD[unit](value)
}

const TOLD: Record<Unit, (value: number) => string> = {
  count: (value) => (value < 10 ? ONE_DIGIT : NUMBER).format(value),
  tokens: (value) => NUMBER.format(value),
  ms: duration,
  share: percent,
  // What has no price costs nothing too, and there it would be no answer.
  money: (value) => (value === 0 ? NONE : money(value)),
  people: (value) => NUMBER.format(value),
  name: String,
  time: String,
}

/** With room for little: 12.4M. */
export const large = (value: number): string => (value < 10_000 ? NUMBER : LARGE).format(value)

/** Percentiles are within 4.5 % of the true ones: two digits, and seconds once there are minutes. */
export function duration(ms: number): string {
  if (ms < 1) return ms > 0 ? 'under 1 ms' : '0 ms'
  if (ms < 995) return `${TWO_DIGITS.format(ms)} ms`
  if (ms < 59_500) return `${TWO_DIGITS.format(ms / 1_000)} s`
  const seconds = Math.round(ms / 1_000)
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3_600)} h ${Math.round((seconds % 3_600) / 60)} min`
}

export function percent(share: number): string {
  const hundredths = share * 100
  if (hundredths > 0 && hundredths < 0.1) return 'under 0.1 %'
  if (hundredths < 100 && hundredths >= 99.95) return 'over 99.9 %'
  const isCoarse = hundredths >= 10 && hundredths < 99
  return `${(isCoarse ? NUMBER : ONE_DIGIT).format(hundredths)} %`
}

/** In whatever currency the prices are: nobody told us. */
export function money(amount: number): string {
  if (amount === 0) return '0'
  return amount < 0.1 ? TWO_DIGITS.format(amount) : MONEY.format(amount)
}

export interface Change {
  words: string
  tone: 'good' | 'bad' | 'even'
}

type Better = 'more' | 'less' | 'neither'

/** Of fewer than so many, a percentage says less than the number. */
export const FEW = 20
/** A period that has run for less than this is not compared by a percentage with a whole one. */
const NEARLY_WHOLE = 0.95

/** Null where the period before has nothing to compare with. */
export function changeOf(
  value: number | null,
  before: number | null,
  { unit, better, elapsed }: { unit: Unit; better: Better; elapsed: number },
): Change | null {
  if (value === null || before === null) return null
  if (unit === 'ms') return timeChange(value, before)
  if (unit === 'share') return shareChange(value, before, better)
  if (before === 0) return null
  if (elapsed < NEARLY_WHOLE && unit !== 'people')
    return { words: `${large(before)} in the whole period before`, tone: 'even' }
  if (before < FEW) return { words: `${tell(before, unit)} in the period before`, tone: 'even' }
  const ratio = value / before
  const step = Math.round(Math.abs(ratio - 1) * 100)
  if (step === 0) return { words: 'as many as before', tone: 'even' }
  if (ratio >= 3) return { words: `${ONE_DIGIT.format(ratio)} times as many`, tone: toneOf(1, better) }
  return { words: `${step} % ${ratio > 1 ? 'more' : 'fewer'}`, tone: toneOf(ratio - 1, better) }
}

/** Two percentiles can differ by twice 4.5 % and yet be the same. */
const SAME_TIME = 0.09

function timeChange(value: number, before: number): Change | null {
  if (before === 0) return null
  if (Math.abs(value / before - 1) < SAME_TIME) return { words: 'about as fast as before', tone: 'even' }
  const isSlower = value > before
  return {
    words: `${duration(Math.abs(value - before))} ${isSlower ? 'slower' : 'faster'}`,
    tone: isSlower ? 'bad' : 'good',
  }
}

function shareChange(value: number, before: number, better: Better): Change {
  const points = (value - before) * 100
  const told = ONE_DIGIT.format(Math.abs(points))
  if (told === '0') return { words: 'as before', tone: 'even' }
  const noun = told === '1' ? 'point' : 'points'
  return { words: `${told} ${noun} ${points > 0 ? 'more' : 'less'}`, tone: toneOf(points, better) }
}

function toneOf(difference: number, better: Better): Change['tone'] {
  if (better === 'neither') return 'even'
  return difference > 0 === (better === 'more') ? 'good' : 'bad'
}

type Where = Pick<Base, 'grain' | 'timeZone'>

const MOMENTS: Record<Grain, Intl.DateTimeFormatOptions> = {
  hour: { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' },
  day: { month: 'short', day: 'numeric', year: 'numeric' },
  month: { month: 'short', year: 'numeric' },
}
const MARKS: Record<Grain, Intl.DateTimeFormatOptions> = {
  hour: { hour: 'numeric' },
  day: { month: 'short', day: 'numeric' },
  month: { month: 'short' },
}

/** One step of a series: Nov 28, 2026. */
export const moment = (atMs: number, { grain, timeZone }: Where): string =>
  written(atMs, timeZone, MOMENTS[grain])

/** The same, below an axis. */
export const mark = (atMs: number, { grain, timeZone }: Where): string =>
  written(atMs, timeZone, MARKS[grain])

export const dayOnly = (atMs: number, timeZone: string): string => written(atMs, timeZone, MARKS.day)

export const clock = (atMs: number, timeZone: string): string =>
  written(atMs, timeZone, { month: 'short', day: 'numeric', hour: 'numeric', minute: '2-digit' })

/** The first and the last day of the period, both of them in it. */
export function span({ fromMs, toMs, timeZone }: Base): string {
  const format = formatOf(timeZone, MOMENTS.day)
  return format.formatRange(fromMs, Math.max(fromMs, toMs - 1))
}

const written = (atMs: number, timeZone: string, options: Intl.DateTimeFormatOptions): string =>
  formatOf(timeZone, options).format(atMs)

const formats = new Map<string, Intl.DateTimeFormat>()

/** Making one takes longer than using it a hundred times. */
function formatOf(timeZone: string, options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = timeZone + JSON.stringify(options)
  const format = formats.get(key) ?? new Intl.DateTimeFormat('en', { timeZone, ...options })
  formats.set(key, format)
  return format
}
