import fc from 'fast-check'
import { expect, test } from 'vitest'

import { parseJson } from '#http/body.ts'

const parse = (text: string) => parseJson(Buffer.from(text))
const nested = (value: string, levels: number) => '['.repeat(levels) + value + ']'.repeat(levels)

test.each([
  ['lists', '[', ']'],
  ['objects', '{"a":', '}'],
])('%s of 64 levels are read, deeper ones refused before anything is built', (_kind, open, close) => {
  const of = (levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`
  expect(() => parse(of(64))).not.toThrow()
  expect(() => parse(of(65))).toThrow('nested deeper than 64 levels')
})

test('brackets in strings are words, whatever quotes and backslashes stand around them', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: fc.constantFrom('"', '\\', '[', '{', ']', 'a') })), (words) => {
      const text = JSON.stringify([...words, '['.repeat(100), '\\', '"', '['.repeat(100)])
      expect(parse(text)).toEqual(JSON.parse(text))
      expect(() => parse(nested(text, 64))).toThrow('nested deeper')
    }),
  )
})

test('a string without an end is no way to hide what is behind it', () => {
  expect(() => parse(`"${'['.repeat(100)}`)).toThrow('JSON')
})
