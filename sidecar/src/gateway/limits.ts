/**
 * How much somebody may ask. The shared store decides over all replicas at once, beside the work on the prompt; the answer is
 * awaited before a model is called. Without the store each replica grants its share by itself: never everything, never nothing.
 */
import { AppError, toAppError } from '#base/errors.ts'
import type { CostOf, PricedUsage } from '#base/prices.ts'
import type { GoingOn, Kv, Rule, Settlement, Standing, Verdict } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'
import type { KeyLimits } from '#store/access-tables.ts'

import {
  rulesFor,
  UNLIMITED,
  withKeyLimits,
  LEASE_MS,
  type CallKind,
  type HouseLimits,
  type NamedRule,
} from './quotas.ts'
import { refusal, retryAfterSeconds } from './refusals.ts'
import type { Usage } from './usage.ts'

export interface Wish {
  requestId: string
  kind: CallKind
  keyId: string
  /** Pseudonym of the person that the key speaks for; undefined when the key speaks for itself. */
  person: string | undefined
  /** Work for all whom the key speaks for at once: what one person may ask does not hold for it, what the key may does. */
  isForHouse?: true
  keyLimits: KeyLimits | undefined
  /** Estimate of the whole call. */
  tokens: number
}

/** What is left of the first rate that holds: for headers. */
export interface Allowance {
  name: string
  most: number
  left: number
  windowSeconds: number
  resetSeconds: number
}

export interface Spent extends PricedUsage {
  model: string | null
  /** It failed before a word of the answer came. */
  isVain?: boolean
}

export interface Ticket {
  /** Resolves when the call may begin; undefined without a rate. Rejects with AppError `limited` or `quota`. */
  admitted: Promise<Allowance | undefined>
  /** What `admitted` was rejected with. */
  refusal(): AppError | undefined
  /** What a call used; several calls of one request add up. */
  spend(spent: Spent): void
  /** Frees the place and settles the sums. Has to be called once; never throws, and waits for nothing. */
  end(): void
}

export interface Limits {
  /** Begins to ask at once. */
  admit(wish: Wish): Ticket
  /** Whether replicas decide for themselves, because the shared store does not answer. */
  readonly isDegraded: boolean
  close(): Promise<void>
}

export interface LimitsOptions {
  house: HouseLimits
  kv: Kv
  usage: Pick<Usage, 'read' | 'add' | 'refused' | 'flush'>
  costOf: CostOf
  replicas: number
  now: () => number
  onRefused?: (rule: string) => void
}

const RENEW_MS = 10_000

export function createLimits({ house, kv, usage, costOf, replicas, now, onRefused }: LimitsOptions): Limits {
  /** Mirrors what this replica was granted, so that its share counts it when the shared store goes away. */
  const own = openMemoryKv({ now })
  /** Of sums: what was used up already when the share was begun. */
  const begun = new Map<string, number>()
  /** Until when a full window is known to be full: a flood is turned away here. */
  const full = new Map<string, number>()
  const running = new Map<string, GoingOn[]>()
  /** Sums of the shared store that lack what was used, or may have it: to be begun anew from the database. */
  const doubtful = new Set<string>()
  let isDegraded = false

  const rulesOf = ({ kind, keyId, person, isForHouse, keyLimits, tokens }: Wish): NamedRule[] => {
    const demand = { kind, tokens, nowMs: now() }
    const ofKey = (beside: HouseLimits) => rulesFor(`key:${keyId}`, withKeyLimits(beside, keyLimits), demand)
    if (person !== undefined) return [...rulesFor(`person:${person}`, house, demand), ...ofKey(UNLIMITED)]
    return ofKey(isForHouse === true ? UNLIMITED : house)
  }

  async function claimFrom(store: Kv, id: string, rules: () => readonly Rule[]): Promise<Verdict> {
    const verdict = await store.claim(id, rules())
    if (verdict.outcome !== 'unknown') return verdict
    const sums = await usage.read(verdict.keys)
    for (const rule of rules())
      if (rule.kind === 'sum' && verdict.keys.includes(rule.key)) {
        const sum = sums.get(rule.key) ?? 0
        if (store === own) begun.set(rule.key, sum)
        await store.begin(rule.key, sum, rule.ttlMs)
      }
    return store.claim(id, rules())
  }

  /** By the shared store, or by this replica's share. */
  async function claim(id: string, rules: readonly Rule[]): Promise<Verdict> {
    try {
      const verdict = await claimFrom(kv, id, () => rules)
      if (isDegraded) await endShare()
      if (verdict.outcome === 'granted' && kv.isShared) await own.claim(id, mirrored(rules))
      return verdict
    } catch (thrown) {
      if (toAppError(thrown).code !== 'unavailable') throw thrown
      isDegraded = true
      return claimFrom(own, id, () => rules.map(share))
    }
  }

  /** What was used up meanwhile is in the database. */
  async function endShare(): Promise<void> {
    isDegraded = false
    for (const key of begun.keys()) await own.delete(key)
    begun.clear()
  }

  const share = (rule: Rule): Rule => {
    if (rule.kind !== 'sum') return { ...rule, most: Math.ceil(rule.most / replicas) }
    const used = begun.get(rule.key) ?? 0
    return { ...rule, most: used + Math.ceil(Math.max(0, rule.most - used) / replicas) }
  }

  async function decide(wish: Wish, named: readonly NamedRule[]): Promise<Granted> {
    const rules = named.map(({ rule }) => rule)
    const nowMs = now()
    for (const entry of named) {
      const untilMs = full.get(entry.rule.key)
      if (untilMs === undefined) continue
      if (untilMs > nowMs) throw refuse(entry, untilMs - nowMs)
      full.delete(entry.rule.key)
    }
    const verdict = await claim(wish.requestId, rules)
    if (verdict.outcome === 'unknown')
      throw new AppError('unavailable', 'What was used up cannot be read; try again')
    if (verdict.outcome === 'refused') {
      const entry = named[verdict.rule]
      if (entry === undefined) throw new AppError('unavailable', 'The limits could not be read; try again')
      const waitMs = verdict.standings[verdict.rule]?.waitMs ?? 0
      if (entry.rule.kind === 'window') full.set(entry.rule.key, nowMs + waitMs)
      throw refuse(entry, waitMs)
    }
    const goingOn = rules.flatMap((rule) => goingOnOf(wish.requestId, rule))
    if (goingOn.length > 0) running.set(wish.requestId, goingOn)
    return { allowance: allowanceOf(named, verdict.standings) }
  }

  function refuse(entry: NamedRule, waitMs: number): AppError {
    onRefused?.(entry.name)
    if (entry.period !== undefined) usage.refused(entry.rule.key, entry.period.endsAtMs, entry.rule.most)
    return refusal(entry, waitMs, now())
  }

  const renewal = setInterval(() => {
    for (const [key, untilMs] of full) if (untilMs <= now()) full.delete(key)
    beginAnew().catch(() => undefined)
    // Where nobody asks for anything, nothing else would tell that it is back; one that is not is asked again.
    if (isDegraded) kv.ping().then(endShare, () => undefined)
    const goingOn = [...running.values()].flat()
    if (goingOn.length === 0) return
    void own.renew(goingOn)
    // What cannot be renewed now is renewed again in ten seconds, before it ends.
    kv.renew(goingOn).catch(() => undefined)
  }, RENEW_MS).unref()

  /** Rejects when the store is still away; then it is tried again. */
  async function beginAnew(): Promise<void> {
    const keys = [...doubtful]
    if (keys.length === 0) return
    doubtful.clear()
    try {
      await usage.flush()
      for (const key of keys) await kv.delete(key)
    } catch (error) {
      for (const key of keys) doubtful.add(key)
      throw error
    }
  }

  function settle({ requestId }: Wish, named: readonly NamedRule[], spent: readonly Spent[]): void {
    running.delete(requestId)
    const sums: Settlement['sums'][number][] = []
    for (const { name, rule, period } of named) {
      if (rule.kind !== 'sum' || period === undefined) continue
      const used = usedOf(name, rule.amount, spent, costOf)
      usage.add(rule.key, used, period.endsAtMs, rule.most)
      sums.push({ key: rule.key, used, held: rule.amount })
    }
    const leases = named.flatMap(({ rule }) => (rule.kind === 'lease' ? [rule.key] : []))
    if (leases.length + sums.length === 0) return
    const settlement = { leases, sums }
    if (kv.isShared) void own.settle(requestId, settlement)
    // What runs ends by itself.
    kv.settle(requestId, settlement).catch(() => sums.forEach(({ key }) => doubtful.add(key)))
  }

  return {
    admit(wish) {
      const named = rulesOf(wish)
      const spent: Spent[] = []
      let refused: AppError | undefined
      const deciding = named.length === 0 ? Promise.resolve(NO_RULE) : decide(wish, named)
      const settled = deciding.then(
        (granted) => granted,
        (thrown: unknown) => {
          refused = toAppError(thrown)
          return undefined
        },
      )
      return {
        admitted: deciding.then(({ allowance }) => allowance),
        refusal: () => refused,
        spend(one) {
          spent.push(one)
        },
        end() {
          void settled.then((granted) => {
            if (granted !== undefined) settle(wish, named, spent)
          })
        },
      }
    },
    get isDegraded() {
      return isDegraded
    },
    async close() {
      clearInterval(renewal)
      await beginAnew().catch(() => undefined)
      await own.close()
    },
  }
}

interface Granted {
  allowance: Allowance | undefined
}
const NO_RULE: Granted = { allowance: undefined }

/** What has to be renewed while the call runs. */
function goingOnOf(id: string, rule: Rule): GoingOn[] {
  if (rule.kind === 'lease') return [{ id, key: rule.key, ttlMs: LEASE_MS }]
  if (rule.kind === 'sum' && rule.amount > 0)
    return [{ id, key: rule.key, ttlMs: rule.heldMs, held: rule.amount }]
  return []
}

const mirrored = (rules: readonly Rule[]): Rule[] =>
  rules.filter(({ kind }) => kind !== 'sum').map((rule) => ({ ...rule, most: Infinity }))

/** A turn counts as one whatever it cost, unless nothing came of it; a call that told no figures cost nothing. */
function usedOf(name: string, reserved: number, spent: readonly Spent[], costOf: CostOf): number {
  if (name === 'turns') return spent.length > 0 && spent.every(({ isVain }) => isVain) ? 0 : reserved
  const of = name === 'budget' ? (one: Spent) => costOf(one.model, one) ?? 0 : tokensOf
  return spent.reduce((sum, one) => sum + of(one), 0)
}

const tokensOf = ({ promptTokens, completionTokens }: Spent): number =>
  (promptTokens ?? 0) + (completionTokens ?? 0)

function allowanceOf(named: readonly NamedRule[], standings: readonly Standing[]): Allowance | undefined {
  const at = named.findIndex(({ rule }) => rule.kind === 'window')
  const [entry, standing] = [named[at], standings[at]]
  if (entry?.rule.kind !== 'window' || standing === undefined) return undefined
  return {
    name: entry.name,
    most: entry.rule.most,
    left: Math.max(0, standing.left),
    windowSeconds: entry.rule.windowMs / 1_000,
    resetSeconds: retryAfterSeconds(standing.waitMs || entry.rule.windowMs),
  }
}
