/** Work that only one of several processes may do at a time. */
import { setTimeout as sleep } from 'node:timers/promises'

import { createId } from '#base/ids.ts'

import type { Kv } from './kv.ts'

/** A process that died leaves its lease for so long. */
const TTL_MS = 30_000
const RENEW_MS = 10_000

/** Until a lease that another process holds is asked for again. */
const AGAIN_MS = 250

export interface Lease {
  /** Aborts when the lease could not be renewed: another process may hold it soon. */
  signal: AbortSignal
  /** Never rejects: a lease that cannot be given back ends by itself. */
  end(): Promise<void>
}

/** Undefined when another process holds it. Throws AppError `unavailable` when the kv does not answer. */
export async function takeLease(kv: Kv, name: string): Promise<Lease | undefined> {
  const key = `lease:${name}`
  const id = createId(Date.now())
  const { outcome } = await kv.claim(id, [{ kind: 'lease', key, most: 1, ttlMs: TTL_MS }])
  if (outcome !== 'granted') return undefined
  const lost = new AbortController()
  const renewing = setInterval(() => {
    kv.renew([{ id, key, ttlMs: TTL_MS }]).catch(() => lost.abort())
  }, RENEW_MS).unref()
  return {
    signal: lost.signal,
    async end() {
      clearInterval(renewing)
      await kv.settle(id, { leases: [key], sums: [] }).catch(() => undefined)
    },
  }
}

/** Waits for the lease, and works under it. Throws as `takeLease` and as the work does. */
export async function withLease<T>(kv: Kv, name: string, work: () => Promise<T>): Promise<T> {
  for (;;) {
    const lease = await takeLease(kv, name)
    if (lease !== undefined) return work().finally(() => lease.end())
    await sleep(AGAIN_MS)
  }
}
