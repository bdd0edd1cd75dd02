import { beforeEach, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { createLog } from '#base/log.ts'
import { createWarmUp } from '#chat/warm-up.ts'
import type { CharacterVersion } from '#library/library.ts'
import type { Ask } from '#prompt/ask.ts'

import { createHandClock, settled, type HandClock } from '../../support/hand-clock.ts'

let clock: HandClock
let asks: Ask[]
let isBusy: boolean
let published: Map<string, number>
/** What another process reads. */
let claimed: Set<string>
/** Ends the reading that runs. */
let finish: (() => void) | undefined

beforeEach(() => {
  clock = createHandClock()
  asks = []
  isBusy = false
  published = new Map(['ann', 'bea', 'cem', 'dov'].map((id) => [id, 1]))
  claimed = new Set()
  finish = undefined
})

function open({ most = 2, holds = false, fails = false } = {}) {
  return createWarmUp({
    // eslint-disable-next-line require-yield -- nobody reads the answer
    async *turn(ask, signal) {
      asks.push(ask)
      if (fails) throw new AppError('upstream', 'It does not work')
      if (!holds) return
      await new Promise<void>((resolve, reject) => {
        finish = resolve
        signal.addEventListener('abort', () => reject(new AppError('cancelled', 'The request was cancelled')))
      })
    },
    library: {
      published: (id) => {
        const number = published.get(id)
        return Promise.resolve(number === undefined ? undefined : ({ number } as CharacterVersion))
      },
    },
    isBusy: () => isBusy,
    most,
    claim: (name) => Promise.resolve({ isOurs: !claimed.has(name), end: () => Promise.resolve() }),
    log: createLog('silent'),
    now: clock.now,
    after: clock.after,
  })
}

const asked = () => asks.map(({ model }) => model)

test('a published character is read once, as a person would begin with it', async () => {
  const warmUp = open()
  warmUp.want('ann')
  await clock.advance(1_000)
  warmUp.want('ann')
  await clock.advance(1_000)
  expect(asks).toMatchObject([{ model: 'ann', isWarmUp: true, stream: false, sampling: {}, tools: [] }])
})

test('another version of it is read again', async () => {
  const warmUp = open()
  warmUp.want('ann')
  await clock.advance(1_000)
  published.set('ann', 2)
  warmUp.want('ann')
  await clock.advance(1_000)
  expect(asked()).toEqual(['ann', 'ann'])
})

test('of many that change at once the newest are read, and a draft is not', async () => {
  const warmUp = open()
  published.delete('dov')
  for (const id of ['ann', 'bea', 'cem', 'dov']) warmUp.want(id)
  await clock.advance(2_000)
  expect(asked()).toEqual(['cem'])
})

test('none is read where nobody wants that', async () => {
  const warmUp = open({ most: 0 })
  warmUp.want('ann')
  await clock.advance(60_000)
  expect(asked()).toEqual([])
})

test('nothing is read while somebody waits for an answer', async () => {
  const warmUp = open()
  isBusy = true
  warmUp.want('ann')
  await clock.advance(30_000)
  expect(asked()).toEqual([])
  isBusy = false
  await clock.advance(5_000)
  expect(asked()).toEqual(['ann'])
})

test('who asks meanwhile comes first; it is read again later', async () => {
  const warmUp = open({ holds: true })
  warmUp.want('ann')
  await clock.advance(1_000)
  warmUp.stepAside()
  await settled()
  await clock.advance(5_000)
  expect(asked()).toEqual(['ann', 'ann'])
  finish?.()
  await settled()
  await clock.advance(60_000)
  expect(asked()).toEqual(['ann', 'ann'])
})

test('what another process reads is not read twice', async () => {
  const warmUp = open()
  claimed.add('ann@1')
  for (const id of ['ann', 'bea']) warmUp.want(id)
  await clock.advance(2_000)
  expect(asked()).toEqual(['bea'])
})

test('a failure is not repeated until the character changes', async () => {
  const warmUp = open({ fails: true })
  warmUp.want('ann')
  await clock.advance(60_000)
  expect(asked()).toEqual(['ann'])
})

test('closing gives up what is being read, and nothing follows', async () => {
  const warmUp = open({ holds: true })
  for (const id of ['ann', 'bea']) warmUp.want(id)
  await clock.advance(1_000)
  await warmUp.close()
  await clock.advance(60_000)
  expect(asked()).toEqual(['ann'])
})
