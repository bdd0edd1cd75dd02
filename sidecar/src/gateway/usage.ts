/**
 * What people and keys used up in a day or a month, durably. The fast store counts; this keeps its sums, so that neither a
 * restart nor an emptied Redis gives a month away. A crash loses what was counted in the last seconds.
 */
import { inArray, lt, sql } from 'drizzle-orm'

import type { Log } from '#base/log.ts'
import { personOfUsage } from '#store/access-tables.ts'
import type { Store } from '#store/store.ts'

const FLUSH_MS = 5_000

/** Of a day's or a month's sum after its end. */
const KEPT_MS = 7 * 86_400_000

const CLEAR_EVERY_MS = 3_600_000

/** A statement takes a bounded number of values: 32,766 on SQLite, 65,535 on PostgreSQL. */
const KEYS_AT_ONCE = 5_000

export interface Usage {
  /** The sums as far as they were written, and what this process has yet to write. */
  read(keys: readonly string[]): Promise<Map<string, number>>
  add(key: string, by: number, periodEndsAtMs: number): void
  /** Writes what is waiting; it stays when that fails. */
  flush(): Promise<void>
  close(): Promise<void>
}

export interface UsageParts {
  store: Store
  log: Log
  now: () => number
  /** True for a person of whom nothing may be written any more. */
  isErased?: (person: string) => boolean
}

export function openUsage({ store, log, now, isErased = () => false }: UsageParts): Usage {
  const { usageSums } = store.t
  let waiting = new Map<string, { by: number; expiresAtMs: number }>()

  async function write(): Promise<void> {
    const batch = [...waiting].filter(([key]) => !isForgotten(key))
    waiting = new Map()
    while (batch.length > 0) {
      const some = batch.slice(0, KEYS_AT_ONCE)
      try {
        await store.db
          .insert(usageSums)
          .values(some.map(([key, { by, expiresAtMs }]) => ({ key, sum: by, expiresAtMs })))
          .onConflictDoUpdate({
            target: usageSums.key,
            set: { sum: sql`${usageSums.sum} + excluded.sum` },
          })
      } catch (error) {
        for (const [key, { by, expiresAtMs }] of batch) wait(key, by, expiresAtMs)
        throw error
      }
      batch.splice(0, KEYS_AT_ONCE)
    }
  }

  let clearedAtMs = -Infinity
  /** Sums whose time is over. */
  async function clear(): Promise<void> {
    const atMs = now()
    if (atMs - clearedAtMs < CLEAR_EVERY_MS) return
    await store.db.delete(usageSums).where(lt(usageSums.expiresAtMs, atMs))
    clearedAtMs = atMs
  }

  function isForgotten(key: string): boolean {
    const person = personOfUsage(key)
    return person !== undefined && isErased(person)
  }

  function wait(key: string, by: number, expiresAtMs: number): void {
    waiting.set(key, { by: by + (waiting.get(key)?.by ?? 0), expiresAtMs })
  }

  let writing = Promise.resolve()
  /** One after the other. */
  const flush = () => (writing = writing.catch(() => undefined).then(write))

  const timer = setInterval(() => {
    const work = flush().then(clear)
    work.catch((error: unknown) => log.warn({ error }, 'what was used up could not be written yet'))
  }, FLUSH_MS).unref()

  return {
    async read(keys) {
      const rows = await store.db
        .select()
        .from(usageSums)
        .where(inArray(usageSums.key, [...keys]))
      const sums = new Map(keys.map((key) => [key, waiting.get(key)?.by ?? 0]))
      for (const { key, sum } of rows) sums.set(key, sum + (sums.get(key) ?? 0))
      return sums
    },
    add(key, by, periodEndsAtMs) {
      wait(key, by, periodEndsAtMs + KEPT_MS)
    },
    flush,
    async close() {
      clearInterval(timer)
      await flush().catch((error: unknown) => log.error({ error }, 'what was used up could not be written'))
    },
  }
}
