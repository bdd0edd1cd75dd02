import fc from 'fast-check'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { createGate, type Gate, type Release } from '#providers/gate.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const quiet = () => new AbortController().signal

interface Visit {
  person: string
  places: number[]
  release?: Release
  error?: unknown
}

function visit(gate: Gate, person: string, signal = quiet(), isTask = false): Visit {
  const visit: Visit = { person, places: [] }
  gate
    .enter({ person, isTask }, signal, (place) => visit.places.push(place))
    .then(
      (release) => (visit.release = release),
      (error: unknown) => (visit.error = error),
    )
  return visit
}

const settle = () => vi.advanceTimersByTimeAsync(0)

test('people take turns: who asks ten times waits behind everybody who asks once', async () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  const current = gate.tryEnter()
  const visits = [
    ...Array.from({ length: 4 }, () => visit(gate, 'many')),
    visit(gate, 'one'),
    visit(gate, 'two'),
  ]
  const order: string[] = []
  let release = current
  for (let turn = 0; turn < visits.length; turn++) {
    release?.()
    await settle()
    const next = visits.find((each) => each.release !== undefined)
    order.push(next?.person ?? '?')
    release = next?.release
    if (next !== undefined) visits.splice(visits.indexOf(next), 1)
    turn = -1
    if (visits.length === 0) break
  }
  expect(order).toEqual(['many', 'one', 'two', 'many', 'many', 'many'])
})

test('what somebody asks comes before the tasks that wait for them, and takes the turn of nobody else', () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  gate.tryEnter()
  const [title, followUps] = [visit(gate, 'a', quiet(), true), visit(gate, 'a', quiet(), true)]
  const other = visit(gate, 'b')
  const next = visit(gate, 'a')
  expect([next, other, title, followUps].map(({ places }) => places.at(-1))).toEqual([1, 2, 3, 4])
})

test('who waits hears the place, and each step forward', async () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  const release = gate.tryEnter()
  const [first, second, third] = ['a', 'b', 'c'].map((person) => visit(gate, person))
  expect([first?.places, second?.places, third?.places]).toEqual([[1], [2], [3]])
  release?.()
  await settle()
  expect(second?.places).toEqual([2, 1])
  expect(third?.places).toEqual([3, 2])
})

test('who leaves the queue frees the place', async () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  gate.tryEnter()
  const leaving = new AbortController()
  const gone = visit(gate, 'a', leaving.signal)
  const stays = visit(gate, 'b')
  leaving.abort()
  await settle()
  expect(gone.error).toMatchObject({ code: 'cancelled' })
  expect(stays.places).toEqual([2, 1])
  expect(gate.waiting).toBe(1)
})

test('whoever has left before waiting takes no place in the queue', async () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  gate.tryEnter()
  const gone = visit(gate, 'a', AbortSignal.abort())
  await settle()
  expect(gone.error).toMatchObject({ code: 'cancelled' })
  expect(gate.waiting).toBe(0)
})

test('nobody waits longer than half a minute, and is told when to come again', async () => {
  const gate = createGate({ parallel: 1, perSecond: undefined }, Date.now)
  gate.tryEnter()
  const waiting = visit(gate, 'a')
  await vi.advanceTimersByTimeAsync(30_000)
  expect(waiting.error).toMatchObject({
    code: 'unavailable',
    facts: { retryAfterSeconds: expect.any(Number) },
  })
  expect(gate.waiting).toBe(0)
})

test('a ceiling of calls a second lets a burst pass, and then so many each second', async () => {
  const gate = createGate({ parallel: 1_000, perSecond: 10 }, Date.now)
  const visits = Array.from({ length: 60 }, (_, at) => visit(gate, String(at)))
  const begun = () => visits.filter(({ release }) => release !== undefined).length
  await settle()
  expect(begun()).toBe(20)
  for (const second of [1, 2, 3, 4]) {
    await vi.advanceTimersByTimeAsync(1_000)
    expect(begun()).toBe(20 + second * 10)
  }
})

test('never more at the same time than allowed, none forgotten, whatever comes and goes', async () => {
  const step = fc.constantFrom('come', 'go', 'leave')
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(step, { maxLength: 60 }),
      async (parallel, steps) => {
        const gate = createGate({ parallel, perSecond: undefined }, Date.now)
        const inside: Release[] = []
        const leavers: AbortController[] = []
        for (const [at, what] of steps.entries()) {
          if (what === 'go') inside.shift()?.()
          if (what === 'leave') leavers.shift()?.abort()
          if (what === 'come') {
            const leaver = new AbortController()
            leavers.push(leaver)
            gate
              .enter(
                { person: `person ${String(at % 3)}`, isTask: at % 2 === 0 },
                leaver.signal,
                () => undefined,
              )
              .then(
                (release) => inside.push(release),
                () => undefined,
              )
          }
          await settle()
          expect(gate.running).toBe(inside.length)
          expect(gate.running).toBeLessThanOrEqual(parallel)
          if (gate.waiting > 0) expect(gate.running).toBe(parallel)
        }
        while (inside.length > 0) {
          inside.shift()?.()
          await settle()
        }
        expect([gate.running, gate.waiting]).toEqual([0, 0])
      },
    ),
    { numRuns: 60 },
  )
})
