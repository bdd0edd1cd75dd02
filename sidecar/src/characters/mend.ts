/** Mending one field: the value in the right type, or the nearest one and a note. */
import type { Note } from './card.ts'
import { LIMITS } from './limits.ts'

export type Fields = Record<string, unknown>

export const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The beginning of a text, without half of a character at its end. */
export const cut = (text: string, characters: number): string =>
  Array.from(text).slice(0, characters).join('')

/** What every field goes through: the right type, or the nearest value of it and a note. */
export interface Mender {
  note(code: string, path: string, message: string): void
  text(value: unknown, path: string): string
  texts(value: unknown, path: string): string[]
  number(value: unknown, path: string): number | undefined
  flag(value: unknown, path: string): boolean | undefined
  object(value: unknown, path: string): Fields
}

export function createMender(notes: Note[]): Mender {
  const note = (code: string, path: string, message: string) => void notes.push({ code, path, message })
  const wrong = (path: string, wanted: string) => {
    note('wrong_type', path, `"${path}" is not ${wanted}; it was left out.`)
  }
  const mender: Mender = {
    note,
    text(value, path) {
      if (typeof value === 'string') return bounded(value, path, note)
      if (value === undefined || value === null) return ''
      if (typeof value === 'number' || typeof value === 'boolean') {
        note('converted', path, `"${path}" was no text; it was read as one.`)
        return String(value)
      }
      wrong(path, 'a text')
      return ''
    },
    texts(value, path) {
      if (value === undefined || value === null || value === '') return []
      if (Array.isArray(value))
        return value.map((item, index) => mender.text(item, `${path}.${String(index)}`))
      if (typeof value !== 'string') {
        wrong(path, 'a list of texts')
        return []
      }
      // One exporter writes the time of the export here.
      if (/^\d{4}-\d\d-\d\dT/.test(value)) return []
      note('converted', path, `"${path}" was one text; it was read as a list of one.`)
      return [bounded(value, path, note)]
    },
    number(value, path) {
      if (typeof value === 'number' && Number.isFinite(value)) return value
      if (typeof value === 'string' && value.trim() !== '' && Number.isFinite(Number(value)))
        return Number(value)
      if (value !== undefined && value !== null && value !== '') wrong(path, 'a number')
      return undefined
    },
    flag(value, path) {
      if (typeof value === 'boolean') return value
      if (value === 0 || value === 1) return value === 1
      if (value === 'true' || value === 'false') return value === 'true'
      if (value !== undefined && value !== null) wrong(path, 'true or false')
      return undefined
    },
    object(value, path) {
      if (isObject(value)) return value
      if (value !== undefined && value !== null) wrong(path, 'an object')
      return {}
    },
  }
  return mender
}

function bounded(text: string, path: string, note: Mender['note']): string {
  if (text.length <= LIMITS.textCharacters) return text
  note(
    'shortened',
    path,
    `"${path}" was longer than ${String(LIMITS.textCharacters)} characters; its end was left out.`,
  )
  return text.slice(0, LIMITS.textCharacters)
}
