/** What every key-value store must do; `kv.test.ts` runs it on each engine. */
import { beforeEach, expect, test } from 'vitest'

import type { Kv } from '#kv/kv.ts'

export interface KvSubject {
  kv: Kv
  /** Lets time pass for the store. */
  advance(ms: number): Promise<void>
}

export function describeKv(open: () => Promise<KvSubject>): void {
  let kv: Kv
  let advance: KvSubject['advance']
  beforeEach(async () => {
    const subject = await open()
    kv = subject.kv
    advance = (ms) => subject.advance(ms)
    return () => kv.close()
  })

  test('keeps a value for its time and not longer', async () => {
    await kv.set('a', 'one', 100)
    expect(await kv.get('a')).toBe('one')
    await advance(99)
    expect(await kv.get('a')).toBe('one')
    await advance(1)
    expect(await kv.get('a')).toBeUndefined()
  })

  test('a new value starts its time anew', async () => {
    await kv.set('a', 'one', 100)
    await advance(50)
    await kv.set('a', 'two', 100)
    await advance(80)
    expect(await kv.get('a')).toBe('two')
  })

  test('counts without losing one, and counting does not lengthen the time', async () => {
    const counts = await Promise.all(Array.from({ length: 20 }, () => kv.increment('n', 100)))
    expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
    await advance(60)
    expect(await kv.increment('n', 100)).toBe(21)
    await advance(40)
    expect(await kv.increment('n', 100)).toBe(1)
  })

  test('forgets what is deleted, and keys do not touch each other', async () => {
    await kv.set('a', 'one', 100)
    await kv.set('b', 'two', 100)
    await kv.delete('a')
    await kv.delete('never')
    expect([await kv.get('a'), await kv.get('b')]).toEqual([undefined, 'two'])
  })
}
