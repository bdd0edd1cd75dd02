/** What is owed once a day, by one of all processes, however often they are started anew. */
import { eq } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { Kv } from '#kv/kv.ts'
import { takeLease } from '#kv/lease.ts'
import type { Store } from '#store/store.ts'

/** The first look comes so long after the start, when what is needed for the work is likely to be there. */
const LOOK_EVERY_MS = 5 * 60_000
const DAY_MS = 86_400_000
/** After the work failed. */
const AGAIN_MS = 3_600_000

export interface DailyParts {
  /** Of the work, in the lease and in the table. */
  name: string
  work: () => Promise<unknown>
  store: Store
  kv: Kv
  log: Log
  now: () => number
}

export interface Daily {
  /** Waits for work that has begun. */
  stop(): Promise<void>
}

export function onceADay({ name, work, store, kv, log, now }: DailyParts): Daily {
  const { chores } = store.t
  let notBeforeMs = -Infinity
  let running: Promise<void> | undefined

  async function isDue(): Promise<boolean> {
    const [last] = await store.db.select().from(chores).where(eq(chores.name, name))
    return last === undefined || now() - last.doneAtMs >= DAY_MS
  }

  async function look(): Promise<void> {
    if (now() < notBeforeMs || !(await isDue())) return
    const lease = await takeLease(kv, name)
    if (lease === undefined) return
    try {
      // Another process may have ended it just before.
      if (!(await isDue())) return
      await work()
      const done = { name, doneAtMs: now() }
      await store.db.insert(chores).values(done).onConflictDoUpdate({ target: chores.name, set: done })
    } finally {
      await lease.end()
    }
  }

  const timer = setInterval(() => {
    running ??= look()
      .catch((thrown: unknown) => {
        notBeforeMs = now() + AGAIN_MS
        log.warn(
          { errorCode: toAppError(thrown).code, work: name },
          'daily work failed; tried again in an hour',
        )
      })
      .finally(() => {
        running = undefined
      })
  }, LOOK_EVERY_MS).unref()

  return {
    async stop() {
      clearInterval(timer)
      await running
    },
  }
}
