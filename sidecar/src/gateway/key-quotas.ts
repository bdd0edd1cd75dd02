/** What keys may use up in a day or a month, and how much of it is used: for their owners. */
import { MICRO } from '#base/prices.ts'
import type { KeyLimits } from '#store/access-tables.ts'

import type { Scope } from './keys.ts'
import { rulesFor, UNLIMITED, withKeyLimits, type HouseLimits, type RuleName } from './quotas.ts'
import type { Usage } from './usage.ts'

export interface Quota {
  of: RuleName
  per: 'day' | 'month'
  /** Turns, tokens, or money in the currency of the prices. */
  limit: number
  /** Of answers that have ended; what other replicas counted in the last five seconds may be missing. */
  used: number
  resetsAtMs: number
}

interface Holder {
  id: string
  scopes: readonly Scope[]
  limits?: KeyLimits | null
}

/** Quotas of each key, by its id; none where nothing is limited. */
export type QuotasOf = (holders: readonly Holder[]) => Promise<Map<string, Quota[]>>

export interface KeyQuotaParts {
  house: HouseLimits
  usage: Pick<Usage, 'read'>
  now: () => number
}

export function createQuotasOf({ house, usage, now }: KeyQuotaParts): QuotasOf {
  const sumsOf = ({ id, scopes, limits }: Holder) => {
    // A key that speaks for people has what it was given; the people have quotas of their own.
    const own = withKeyLimits(scopes.includes('forward-user') ? UNLIMITED : house, limits ?? undefined)
    return rulesFor(`key:${id}`, own, { kind: 'turn', tokens: 0, nowMs: now() }).flatMap(
      ({ name, rule, period }) => (period === undefined ? [] : [{ of: name, rule, period }]),
    )
  }
  return async (holders) => {
    const sums = holders.map((holder) => ({ id: holder.id, sums: sumsOf(holder) }))
    const keys = sums.flatMap((one) => one.sums.map(({ rule }) => rule.key))
    const used = keys.length === 0 ? new Map<string, number>() : await usage.read(keys)
    const quotaOf = ({ of, rule, period }: ReturnType<typeof sumsOf>[number]): Quota => {
      const unit = of === 'budget' ? MICRO : 1
      return {
        of,
        per: period.name,
        limit: rule.most / unit,
        used: (used.get(rule.key) ?? 0) / unit,
        resetsAtMs: period.endsAtMs,
      }
    }
    return new Map(sums.map((one) => [one.id, one.sums.map(quotaOf)]))
  }
}
