/** Values in this process only: enough for one replica. */
import type { Kv } from './kv.ts'

interface Kept {
  value: string
  untilMs: number
}

/** A flood of keys (addresses, tokens) must not eat the memory; the oldest go first. */
const MOST_KEYS = 100_000

export function openMemoryKv({ now, mostKeys = MOST_KEYS }: { now: () => number; mostKeys?: number }): Kv {
  const kept = new Map<string, Kept>()

  function find(key: string): Kept | undefined {
    const found = kept.get(key)
    if (found === undefined || found.untilMs > now()) return found
    kept.delete(key)
    return undefined
  }

  function keep(key: string, entry: Kept): void {
    kept.delete(key)
    kept.set(key, entry)
    for (const oldest of kept.keys()) {
      if (kept.size <= mostKeys) break
      kept.delete(oldest)
    }
  }

  return {
    get: (key) => Promise.resolve(find(key)?.value),
    set(key, value, ttlMs) {
      keep(key, { value, untilMs: now() + ttlMs })
      return Promise.resolve()
    },
    increment(key, ttlMs) {
      const found = find(key)
      const count = Number(found?.value ?? 0) + 1
      keep(key, { value: String(count), untilMs: found?.untilMs ?? now() + ttlMs })
      return Promise.resolve(count)
    },
    delete(key) {
      kept.delete(key)
      return Promise.resolve()
    },
    close() {
      kept.clear()
      return Promise.resolve()
    },
  }
}
