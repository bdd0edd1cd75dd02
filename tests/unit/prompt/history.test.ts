import fc from 'fast-check'
import { expect, test } from 'vitest'

import { firstKeptTurn, splitTurns } from '#prompt/history.ts'

import { assistant, user } from '../../support/samples.ts'

/** Every turn is of ordinary length, and none is kept that does not fit. */
const always = (tokens: number) => ({ steadyTokens: tokens, nowTokens: tokens, mostTokens: 0 })

test.each([
  ['nothing is cut while everything fits', [10, 10, 10], 30, 0],
  ['one token too many cuts down to two thirds', [10, 10, 10, 1], 30, 2],
  ['a cut stays where it is until the room is full again', [10, 10, 10, 1, 5], 30, 2],
  ['a turn larger than the whole budget leaves nothing of what came before it', [10, 100, 5], 30, 2],
  ['without room everything goes', [10, 10], 0, 2],
  ['an empty history has nothing to cut', [], 30, 0],
])('%s', (_name, turns, budget, expected) => {
  expect(firstKeptTurn(turns, always(budget))).toBe(expected)
})

test('what is kept never exceeds the budget, and a longer chat never brings back what was cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 50 }), { maxLength: 80 }),
      fc.integer({ min: 0, max: 200 }),
      (turns, budget) => {
        const first = firstKeptTurn(turns, always(budget))
        expect(turns.slice(first).reduce((sum, tokens) => sum + tokens, 0)).toBeLessThanOrEqual(budget)
        expect(firstKeptTurn(turns.slice(0, -1), always(budget))).toBeLessThanOrEqual(first)
      },
    ),
  )
})

test.each([
  ['what a long last message needs is taken from the oldest turns, and no more', [10, 10, 10], 30, 15, 15, 2],
  ['the newest two turns stay where they fit at all', [10, 10, 10, 10], 5, 5, 20, 2],
  ['else the newest one', [10, 10, 10, 10], 5, 5, 19, 3],
  ['or none', [10, 10, 10, 10], 5, 5, 9, 4],
])('%s', (_name, turns, steadyTokens, nowTokens, mostTokens, expected) => {
  expect(firstKeptTurn(turns, { steadyTokens, nowTokens, mostTokens })).toBe(expected)
})

test('a turn is a user message and what follows it; what stands before the first one joins it', () => {
  const turns = splitTurns([assistant('greeting'), user('a'), assistant('b'), user('c')])
  expect(turns.map((turn) => turn.messages.length)).toEqual([3, 1])
})
