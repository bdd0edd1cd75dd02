import fc from 'fast-check'
import { expect, test } from 'vitest'

import { expand, unknownMacros } from '#characters/macros.ts'

const VALUES = { char: 'Ana', user: 'Tom' }

test.each([
  ['{{char}} greets {{user}}', 'Ana greets Tom'],
  ['{{Char}} and {{ USER }}', 'Ana and Tom'],
  ['<BOT> <CHAR> <user>', 'Ana Ana Tom'],
  ['{{original}}|', '|'],
  ['{{random:a,b}} {{unknown}} {{', '{{random:a,b}} {{unknown}} {{'],
  ['', ''],
])('%j becomes %j', (text, expected) => {
  expect(expand(text, VALUES)).toBe(expected)
})

test('what is put in is never expanded again', () => {
  expect(expand('{{user}} {{original}}', { char: 'Ana', user: '{{char}}', original: '{{user}}' })).toBe(
    '{{char}} {{user}}',
  )
})

test('a macro bomb is cut off in linear time', () => {
  const startedAtMs = performance.now()
  expect(expand('{{original}}'.repeat(100_000), { ...VALUES, original: 'x'.repeat(1_000) })).toHaveLength(
    1_000_000,
  )
  expand('{{'.repeat(100_000), VALUES)
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
