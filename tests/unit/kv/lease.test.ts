import { expect, test } from 'vitest'

import { takeLease, withLease } from '#kv/lease.ts'
import { openMemoryKv } from '#kv/memory.ts'

test('only one holds a lease, and the next one gets it when it ends', async () => {
  const kv = openMemoryKv({ now: Date.now })
  const lease = await takeLease(kv, 'work')
  expect(lease).toBeDefined()
  expect(await takeLease(kv, 'work')).toBeUndefined()
  expect(await takeLease(kv, 'other work')).toBeDefined()
  await lease?.end()
  expect(await takeLease(kv, 'work')).toBeDefined()
})

test('a lease of a process that died ends by itself', async () => {
  let nowMs = 0
  const kv = openMemoryKv({ now: () => nowMs })
  await takeLease(kv, 'work')
  nowMs += 30_001
  expect(await takeLease(kv, 'work')).toBeDefined()
})

test('work under a lease is done by one after the other, also when it fails', async () => {
  const kv = openMemoryKv({ now: Date.now })
  const order: string[] = []
  const first = withLease(kv, 'work', async () => {
    order.push('first begins')
    await new Promise(setImmediate)
    order.push('first ends')
    throw new Error('it failed')
  })
  const second = withLease(kv, 'work', () => Promise.resolve(order.push('second')))
  await expect(first).rejects.toThrow('it failed')
  await second
  expect(order).toEqual(['first begins', 'first ends', 'second'])
})
