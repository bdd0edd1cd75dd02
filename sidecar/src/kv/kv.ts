/** Short-lived shared values: counters, sessions, claims on limits, and words to other replicas. One file per engine; `tests/contract/kv.ts` holds them to this. */

/** At most `most` claims in any `windowMs`: each is remembered until it has left the window. */
export interface WindowRule {
  kind: 'window'
  key: string
  most: number
  windowMs: number
}

/** At most `most` claims at the same time; one that is neither released nor renewed ends after `ttlMs`. */
export interface LeaseRule {
  kind: 'lease'
  key: string
  most: number
  ttlMs: number
}

/**
 * A sum that may not pass `most`. The claim reserves `amount`; settling it adds what was used instead. A reservation that is
 * neither settled nor renewed ends after `heldMs`, so that a process which dies takes nothing with it.
 */
export interface SumRule {
  kind: 'sum'
  key: string
  most: number
  amount: number
  /** Of the sum. */
  ttlMs: number
  heldMs: number
}

export type Rule = WindowRule | LeaseRule | SumRule

/** Where a claim stands with one rule. */
export interface Standing {
  /** What could still be claimed, this claim counted. */
  left: number
  /** Until the oldest claim leaves the window; 0 for other rules and for an empty window. */
  waitMs: number
}

export type Verdict =
  | { outcome: 'granted'; standings: Standing[] }
  /** `rule`: index of the first rule that is broken. Nothing was written. */
  | { outcome: 'refused'; rule: number; standings: Standing[] }
  /** Sums that nobody has begun: `begin` them and claim again. Nothing was written. */
  | { outcome: 'unknown'; keys: string[] }

export interface Settlement {
  /** Keys of leases to end. */
  leases: readonly string[]
  /** What was used of sums, and the `amount` that was reserved for it. A sum that is not kept any more stays so. */
  sums: readonly { key: string; used: number; held: number }[]
}

/** A lease that goes on, or a reservation of a sum where `held` is its amount. */
export interface GoingOn {
  id: string
  key: string
  ttlMs: number
  held?: number
}

export interface Kv {
  /** Whether other processes see the same values. */
  readonly isShared: boolean
  /** Undefined when nothing is kept, or not any more. */
  get(key: string): Promise<string | undefined>
  /** Kept for `ttlMs`, or less when memory is short. */
  set(key: string, value: string, ttlMs: number): Promise<void>
  /** As `set`, but only where something is kept: what somebody else deleted meanwhile stays deleted. */
  replace(key: string, value: string, ttlMs: number): Promise<void>
  /** Adds one and answers the new count; the first count starts the life of `ttlMs`, later ones do not lengthen it. */
  increment(key: string, ttlMs: number): Promise<number>
  /** A value or a sum; what is reserved of a sum stays so. */
  delete(key: string): Promise<void>
  /**
   * Deletes every value in whose key or text one of these names stands, of whatever kind. They have to be names that nothing
   * else can hold (pseudonyms). Looks at everything that is kept: for what is asked for rarely.
   */
  forget(names: readonly string[]): Promise<void>

  /**
   * All rules at once, or nothing: exact over all who share the store, by its clock and not theirs. `id` names the claim in
   * its leases and reservations.
   */
  claim(id: string, rules: readonly Rule[]): Promise<Verdict>
  /** Begins a sum, unless it was begun already. */
  begin(key: string, sum: number, ttlMs: number): Promise<void>
  settle(id: string, settlement: Settlement): Promise<void>
  /** `ttlMs` begins anew, also where it had ended. */
  renew(goingOn: readonly GoingOn[]): Promise<void>

  /** To every subscriber, in all replicas; who is not connected at this moment misses it. */
  publish(channel: string, text: string): Promise<void>
  /** Answers the way to leave. */
  subscribe(channel: string, listener: (text: string) => void): () => void

  /** Throws AppError `unavailable` when the store does not answer. */
  ping(): Promise<void>
  close(): Promise<void>
}
