import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as breathe } from 'node:timers/promises'

import { afterAll, describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'
import type { ReadLorebook } from '#characters/lorebooks.ts'
import type { ReadCard } from '#characters/read.ts'
import { openCardReader, readsHere, type CardReader } from '#library/card-reader.ts'

import { HOSTILE } from '../../support/hostile.ts'
import { asRefusal } from '../../support/refusal.ts'
import { CARD_FILES, LOREBOOK_FILES } from '../../support/sample-files.ts'

const elsewhere = openCardReader()
afterAll(() => elsewhere.close())

/** A refusal as what a person gets of it, a picture as its hash. */
function shown(outcome: ReadCard | ReadLorebook | AppError) {
  if (outcome instanceof AppError) return { code: outcome.code, message: outcome.message }
  const bytes = 'picture' in outcome ? outcome.picture : undefined
  const picture = bytes && sha256Hex(bytes)
  return { ...outcome, picture }
}

const both = async (read: (reader: CardReader) => Promise<ReadCard | ReadLorebook>) => {
  const [there, here] = await Promise.all([
    read(elsewhere).catch(asRefusal),
    read(readsHere).catch(asRefusal),
  ])
  return { there: shown(there), here: shown(here) }
}

/** Too long to be read where it is asked for; blanks behind JSON mean nothing. In shared memory, as a large upload is. */
function longer(bytes: Buffer): Uint8Array {
  if (bytes[0] !== 0x7b) return bytes
  const padded = Buffer.from(new SharedArrayBuffer(bytes.length + 20_000)).fill(' ')
  bytes.copy(padded)
  return padded
}

test.each(CARD_FILES.map(({ name, bytes }) => [name, longer(bytes)] as const))(
  'the card of %s is the same from the thread',
  async (name, bytes) => {
    const { there, here } = await both(({ readCard }) => readCard(bytes, name))
    expect(there).toEqual(here)
  },
)

test.each(
  [...LOREBOOK_FILES, ...CARD_FILES.slice(0, 3)].map(({ name, bytes }) => [name, longer(bytes)] as const),
)('the lorebook of %s is the same from the thread', async (name, bytes) => {
  const { there, here } = await both(({ readLorebook }) => readLorebook(bytes, name))
  expect(there).toEqual(here)
})

/** Of each third: `bombs.test.ts` sends them all. */
const SOME = HOSTILE.filter(({ becomes }) => 'refused' in becomes).filter((_, at) => at % 3 === 0)

test.each(SOME.map((file) => [file.name, file] as const))(
  'the thread refuses %s in the same words',
  { timeout: 30_000 },
  async (_name, { make }) => {
    const bytes = make()
    const { there, here } = await both(({ readCard }) => readCard(bytes, 'file'))
    expect(there).toEqual(here)
  },
)

/** The longest time, in milliseconds, in which nothing else came to its turn. */
async function longestPauseMs(work: () => Promise<unknown>): Promise<number> {
  const pauses = monitorEventLoopDelay({ resolution: 1 })
  pauses.enable()
  // A pause is noticed between two looks.
  await breathe(5)
  await work()
  await breathe(5)
  pauses.disable()
  return pauses.max / 1e6
}

test('a file that takes long to read holds nobody up', async () => {
  const entries = Array.from({ length: 200_000 }, (_, at) => ({ keys: [`key ${String(at)}`], content: 'b' }))
  const bytes = Buffer.from(JSON.stringify({ name: 'x', character_book: { entries } }))
  const pauseOf = (reader: CardReader) =>
    longestPauseMs(() => reader.readCard(bytes, 'large.json').catch(asRefusal))
  await pauseOf(elsewhere)
  const here = await pauseOf(readsHere)
  let there = Infinity
  // A reader that holds others up does it each time; another program does it once.
  for (let round = 0; round < 5 && there >= here / 3; round++)
    there = Math.min(there, await pauseOf(elsewhere))
  expect(there).toBeLessThan(here / 3)
})

describe('a thread whose memory is full', () => {
  const card = Buffer.from('PK')
  const full = () =>
    Promise.reject(
      new AppError('unavailable', 'its thread ended', {
        cause: Object.assign(new Error('full'), { code: 'ERR_WORKER_OUT_OF_MEMORY' }),
      }),
    )
  const readerOf = (...outcomes: (() => Promise<unknown>)[]) => {
    const call = () => (outcomes.shift() ?? full)()
    return openCardReader({ call, ping: () => Promise.resolve(), close: () => Promise.resolve() })
  }

  test('is no fault of a file that is read when it is alone', async () => {
    const reader = readerOf(full, () => Promise.resolve('the card'))
    expect(await reader.readCard(card, 'x.charx')).toBe('the card')
  })

  test('is the fault of a file that fills it alone', async () => {
    await expect(readerOf().readCard(card, 'x.charx')).rejects.toMatchObject({
      code: 'too_large',
      message: 'The file could not be read: too much is packed into it',
    })
  })

  test('is another thing than one that cannot be had: that says nothing of a file', async () => {
    const away = () => Promise.reject(new AppError('unavailable', 'it is closed'))
    await expect(readerOf(away).readCard(card, 'x.charx')).rejects.toMatchObject({ code: 'unavailable' })
  })
})
