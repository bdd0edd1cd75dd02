import { expect, test } from 'vitest'

import { createGuesses } from '#gateway/guesses.ts'
import { openMemoryKv } from '#kv/memory.ts'

test('who tries twenty wrong keys waits, others do not, and no address is kept', async () => {
  const kv = openMemoryKv({ now: () => 0 })
  const keys: string[] = []
  const increment: typeof kv.increment = (key, ttlMs) => {
    keys.push(key)
    return kv.increment(key, ttlMs)
  }
  const nameOf = (address: string) => `name of ${String(address.length)}`
  const guesses = createGuesses({ kv: { ...kv, increment }, nameOf, now: () => 0 })
  for (let at = 0; at < 20; at++) await guesses.failed('203.0.113.7')
  await expect(guesses.refuse('203.0.113.7')).rejects.toMatchObject({ code: 'limited' })
  await guesses.refuse('203.0.113.70')
  expect(new Set(keys)).toEqual(new Set(['failed-keys:name of 11']))
})
