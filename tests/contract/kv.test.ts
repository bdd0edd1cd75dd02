import { describe, expect, test } from 'vitest'

import { openMemoryKv } from '#kv/memory.ts'

import { describeKv } from './kv.ts'

describe('memory', () => {
  describeKv(() => {
    let nowMs = 0
    const advance = (ms: number) => {
      nowMs += ms
      return Promise.resolve()
    }
    return Promise.resolve({ kv: openMemoryKv({ now: () => nowMs }), advance })
  })

  test('gives up the oldest keys when there are too many', async () => {
    const kv = openMemoryKv({ now: () => 0, mostKeys: 3 })
    for (const key of ['a', 'b', 'c', 'd']) await kv.set(key, key, 1)
    expect([await kv.get('a'), await kv.get('d')]).toEqual([undefined, 'd'])
  })
})
