/** What every key-value store must do; `kv.test.ts` runs it on each engine. */
import { expect, test as testOnce } from 'vitest'

import type { Kv } from '#kv/kv.ts'

export interface KvSubject {
  kv: Kv
  /** Lets time pass for the store. */
  advance(ms: number): Promise<void>
  /** How much more time than that has passed for it, where it passes by itself. */
  lateMs?(): number
}

const MOST_TRIES = 3
const timeoutMs = 60_000

/** After so much more than was meant a store may have forgotten what a test looks for. Before scaling. */
const LATE_MS = 15

/**
 * `scale` stretches all times, for a store whose clock cannot be turned by hand: what is a moment here must be one
 * there. Where a busy machine made more of it, a failure says nothing, and an empty store is asked again.
 */
export function describeKv(open: () => Promise<KvSubject>, scale = 1): void {
  let kv: Kv
  let advance: KvSubject['advance']
  /** False when it failed and has to be asked again. */
  async function isJudged(body: () => Promise<void>, isLast: boolean): Promise<boolean> {
    const subject = await open()
    kv = subject.kv
    advance = (ms) => subject.advance(ms * scale)
    try {
      await body()
      return true
    } catch (error) {
      if (isLast || (subject.lateMs?.() ?? 0) < LATE_MS * scale) throw error
      return false
    } finally {
      await kv.close()
    }
  }
  const test = (title: string, body: () => Promise<void>) => {
    const run = async () => {
      for (let tries = 1; !(await isJudged(body, tries === MOST_TRIES)); tries++);
    }
    testOnce(title, run, timeoutMs)
  }

  test('keeps a value for its time and not longer', async () => {
    await kv.set('a', 'one', 100 * scale)
    expect(await kv.get('a')).toBe('one')
    await advance(70)
    expect(await kv.get('a')).toBe('one')
    await advance(30)
    expect(await kv.get('a')).toBeUndefined()
  })

  test('a new value starts its time anew', async () => {
    await kv.set('a', 'one', 100 * scale)
    await advance(50)
    await kv.set('a', 'two', 100 * scale)
    await advance(70)
    expect(await kv.get('a')).toBe('two')
  })

  test('replaces what is still there, and brings nothing back', async () => {
    await kv.set('a', 'one', 100 * scale)
    await advance(50)
    await kv.replace('a', 'two', 100 * scale)
    await advance(70)
    expect(await kv.get('a')).toBe('two')
    await kv.delete('a')
    await kv.replace('a', 'three', 100 * scale)
    await kv.replace('never', 'three', 100 * scale)
    expect([await kv.get('a'), await kv.get('never')]).toEqual([undefined, undefined])
  })

  test('counts without losing one, and counting does not lengthen the time', async () => {
    const counts = await Promise.all(Array.from({ length: 20 }, () => kv.increment('n', 100 * scale)))
    expect(counts.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
    await advance(60)
    expect(await kv.increment('n', 100 * scale)).toBe(21)
    await advance(40)
    expect(await kv.increment('n', 100 * scale)).toBe(1)
  })

  test('forgets what is deleted, and keys do not touch each other', async () => {
    await kv.set('a', 'one', 100 * scale)
    await kv.set('b', 'two', 100 * scale)
    await kv.delete('a')
    await kv.delete('never')
    expect([await kv.get('a'), await kv.get('b')]).toEqual([undefined, 'two'])
  })

  test('forgets every kind of value under a name, and whatever names it', async () => {
    const name = 'p-0123456789abcdef'
    const rules = (who: string) => [
      { kind: 'window' as const, key: `rate:${who}:chat`, most: 2, windowMs: 5_000 * scale },
      { kind: 'lease' as const, key: `running:${who}`, most: 2, ttlMs: 5_000 * scale },
      {
        kind: 'sum' as const,
        key: `used:${who}:tokens`,
        most: 10,
        amount: 4,
        ttlMs: 5_000 * scale,
        heldMs: 5_000 * scale,
      },
    ]
    for (const who of [name, 'other']) {
      await kv.begin(`used:${who}:tokens`, 0, 5_000 * scale)
      await kv.claim('a', rules(who))
      await kv.set(`session:${who.length}`, JSON.stringify({ person: who }), 5_000 * scale)
    }
    await kv.forget([name, 'nobody-has-this-name'])
    await kv.forget([])
    expect(await kv.claim('b', rules(name))).toMatchObject({ outcome: 'unknown' })
    await kv.begin(`used:${name}:tokens`, 0, 5_000 * scale)
    expect(await kv.claim('b', rules(name))).toMatchObject({
      standings: [{ left: 1 }, { left: 1 }, { left: 6 }],
    })
    expect(await kv.claim('b', rules('other'))).toMatchObject({
      standings: [{ left: 0 }, { left: 0 }, { left: 2 }],
    })
    expect(await kv.get(`session:${name.length}`)).toBeUndefined()
    expect(await kv.get('session:5')).toBe('{"person":"other"}')
  })

  test('a window grants what fits into every stretch of its length, and tells how long to wait', async () => {
    const rule = { kind: 'window' as const, key: 'w', most: 3, windowMs: 100 * scale }
    expect(await kv.claim('a', [rule])).toMatchObject({ outcome: 'granted', standings: [{ left: 2 }] })
    await advance(60)
    expect(await kv.claim('b', [rule])).toMatchObject({ outcome: 'granted', standings: [{ left: 1 }] })
    expect(await kv.claim('c', [rule])).toMatchObject({ outcome: 'granted', standings: [{ left: 0 }] })
    const refused = await kv.claim('d', [rule])
    expect(refused).toMatchObject({ outcome: 'refused', rule: 0, standings: [{ left: 0 }] })
    const waitMs = refused.outcome === 'refused' ? (refused.standings[0]?.waitMs ?? 0) : 0
    expect(waitMs).toBeGreaterThan(0)
    expect(waitMs).toBeLessThanOrEqual(40 * scale)
    await advance(waitMs / scale)
    expect((await kv.claim('e', [rule])).outcome).toBe('granted')
    expect((await kv.claim('f', [rule])).outcome).toBe('refused')
  })

  test('of claims at the same moment exactly as many are granted as fit', async () => {
    const rule = { kind: 'window' as const, key: 'w', most: 10, windowMs: 10_000 }
    const verdicts = await Promise.all(Array.from({ length: 40 }, (_, at) => kv.claim(String(at), [rule])))
    expect(verdicts.filter(({ outcome }) => outcome === 'granted')).toHaveLength(10)
  })

  test('all rules or none: what one rule refuses takes nothing from the others', async () => {
    const free = { kind: 'window' as const, key: 'free', most: 2, windowMs: 10_000 }
    const full = { kind: 'lease' as const, key: 'full', most: 1, ttlMs: 10_000 }
    expect((await kv.claim('a', [full])).outcome).toBe('granted')
    expect(await kv.claim('b', [free, full])).toMatchObject({ outcome: 'refused', rule: 1 })
    expect(await kv.claim('c', [free])).toMatchObject({ outcome: 'granted', standings: [{ left: 1 }] })
  })

  test('a lease ends when it is settled, or by itself unless it is renewed', async () => {
    const rule = { kind: 'lease' as const, key: 'l', most: 1, ttlMs: 100 * scale }
    const outcome = async (id: string) => (await kv.claim(id, [rule])).outcome
    expect(await outcome('a')).toBe('granted')
    expect(await outcome('b')).toBe('refused')
    await kv.settle('b', { leases: ['l'], sums: [] })
    expect(await outcome('b')).toBe('refused')
    await kv.settle('a', { leases: ['l'], sums: [] })
    expect(await outcome('b')).toBe('granted')
    await advance(60)
    await kv.renew([{ id: 'b', key: 'l', ttlMs: 100 * scale }])
    await advance(60)
    expect(await outcome('c')).toBe('refused')
    await advance(60)
    expect(await outcome('c')).toBe('granted')
  })

  test('a sum is begun once, reserved, put right, and refuses what would pass it', async () => {
    const rule = { kind: 'sum' as const, key: 's', most: 100, amount: 60, ttlMs: 10_000, heldMs: 10_000 }
    expect(await kv.claim('a', [rule])).toEqual({ outcome: 'unknown', keys: ['s'] })
    await kv.begin('s', 20, 10_000)
    await kv.begin('s', 90, 10_000)
    expect(await kv.claim('a', [rule])).toMatchObject({ outcome: 'granted', standings: [{ left: 20 }] })
    expect(await kv.claim('b', [rule])).toMatchObject({ outcome: 'refused', standings: [{ left: 20 }] })
    const sums = [
      { key: 's', held: 60, used: 10 },
      { key: 'never begun', held: 60, used: 7 },
    ]
    await kv.settle('a', { leases: [], sums })
    expect(await kv.claim('b', [rule])).toMatchObject({ outcome: 'granted', standings: [{ left: 10 }] })
    await kv.settle('b', { leases: [], sums: [{ key: 's', held: 60, used: 70 }] })
    expect(await kv.claim('c', [{ ...rule, amount: 0 }])).toMatchObject({ outcome: 'refused' })
    expect(await kv.claim('c', [{ ...rule, key: 'never begun' }])).toMatchObject({ outcome: 'unknown' })
  })

  test('what a sum has reserved ends by itself unless it is renewed, and what was used then still counts', async () => {
    const heldMs = 100 * scale
    const rule = { kind: 'sum' as const, key: 's', most: 100, amount: 60, ttlMs: 10_000, heldMs }
    await kv.begin('s', 0, 10_000)
    const left = async () => {
      const verdict = await kv.claim('look', [{ ...rule, amount: 0 }])
      return verdict.outcome === 'unknown' ? undefined : verdict.standings[0]?.left
    }
    await kv.claim('a', [rule])
    await advance(60)
    await kv.renew([{ id: 'a', key: 's', ttlMs: heldMs, held: 60 }])
    await advance(60)
    expect(await left()).toBe(40)
    await advance(60)
    expect(await left()).toBe(100)
    await kv.settle('a', { leases: [], sums: [{ key: 's', held: 60, used: 30 }] })
    expect(await left()).toBe(70)
  })

  test('a sum that is deleted is begun anew, and what runs still counts', async () => {
    const rule = { kind: 'sum' as const, key: 's', most: 100, amount: 60, ttlMs: 10_000, heldMs: 10_000 }
    await kv.begin('s', 20, 10_000)
    await kv.claim('a', [rule])
    await kv.delete('s')
    expect(await kv.claim('b', [rule])).toEqual({ outcome: 'unknown', keys: ['s'] })
    await kv.begin('s', 10, 10_000)
    expect(await kv.claim('b', [rule])).toMatchObject({ outcome: 'refused', standings: [{ left: 30 }] })
  })

  test('a word reaches who listens, and nobody who left', async () => {
    const heard: string[] = []
    const leave = kv.subscribe('news', (text) => heard.push(`first ${text}`))
    kv.subscribe('news', (text) => heard.push(`second ${text}`))
    kv.subscribe('other', (text) => heard.push(`other ${text}`))
    await expect
      .poll(async () => {
        await kv.publish('news', 'one')
        return heard
      })
      .toEqual(expect.arrayContaining(['first one', 'second one']))
    leave()
    await kv.publish('news', 'two')
    await expect.poll(() => heard).toContain('second two')
    expect(heard.filter((word) => /first two|other/.test(word))).toEqual([])
  })
}
