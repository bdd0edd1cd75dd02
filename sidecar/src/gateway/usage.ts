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
  /** `most`: what the sum may be. */
  add(key: string, by: number, periodEndsAtMs: number, most?: number | null): void
  /** Somebody was refused for it: more was asked than is left. */
  refused(key: string, periodEndsAtMs: number, most: number): void
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
  interface Waiting {
    by: number
    most: number | null
    wasRefused: boolean
    expiresAtMs: number
  }
  let waiting = new Map<string, Waiting>()

  /** That a sum was reached is said once, by whoever adds the last to it. */
  async function insert(batch: readonly (readonly [string, Waiting])[]): Promise<void> {
    const atMs = now()
    const rows = batch.map(([key, { by, most, wasRefused, expiresAtMs }]) => {
      const reachedAtMs = wasRefused || (most !== null && by >= most) ? atMs : null
      return { key, sum: by, most, expiresAtMs, reachedAtMs }
    })
    const { sum, most, reachedAtMs } = usageSums
    await store.db
      .insert(usageSums)
      .values(rows)
      .onConflictDoUpdate({
        target: usageSums.key,
        set: {
          sum: sql`${sum} + excluded.sum`,
          most: sql`coalesce(excluded.most, ${most})`,
          reachedAtMs: sql`coalesce(${reachedAtMs}, excluded.reached_at_ms, case when ${sum} + excluded.sum >= excluded.most then ${sql.raw(String(atMs))} end)`,
        },
      })
  }

  async function write(): Promise<void> {
    const batch = [...waiting].filter(([key]) => !isForgotten(key))
    waiting = new Map()
    while (batch.length > 0) {
      const some = batch.slice(0, KEYS_AT_ONCE)
      try {
        await insert(some)
      } catch (error) {
        for (const [key, added] of batch) wait(key, added)
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

  function wait(key: string, added: Waiting): void {
    const before = waiting.get(key)
    waiting.set(key, {
      ...added,
      by: added.by + (before?.by ?? 0),
      wasRefused: added.wasRefused || (before?.wasRefused ?? false),
    })
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
    add(key, by, periodEndsAtMs, most = null) {
      wait(key, { by, most, wasRefused: false, expiresAtMs: periodEndsAtMs + KEPT_MS })
    },
    refused(key, periodEndsAtMs, most) {
      wait(key, { by: 0, most, wasRefused: true, expiresAtMs: periodEndsAtMs + KEPT_MS })
    },
    flush,
    async close() {
      clearInterval(timer)
      await flush().catch((error: unknown) => log.error({ error }, 'what was used up could not be written'))
    },
  }
}
