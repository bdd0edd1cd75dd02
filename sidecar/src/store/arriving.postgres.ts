/** Tables of a PostgreSQL that may be away at the start: they are brought up to date when it comes. */
import { setTimeout as sleep } from 'node:timers/promises'

import { isAway, type Pool } from './pool.postgres.ts'

type Held = Pick<Pool, 'isHeld'>

/** A server that is silent, or tables that take their time, hold up a start for so long. */
const PATIENCE_MS = 5_000

const AGAIN_MS = 1_000

/**
 * Resolves when the tables are up to date, or when the server is away: then the pool is held until they are. Rejects with what
 * `migrate` threw when the server is there and refuses.
 */
export async function arrive(pool: Held, migrate: () => Promise<void>, closing: AbortSignal): Promise<void> {
  pool.isHeld = true
  const first = migrate()
  const isThere = first.then(
    () => true,
    (cause: unknown) => {
      if (isAway(cause)) return false
      throw cause
    },
  )
  const isLate = sleep(PATIENCE_MS, false, { ref: false })
  if (await Promise.race([isThere, isLate])) pool.isHeld = false
  else void keepTrying(pool, first, migrate, closing)
}

/** Never rejects. Whatever refuses us from now on may be mended by who reads of it at /readyz. */
async function keepTrying(
  pool: Held,
  first: Promise<void>,
  migrate: () => Promise<void>,
  closing: AbortSignal,
): Promise<void> {
  for (let attempt = first; ; attempt = migrate()) {
    try {
      await attempt
      pool.isHeld = false
      return
    } catch {
      await sleep(AGAIN_MS, undefined, { signal: closing, ref: false }).catch(() => undefined)
      if (closing.aborted) return
    }
  }
}
