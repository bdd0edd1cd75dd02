/** Slows down whoever tries keys: counted by address, never by key id, since that would let anybody lock a key. */
import { AppError } from '#base/errors.ts'
import type { Kv } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'

const MOST_FAILURES = 20
const WINDOW_MS = 60_000

export interface Guesses {
  /** Throws AppError `limited` for an address with too many failures in the last minute. */
  refuse(address: string): Promise<void>
  failed(address: string): Promise<void>
}

/** `nameOf` is what an address is called in the store, which keeps none. */
export function createGuesses({
  kv,
  nameOf,
  now,
}: {
  kv: Kv
  nameOf: (address: string) => string
  now: () => number
}): Guesses {
  /** Counts here while the shared store does not answer. */
  const own = openMemoryKv({ now })
  const onEither = <T>(ask: (store: Kv) => Promise<T>) => ask(kv).catch(() => ask(own))
  const key = (address: string) => `failed-keys:${nameOf(address)}`
  return {
    async refuse(address) {
      if (Number((await onEither((store) => store.get(key(address)))) ?? 0) < MOST_FAILURES) return
      const retryAfterSeconds = WINDOW_MS / 1_000
      throw new AppError('limited', `Too many wrong keys; try again in ${String(retryAfterSeconds)} s`, {
        facts: { retryAfterSeconds },
      })
    },
    async failed(address) {
      await onEither((store) => store.increment(key(address), WINDOW_MS))
    },
  }
}
