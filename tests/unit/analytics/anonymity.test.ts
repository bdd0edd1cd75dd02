import fc from 'fast-check'
import { expect, test } from 'vitest'

import { hideSmall, roundCell, roundCount } from '#analytics/anonymity.ts'
import { count, emptyCell, leastPeople, mergeCell, sumOf, type Cell } from '#analytics/cell.ts'

import { countedCall } from '../../support/counted-call.ts'

const K = 5

/** People, each with the group they belong to and the calls they made. */
const populationOf = (minLength: number) =>
  fc.array(fc.record({ group: fc.constantFrom('a', 'b', 'c', 'd'), calls: fc.integer({ min: 1, max: 9 }) }), {
    minLength,
    maxLength: 60,
    size: 'max',
  })
const populations = populationOf(0)

function cellOf(people: readonly { id: number; calls: number }[]): Cell {
  const cell = emptyCell()
  for (const { id, calls } of people)
    for (let at = 0; at < calls; at++)
      count(cell, countedCall({ person: `person-${String(id)}`, promptTokens: 7 * id + 1 }))
  return cell
}

function groupsOf(population: readonly { group: string; calls: number }[]) {
  const people = population.map((person, id) => ({ id, ...person }))
  return [...new Set(people.map(({ group }) => group))].map((key) => ({
    key,
    people: people.filter(({ group }) => group === key),
    cell: cellOf(people.filter(({ group }) => group === key)),
  }))
}

test('no row, the rest included, is about fewer than k people, and the total less the rows is not either', () => {
  fc.assert(
    fc.property(populations, (population) => {
      const groups = groupsOf(population)
      const { shown, others, hidden } = hideSmall(groups, K)
      const sizes = new Map(groups.map(({ key, people }) => [key, people.length]))
      for (const { key } of shown) expect(sizes.get(key)).toBeGreaterThanOrEqual(K)
      if (others !== undefined) expect(leastPeople(others)).toBeGreaterThanOrEqual(K)
      expect(shown.length + hidden).toBe(groups.length)
      // Everything hidden is what an attacker gets by taking the rows from the total.
      const inRows = new Set(shown.map(({ key }) => key))
      const rest = groups
        .filter(({ key }) => !inRows.has(key))
        .reduce((sum, { people }) => sum + people.length, 0)
      if (shown.length > 0 && rest > 0) expect(rest).toBeGreaterThanOrEqual(K)
    }),
  )
})

test('the difference of two told counts is never only explained by a group of 1 to k − 1 people', () => {
  const half = Math.floor(K / 2)
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 500 }), (inner, extra) => {
      const difference = roundCount(inner + extra, K) - roundCount(inner, K)
      // What the true difference may be, seen from outside.
      const least = Math.max(0, difference - 2 * half)
      const most = difference + 2 * half
      expect(least === 0 || most >= K).toBe(true)
      expect(extra).toBeGreaterThanOrEqual(least)
      expect(extra).toBeLessThanOrEqual(most)
    }),
  )
})

test('two filters that differ by one small group give the same sums up to the step of k calls', () => {
  fc.assert(
    fc.property(populationOf(11), (population) => {
      const people = population.map((person, id) => ({ id, ...person }))
      const whole = roundCell(cellOf(people), K)
      const without = roundCell(cellOf(people.slice(1)), K)
      for (const cell of [whole, without]) {
        expect(sumOf(cell, 'calls') % K).toBe(0)
        expect(sumOf(cell, 'ok') % K).toBe(0)
      }
      const mean = sumOf(whole, 'promptTokens') / Math.max(1, sumOf(whole, 'calls'))
      // Two digits of a mean, times a rounded count: what one person said is not in it.
      expect(Number(mean.toPrecision(2))).toBeCloseTo(mean, 8)
    }),
  )
})

test('cells merge as if all calls had been counted in one', () => {
  fc.assert(
    fc.property(populations, populations, (some, others) => {
      const people = [...some, ...others].map((person, id) => ({ id, ...person }))
      const merged = cellOf(people.slice(0, some.length))
      mergeCell(merged, cellOf(people.slice(some.length)))
      expect(merged).toEqual(cellOf(people))
      expect(leastPeople(merged)).toBeLessThanOrEqual(people.length)
    }),
  )
})
