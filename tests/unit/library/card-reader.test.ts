import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as breathe } from 'node:timers/promises'

import { afterAll, expect, test } from 'vitest'

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

test.each(CARD_FILES.map(({ name, bytes }) => [name, bytes] as const))(
  'the card of %s is the same from the thread',
  async (name, bytes) => {
    const { there, here } = await both(({ readCard }) => readCard(bytes, name))
    expect(there).toEqual(here)
  },
)

test.each([...LOREBOOK_FILES, ...CARD_FILES.slice(0, 3)].map(({ name, bytes }) => [name, bytes] as const))(
  'the lorebook of %s is the same from the thread',
  async (name, bytes) => {
    const { there, here } = await both(({ readLorebook }) => readLorebook(bytes, name))
    expect(there).toEqual(here)
  },
)

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
  const [there, here] = [await pauseOf(elsewhere), await pauseOf(readsHere)]
  expect(there).toBeLessThan(here / 3)
})

test('a file that ends the thread is refused, and no reason to try again', async () => {
  const lost = () => Promise.reject(new AppError('unavailable', 'its thread ended'))
  const reader = openCardReader({ call: lost, ping: lost, close: () => Promise.resolve() })
  await expect(reader.readCard(Buffer.from('PK'), 'x.charx')).rejects.toMatchObject({
    code: 'invalid',
    message: 'The file could not be read: too much is packed into it',
  })
})
