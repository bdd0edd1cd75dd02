/** Mending one field: the value in the right type, or the nearest one and a note. */
import { LIMITS } from './limits.ts'
import type { Notebook } from './notes.ts'
import { cut } from './text.ts'

export type Fields = Record<string, unknown>

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The fields that have a value. */
export const present = (fields: Fields): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))

export const without = (fields: Fields, names: ReadonlySet<string>): Fields =>
  Object.fromEntries(Object.entries(fields).filter(([name]) => !names.has(name)))

/**
 * What every field goes through. A missing field and null get the default without a note; each other value of the wrong
 * type gets one. Empty text where no text belongs counts as missing, as several exporters mean it.
 */
export interface Mender {
  readonly note: Notebook['note']
  text(value: unknown, path: string): string
  optionalText(value: unknown, path: string): string | undefined
  texts(value: unknown, path: string): string[]
  number(value: unknown, path: string): number | undefined
  flag(value: unknown, path: string): boolean | undefined
  object(value: unknown, path: string): Fields
  /** At most `most` of them. */
  items(value: unknown, path: string, most?: number): unknown[]
  /** In seconds since 1970, as V3 asks; 0 means that the author does not say. */
  date(value: unknown, path: string): number | undefined
  /** Says which of these fields are null though the specification wants a value. */
  nulls(fields: Fields, names: readonly string[], path?: string): void
}

export function createMender({ note }: Notebook): Mender {
  const wrong = (path: string, wanted: string) => {
    note('wrong_type', path, `"${path}" is not ${wanted}; it was left out.`)
  }
  const converted = (path: string, how: string) => {
    note('converted', path, `"${path}" ${how}.`)
  }

  function text(value: unknown, path: string): string {
    if (isMissing(value)) return ''
    if (typeof value === 'number' || typeof value === 'boolean') {
      converted(path, 'was no text; it was read as one')
      return String(value)
    }
    if (typeof value !== 'string') {
      wrong(path, 'a text')
      return ''
    }
    if (value.length <= LIMITS.textCharacters) return value
    note(
      'shortened',
      path,
      `"${path}" was longer than ${LIMITS.textCharacters} characters; its end was left out.`,
    )
    return cut(value, LIMITS.textCharacters)
  }

  function texts(value: unknown, path: string): string[] {
    if (isMissing(value) || value === '') return []
    if (Array.isArray(value))
      return items(value, path).flatMap((item, index) =>
        isMissing(item) ? [] : [text(item, `${path}.${index}`)],
      )
    if (typeof value !== 'string') {
      wrong(path, 'a list of texts')
      return []
    }
    // One exporter writes the time of the export here.
    if (ISO_DATE.test(value)) {
      wrong(path, 'a list of texts but a date')
      return []
    }
    converted(path, 'was one text; it was read as a list of one')
    return [text(value, path)]
  }

  function number(value: unknown, path: string): number | undefined {
    if (typeof value === 'number') return value
    if (isMissing(value) || (typeof value === 'string' && value.trim() === '')) return undefined
    const read = typeof value === 'string' ? Number(value) : Number.NaN
    if (Number.isFinite(read)) converted(path, 'was no number; it was read as one')
    else wrong(path, 'a number')
    return Number.isFinite(read) ? read : undefined
  }

  function flag(value: unknown, path: string): boolean | undefined {
    if (typeof value === 'boolean') return value
    if (isMissing(value) || value === '') return undefined
    const isTrue = value === 1 || value === 'true' || value === '1'
    const isFalse = value === 0 || value === 'false' || value === '0'
    if (isTrue || isFalse) converted(path, 'was neither true nor false; it was read as one of them')
    else wrong(path, 'true or false')
    return isTrue || isFalse ? isTrue : undefined
  }

  function items(value: unknown, path: string, most: number = LIMITS.listItems): unknown[] {
    if (isMissing(value) || value === '') return []
    if (!Array.isArray(value)) {
      wrong(path, 'a list')
      return []
    }
    if (value.length > most)
      note('shortened', path, `"${path}" had more than ${most} items; the rest was left out.`)
    return value.slice(0, most)
  }

  function date(value: unknown, path: string): number | undefined {
    if (isMissing(value) || value === '') return undefined
    const seconds = toSeconds(value)
    if (seconds === undefined) note('wrong_date', path, `"${path}" is not a date; it was left out.`)
    else if (seconds !== value) converted(path, 'was a date in another form; it was read as seconds')
    return seconds
  }

  return {
    note,
    text,
    optionalText: (value, path) => (isMissing(value) ? undefined : text(value, path)),
    texts,
    number,
    flag,
    object(value, path) {
      if (isObject(value)) return value
      if (!isMissing(value)) wrong(path, 'an object')
      return {}
    },
    items,
    date,
    nulls(fields, names, path) {
      for (const name of names.filter((known) => fields[known] === null)) {
        const full = path === undefined ? name : `${path}.${name}`
        note('null_value', full, `"${full}" was null; it was read as empty.`)
      }
    },
  }
}

const isMissing = (value: unknown): value is undefined | null => value === undefined || value === null

const ISO_DATE = /^\s*(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)(Z|[+-]\d\d:\d\d)?)?\s*$/i

/** The year 5138: a larger number counts milliseconds. */
const LARGEST_SECONDS = 100_000_000_000
/** The year 9999: a larger number counts something else, such as the ticks of .NET. */
const LARGEST_MILLISECONDS = 253_402_300_799_999

/** A date without a zone is read as UTC, so that the same file gives the same card on every machine. */
function toSeconds(value: unknown): number | undefined {
  if (typeof value !== 'number' && typeof value !== 'string') return undefined
  const [, day, time = '00:00', zone = 'Z'] = ISO_DATE.exec(String(value)) ?? []
  if (day !== undefined) return inRange(Date.parse(`${day}T${time}${zone.toUpperCase()}`) / 1_000)
  const number = Number(value)
  if (number > LARGEST_MILLISECONDS) return undefined
  return inRange(number > LARGEST_SECONDS ? number / 1_000 : number)
}

const inRange = (seconds: number): number | undefined =>
  Number.isFinite(seconds) && seconds >= 0 ? Math.floor(seconds) : undefined
