/** Which rules hold for whom: a window of turns, a number at the same time, and sums of a day or a month. Pure. */
import { MICRO } from '#base/prices.ts'
import type { Rule } from '#kv/kv.ts'
import type { KeyLimits } from '#store/access-tables.ts'

import { dayOf, monthOf, type Period } from './periods.ts'

/** At most `most` in any `windowMs`. */
export interface Rate {
  most: number
  windowMs: number
}

/** What holds for everybody; undefined is without a limit. */
export interface HouseLimits {
  turns: Rate | undefined
  /** Titles, tags and the like: up to four for each turn, and not the person's doing. */
  tasks: Rate | undefined
  parallelTurns: number | undefined
  turnsPerDay: number | undefined
  turnsPerMonth: number | undefined
  tokensPerDay: number | undefined
  tokensPerMonth: number | undefined
  /** In the currency of the prices. */
  budgetPerMonth: number | undefined
}

export type CallKind = 'turn' | 'task' | 'embedding'

/** What a rule is about, for sentences and headers. */
export type RuleName = 'chat' | 'tasks' | 'parallel' | 'turns' | 'tokens' | 'budget'

export interface NamedRule {
  name: RuleName
  /** Of a sum. */
  period?: Period
  rule: Rule
}

/** A process that dies takes no place, and nothing of a sum, longer than this; one that lives renews it. */
export const LEASE_MS = 30_000

const MINUTE_MS = 60_000

/** So that a sum outlives its period on clocks that differ. */
const SUM_SPARE_MS = 3_600_000

export interface Demand {
  kind: CallKind
  /** Estimated; settled when the answer has ended. */
  tokens: number
  nowMs: number
}

/** Of somebody without a name the key is the person: its own limits replace those of the house. */
export function withKeyLimits(house: HouseLimits, limits: KeyLimits | undefined): HouseLimits {
  if (limits === undefined) return house
  const { turnsPerMinute, ...own } = limits
  const turns = turnsPerMinute === undefined ? house.turns : { most: turnsPerMinute, windowMs: MINUTE_MS }
  return Object.assign({}, house, own, { turns })
}

/** For a person that a key speaks for, the key's limits hold beside the person's. */
export const UNLIMITED: HouseLimits = {
  turns: undefined,
  tasks: undefined,
  parallelTurns: undefined,
  turnsPerDay: undefined,
  turnsPerMonth: undefined,
  tokensPerDay: undefined,
  tokensPerMonth: undefined,
  budgetPerMonth: undefined,
}

/** `who` is a pseudonym or a key's id. */
export function rulesFor(who: string, limits: HouseLimits, { kind, tokens, nowMs }: Demand): NamedRule[] {
  const rules: NamedRule[] = []
  const window = (name: 'chat' | 'tasks', rate: Rate | undefined) => {
    if (rate !== undefined)
      rules.push({ name, rule: { kind: 'window', key: `rate:${who}:${name}`, ...rate } })
  }
  const sum = (
    name: RuleName,
    most: number | undefined,
    periodOf: (atMs: number) => Period,
    amount: number,
  ) => {
    if (most === undefined) return
    const period = periodOf(nowMs)
    const ttlMs = period.endsAtMs - nowMs + SUM_SPARE_MS
    const key = `used:${who}:${name}:${period.id}`
    rules.push({ name, period, rule: { kind: 'sum', key, most, amount, ttlMs, heldMs: LEASE_MS } })
  }
  if (kind === 'turn') {
    window('chat', limits.turns)
    if (limits.parallelTurns !== undefined) {
      const rule = {
        kind: 'lease' as const,
        key: `running:${who}`,
        most: limits.parallelTurns,
        ttlMs: LEASE_MS,
      }
      rules.push({ name: 'parallel', rule })
    }
    sum('turns', limits.turnsPerDay, dayOf, 1)
    sum('turns', limits.turnsPerMonth, monthOf, 1)
  } else if (kind === 'task') window('tasks', limits.tasks)
  sum('tokens', limits.tokensPerDay, dayOf, tokens)
  sum('tokens', limits.tokensPerMonth, monthOf, tokens)
  const budget = limits.budgetPerMonth === undefined ? undefined : limits.budgetPerMonth * MICRO
  sum('budget', budget, monthOf, 0)
  return rules
}
