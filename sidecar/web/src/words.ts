/** Numbers, sizes and dates as the pages say them. The pages speak English, so their numbers do too. */

export const NUMBER = new Intl.NumberFormat('en')
const SIZE = new Intl.NumberFormat('en', { maximumFractionDigits: 1 })
const DAY = new Intl.DateTimeFormat('en', { dateStyle: 'medium' })
const HOUR = new Intl.DateTimeFormat('en', { timeStyle: 'short' })

export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${NUMBER.format(count)} ${count === 1 ? one : many}`

export function size(sizeBytes: number): string {
  const kilobytes = sizeBytes / 1024
  return kilobytes < 1000 ? `${Math.ceil(kilobytes)} kB` : `${SIZE.format(kilobytes / 1024)} MB`
}

export const day = (atMs: number): string => DAY.format(atMs)

export const hour = (atMs: number): string => HOUR.format(atMs)

const RELATIVE = new Intl.RelativeTimeFormat('en')
const STEPS = [
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
] as const

/** "in 5 days", "36 hours ago": in the largest unit of which there are two. */
export function relative(atMs: number, nowMs: number): string {
  const awayMs = atMs - nowMs
  const [unit, unitMs] = STEPS.find(([, stepMs]) => Math.abs(awayMs) >= 2 * stepMs) ?? STEPS[2]
  return RELATIVE.format(Math.round(awayMs / unitMs), unit)
}

/** The first letter as a reader sees it: an emoji or an accented letter stays whole. */
export function initialOf(name: string): string {
  const [first] = new Intl.Segmenter().segment(name.trim())
  return first?.segment.toLocaleUpperCase() ?? '?'
}

/** Text in the form in which two spellings of one word are equal: no case, no accents. */
export const folded = (text: string): string =>
  text.normalize('NFKD').replace(/\p{M}/gu, '').toLocaleLowerCase()
