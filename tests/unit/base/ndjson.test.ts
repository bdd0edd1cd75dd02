import fc from 'fast-check'
import { expect, test } from 'vitest'

import { splitLines } from '#base/ndjson.ts'

import { allOf, inPieces, split } from '../../support/replay.ts'

test.each([
  ['a last line without a line break', 'one\ntwo', ['one', 'two']],
  ['line ends of either kind', 'one\r\ntwo\nthree\r\n', ['one', 'two', 'three']],
  ['empty lines', '\n\none\n\r\n\ntwo\n\n', ['one', 'two']],
  ['a byte order mark at the beginning only', '\u{feff}one\n\u{feff}two\n', ['one', '\u{feff}two']],
  ['a carriage return inside a line', 'o\rne\n', ['o\rne']],
  ['nothing', '', []],
])('%s', async (_name, text, lines) => {
  expect(await allOf(split(splitLines(), inPieces(text)))).toEqual(lines)
})

test('lines do not depend on how the bytes are cut, also inside a character', async () => {
  const piece = fc
    .uint8Array({ minLength: 1, maxLength: 5 })
    .map((sizes) => [...sizes].map((size) => (size % 7) + 1))
  const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\r\n\u{feff}]/gu, ' '))
  await fc.assert(
    fc.asyncProperty(fc.array(line), piece, async (lines, sizes) => {
      const bytes = Buffer.from(lines.join('\n'))
      const pieces: Buffer[] = []
      for (let start = 0, turn = 0; start < bytes.length; turn += 1) {
        const size = sizes[turn % sizes.length] ?? 1
        pieces.push(bytes.subarray(start, start + size))
        start += size
      }
      expect(await allOf(split(splitLines(), inPieces(...pieces)))).toEqual(
        lines.filter((text) => text !== ''),
      )
    }),
  )
})

test.each([
  ['in one piece', ['x'.repeat(11) + '\n']],
  ['in many pieces', Array.from({ length: 11 }, () => 'x')],
])('a line over the limit is refused, %s', async (_name, pieces) => {
  await expect(allOf(split(splitLines(10), inPieces(...pieces)))).rejects.toMatchObject({ code: 'upstream' })
  expect(await allOf(split(splitLines(10), inPieces('x'.repeat(10), '\nshort\n')))).toEqual([
    'x'.repeat(10),
    'short',
  ])
})
