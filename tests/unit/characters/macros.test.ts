import fc from 'fast-check'
import { expect, test } from 'vitest'

import { expand, unknownMacros } from '#characters/macros.ts'

const VALUES = { char: 'Ana', user: 'Tom' }

test.each([
  ['{{char}} greets {{user}}', 'Ana greets Tom'],
  ['{{Char}} and {{ USER }}', 'Ana and Tom'],
  ['<BOT> <CHAR> <user>', 'Ana Ana Tom'],
  ['{{original}}|', '|'],
  ['{{original}} {{original}}|', ' |'],
  ['{{random:a,b}} {{unknown}} {{', '{{random:a,b}} {{unknown}} {{'],
  ['', ''],
])('%j becomes %j', (text, expected) => {
  expect(expand(text, VALUES)).toBe(expected)
})

test('the text that is replaced is put in once', () => {
  expect(expand('{{original}}|{{original}}', { ...VALUES, original: 'o' })).toBe('o|')
})

test('what is put in is never expanded again', () => {
  expect(expand('{{user}} {{original}}', { char: 'Ana', user: '{{char}}', original: '{{user}}' })).toBe(
    '{{char}} {{user}}',
  )
})

test('a macro bomb is cut off in linear time', () => {
  const startedAtMs = performance.now()
  expect(expand('{{char}}'.repeat(100_000), { ...VALUES, char: 'x'.repeat(1_000) })).toHaveLength(1_000_000)
  for (const text of ['{{'.repeat(100_000), `{{${' '.repeat(100_000)}`, '{{ a '.repeat(50_000)]) {
    expand(text, VALUES)
    unknownMacros(text)
  }
  expect(performance.now() - startedAtMs).toBeLessThan(500)
})

test('text without macros stays as it is', () => {
  fc.assert(
    fc.property(
      fc.string().filter((text) => !/[{<]/.test(text)),
      (text) => {
        expect(expand(text, VALUES)).toBe(text)
      },
    ),
  )
})

test('macros that nothing replaces are reported once each', () => {
  expect(unknownMacros('{{char}} {{random:a}} {{random:a}} {{time}}')).toEqual(['{{random:a}}', '{{time}}'])
})
