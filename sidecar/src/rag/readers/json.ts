/** JSON, or JSON in lines, as "path: value": an item of a list at the top is one row. */
import { AppError } from '#base/errors.ts'

import type { Block } from '../document.ts'

import type { Reader } from './reader.ts'
import { decode } from './text.ts'

const DEEPEST = 64

export const readJson: Reader = ({ name, bytes, progress }) => {
  const text = decode(bytes)
  const values = /\.(?:jsonl|ndjson)$/i.test(name) ? linesOf(text) : itemsOf(parseJson(text))
  progress(values.length, values.length)
  const blocks = values.map((value): Block => ({ kind: 'row', text: [...fieldsOf(value, '', 0)].join('\n') }))
  return { title: null, blocks: blocks.filter((block) => block.text !== '') }
}

const linesOf = (text: string): unknown[] =>
  text
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map(parseJson)

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (cause) {
    throw new AppError('invalid', 'The file is not valid JSON', { cause })
  }
}

function itemsOf(value: unknown): unknown[] {
  if (isList(value)) return value
  if (typeof value !== 'object' || value === null) return [value]
  return Object.entries(value as Record<string, unknown>).map(([key, field]) => ({ [key]: field }))
}

function* fieldsOf(value: unknown, path: string, depth: number): Generator<string> {
  if (depth > DEEPEST) throw new AppError('invalid', `The JSON is nested deeper than ${DEEPEST} levels`)
  if (isList(value)) for (const item of value) yield* fieldsOf(item, path, depth + 1)
  else if (typeof value === 'object' && value !== null)
    for (const [key, field] of Object.entries(value as Record<string, unknown>))
      yield* fieldsOf(field, path === '' ? key : `${path}.${key}`, depth + 1)
  else if (value !== null && value !== '') {
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    yield path === '' ? text : `${path}: ${text}`
  }
}

const isList = (value: unknown): value is unknown[] => Array.isArray(value)
