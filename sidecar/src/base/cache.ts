/**
 * What was dear to make and may be asked for again; what was asked for longest ago makes room. How often a value was there is
 * counted for the whole process, by the name of the cache.
 */
import { LRUCache } from 'lru-cache'

export type CacheName = 'character' | 'prefix' | 'lorebook' | 'key' | 'question' | 'models'

export interface CacheCount {
  cache: CacheName
  hits: number
  misses: number
}

export interface CacheOptions<V> {
  /** Values. */
  most: number
  /** Bound of all sizes together; a value that is larger is not kept. Needs `sizeOf`. */
  largest?: number
  sizeOf?: (value: V) => number
}

export interface Cache<V> {
  /** Undefined counts as a miss: whoever makes the value then hands it to `set`. */
  get(key: string): V | undefined
  set(key: string, value: V): void
  delete(key: string): void
}

export function createCache<V extends object>(
  name: CacheName,
  { most, largest, sizeOf }: CacheOptions<V>,
): Cache<V> {
  const kept = new LRUCache<string, V>({
    max: most,
    ...(largest !== undefined && sizeOf !== undefined && { maxSize: largest, sizeCalculation: sizeOf }),
  })
  return {
    get(key) {
      const value = kept.get(key)
      countAsked(name, value !== undefined)
      return value
    },
    set: (key, value) => void kept.set(key, value),
    delete: (key) => void kept.delete(key),
  }
}

/** `make` for the keys asked for last; it must give the same for the same key. */
export function remembering<V extends object | string>(
  most: number,
  make: (key: string) => V,
): (key: string) => V {
  const kept = new LRUCache<string, V>({ max: most })
  return (key) => {
    const known = kept.get(key)
    if (known !== undefined) return known
    const made = make(key)
    kept.set(key, made)
    return made
  }
}

const counts = new Map<CacheName, { hits: number; misses: number }>()

/** For what is kept in another way. */
export function countAsked(name: CacheName, isThere: boolean): void {
  const count = counts.get(name) ?? { hits: 0, misses: 0 }
  counts.set(name, count)
  if (isThere) count.hits += 1
  else count.misses += 1
}

/** Since the start of the process. */
export const cacheCounts = (): CacheCount[] => [...counts].map(([cache, count]) => ({ cache, ...count }))
