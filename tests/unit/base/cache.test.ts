import { expect, test } from 'vitest'

import { cacheCounts, createCache, remembering, type CacheName } from '#base/cache.ts'

const countOf = (name: CacheName) => cacheCounts().find(({ cache }) => cache === name)

test('what was asked for longest ago makes room', () => {
  const cache = createCache<{ value: string }>('prefix', { most: 2 })
  cache.set('a', { value: 'A' })
  cache.set('b', { value: 'B' })
  expect(cache.get('a')).toEqual({ value: 'A' })
  cache.set('c', { value: 'C' })
  expect(['a', 'b', 'c'].map((key) => cache.get(key)?.value)).toEqual(['A', undefined, 'C'])
})

test('large values leave room for fewer, and one that is larger than all room is not kept', () => {
  const sizeOf = ({ text }: { text: string }) => text.length
  const cache = createCache<{ text: string }>('character', { most: 100, largest: 10, sizeOf })
  cache.set('a', { text: '1234567' })
  cache.set('b', { text: '1234567' })
  cache.set('c', { text: '12345678901' })
  expect(['a', 'b', 'c'].map((key) => cache.get(key)?.text)).toEqual([undefined, '1234567', undefined])
})

test('how often a value was there is counted by the name of the cache', () => {
  const before = countOf('key') ?? { hits: 0, misses: 0 }
  const cache = createCache<object>('key', { most: 2 })
  cache.get('a')
  cache.set('a', {})
  cache.get('a')
  cache.get('a')
  cache.delete('a')
  cache.get('a')
  expect(countOf('key')).toEqual({ cache: 'key', hits: before.hits + 2, misses: before.misses + 2 })
})

test('what is remembered is made once, until others made it go', () => {
  const made: string[] = []
  const make = remembering(2, (key) => {
    made.push(key)
    return key.toUpperCase()
  })
  expect(['a', 'a', 'b', 'a', 'c', 'a', 'b'].map(make)).toEqual(['A', 'A', 'B', 'A', 'C', 'A', 'B'])
  expect(made).toEqual(['a', 'b', 'c', 'b'])
})
