import fc from 'fast-check'
import { expect, test } from 'vitest'

import { eachMember, packSet } from '#analytics/person-set.ts'

const LARGEST = 2 ** 31 - 1

test('a set comes back as it was, sorted', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.oneof(fc.nat(300), fc.nat(LARGEST))), (members) => {
      const back: number[] = []
      eachMember(packSet(members), (member) => back.push(member))
      expect(back).toEqual([...members].sort((a, b) => a - b))
    }),
  )
})

test('neighbours take one byte each', () => {
  expect(packSet(Array.from({ length: 1_000 }, (_, at) => at + 1))).toHaveLength(1_000)
})
