import fc from 'fast-check'
import { expect, test } from 'vitest'

import { count, emptyCell, mergeCell, type Cell } from '#analytics/cell.ts'
import { mergePacked, packCells, unpackCells } from '#analytics/packed-cells.ts'

import { countedCall } from '../../support/counted-call.ts'

const OF = {
  kind: 'turn',
  characterId: 'mira',
  characterVersion: 2,
  baseModel: 'base',
  surface: 'api',
  keyId: 'key',
}

const ms = fc.option(fc.double({ min: 0, max: 1e8, noNaN: true }))
const calls = fc.array(
  fc.record({
    person: fc.option(fc.string()),
    status: fc.constantFrom('ok' as const, 'failed' as const, 'cancelled' as const),
    errorCode: fc.option(fc.constantFrom('upstream', 'overflow', '__proto__')),
    promptTokens: fc.nat(),
    firstTokenMs: ms,
    queueMs: ms,
    decodeMs: ms,
    rating: fc.constantFrom(-1, 0, 1),
  }),
  { maxLength: 20 },
)

function cellOf(some: readonly Partial<Parameters<typeof countedCall>[0]>[]): Cell {
  const cell = emptyCell()
  for (const call of some) count(cell, countedCall(call))
  return cell
}

function unpacked(text: string): Cell {
  const cell = emptyCell()
  for (const { packed } of unpackCells(text)) mergePacked(cell, packed)
  return cell
}

test('what is packed and merged is what would have been merged unpacked', () => {
  fc.assert(
    fc.property(calls, calls, (some, others) => {
      const merged = cellOf(some)
      mergeCell(merged, cellOf(others))
      const cells = [some, others].map((calls_) => ({ ...OF, cell: cellOf(calls_) }))
      expect(unpacked(packCells(cells))).toEqual(merged)
    }),
  )
})

test('the order of calls changes nothing of what is written', () => {
  fc.assert(
    fc.property(calls, (some) => {
      const [there, back] = [some, [...some].reverse()].map((list) =>
        packCells([{ ...OF, cell: cellOf(list) }]),
      )
      expect(back).toBe(there)
    }),
  )
})

test('cells from before keys were told apart are read as those of no key', () => {
  const [line = ''] = packCells([{ ...OF, cell: cellOf([{}]) }]).split('\n')
  const old = line.replace(',"key"]', ']')
  expect(old).not.toBe(line)
  expect(unpackCells(old)).toMatchObject([{ ...OF, keyId: '' }])
})
