/**
 * What other processes change in the library. Everybody keeps summaries and lorebooks in memory; the audit, written in the
 * same transaction as each change, tells which of them to read again.
 */
import { gt } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import { idsSince } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Store } from '#store/store.ts'

import { LOREBOOK_TARGET } from './audit.ts'

const EVERY_MS = 1_000

/** Clocks of the machines may differ by so much, and a transaction may take so long to commit. */
const OVERLAP_MS = 10_000

export interface FollowingParts {
  store: Store
  /** Reads a character again. */
  refreshCharacter: (id: string) => Promise<unknown>
  /** Reads a lorebook again. */
  refreshLorebook: (id: string) => Promise<unknown>
  log: Log
  now: () => number
}

/** Looks every second until it is stopped. Does not keep the process alive. */
export function followChanges(on: FollowingParts): { stop(): Promise<void> } {
  const { auditEvents } = on.store.t
  let sinceMs = on.now() - OVERLAP_MS
  let seen = new Set<string>()

  async function look(): Promise<void> {
    const atMs = on.now()
    const events = await on.store.db
      .select({ id: auditEvents.id, target: auditEvents.target })
      .from(auditEvents)
      .where(gt(auditEvents.id, idsSince(sinceMs)))
    const fresh = events.filter(({ id }) => !seen.has(id))
    for (const target of new Set(fresh.map(({ target }) => target)))
      if (target.startsWith(LOREBOOK_TARGET)) await on.refreshLorebook(target.slice(LOREBOOK_TARGET.length))
      else await on.refreshCharacter(target)
    seen = new Set(events.map(({ id }) => id))
    sinceMs = atMs - OVERLAP_MS
  }

  let looking: Promise<void> = Promise.resolve()
  let isLooking = false
  const timer = setInterval(() => {
    if (isLooking) return
    isLooking = true
    looking = look()
      .catch((thrown: unknown) => {
        on.log.warn({ errorCode: toAppError(thrown).code }, 'changes of other processes could not be read')
      })
      .finally(() => (isLooking = false))
  }, EVERY_MS).unref()
  return {
    async stop() {
      clearInterval(timer)
      await looking
    },
  }
}
