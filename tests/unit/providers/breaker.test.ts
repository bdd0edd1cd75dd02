import { beforeEach, expect, test } from 'vitest'

import { createBreaker, type Breaker } from '#providers/breaker.ts'

let nowMs = 0
let breaker: Breaker
beforeEach(() => {
  nowMs = 0
  breaker = createBreaker(() => nowMs)
})

/** Makes calls that the breaker admits; answers how many it did. */
function call(times: number, outcome: 'succeeded' | 'failed' | 'undecided'): number {
  let admitted = 0
  for (let made = 0; made < times; made++) {
    const attempt = breaker.admit()
    if (attempt === undefined) continue
    admitted += 1
    attempt[outcome]()
  }
  return admitted
}

test('a server that fails is left alone after at most twenty calls', () => {
  call(20, 'succeeded')
  expect(call(40, 'failed')).toBeLessThanOrEqual(20)
  expect(breaker.isOpen).toBe(true)
  expect(breaker.pauseMs()).toBe(5_000)
})

test('few failures among many calls, and wrong requests, do not count against it', () => {
  for (let round = 0; round < 50; round++) {
    call(3, 'succeeded')
    call(1, 'failed')
    call(5, 'undecided')
  }
  expect(breaker.isOpen).toBe(false)
})

test('one call tries whether it is back: then all are admitted again', () => {
  call(10, 'failed')
  nowMs += 5_000
  const trial = breaker.admit()
  expect(trial).toBeDefined()
  expect(breaker.admit()).toBeUndefined()
  trial?.succeeded()
  expect(call(10, 'succeeded')).toBe(10)
})

test('each trial that fails doubles the pause, up to a minute', () => {
  call(10, 'failed')
  const pauses: number[] = []
  for (let trial = 0; trial < 6; trial++) {
    pauses.push(breaker.pauseMs())
    nowMs += breaker.pauseMs()
    expect(call(5, 'failed')).toBe(1)
  }
  expect(pauses).toEqual([5_000, 10_000, 20_000, 40_000, 60_000, 60_000])
})

test('a trial that told nothing gives its place to the next', () => {
  call(10, 'failed')
  nowMs += 5_000
  expect(call(3, 'undecided')).toBe(3)
})

test('calls that were on their way when it opened do not lengthen the pause', () => {
  const underway = Array.from({ length: 30 }, () => breaker.admit())
  for (const attempt of underway) attempt?.failed()
  expect(breaker.pauseMs()).toBe(5_000)
})

test.each(['failed', 'undecided'] as const)(
  'a call of before that %s makes no room for a second trial',
  (outcome) => {
    const late = breaker.admit()
    call(10, 'failed')
    nowMs += 5_000
    expect(breaker.admit()).toBeDefined()
    late?.[outcome]()
    expect(breaker.admit()).toBeUndefined()
    expect(breaker.pauseMs()).toBe(0)
  },
)
