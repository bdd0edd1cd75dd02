/** Short-lived shared values: counters, sessions, leases. One file per engine; `tests/contract/kv.ts` holds them to this. */
export interface Kv {
  /** Undefined when nothing is kept, or not any more. */
  get(key: string): Promise<string | undefined>
  /** Kept for `ttlMs`, or less when memory is short. */
  set(key: string, value: string, ttlMs: number): Promise<void>
  /** Adds one and answers the new count; the first count starts the life of `ttlMs`, later ones do not lengthen it. */
  increment(key: string, ttlMs: number): Promise<number>
  delete(key: string): Promise<void>
  close(): Promise<void>
}
