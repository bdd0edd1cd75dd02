/** Values in this process only: enough for one replica. */
import { EventEmitter } from 'node:events'

import type { Kv, Rule, Standing, Verdict } from './kv.ts'

interface Kept {
  value: string
  untilMs: number
}

/** A lease counts as one. */
interface Held {
  amount: number
  untilMs: number
}

/** Who holds something under a key: many, where a whole house chats by one key. */
interface Holders {
  by: Map<string, Held>
  /** Of all of them; whole numbers, so that nothing is left when all have gone. */
  amount: number
  /** None of them ends by itself before. */
  firstEndsAtMs: number
}

/** Times of claims, oldest first; those before `from` have left the window. */
interface Log {
  times: number[]
  from: number
}

/** A flood of keys (addresses, tokens) must not eat the memory; the oldest go first. */
const MOST_KEYS = 100_000

/** So many times that have left are kept before they are cut off, so that a claim costs the same at any limit. */
const SLACK = 1_000

export function openMemoryKv({ now, mostKeys = MOST_KEYS }: { now: () => number; mostKeys?: number }): Kv {
  const kept = new Map<string, Kept>()
  const logs = new Map<string, Log>()
  /** What runs: leases, and what is reserved of sums; by key and by who holds it. */
  const held = new Map<string, Holders>()
  const words = new EventEmitter().setMaxListeners(0)

  function find(key: string): Kept | undefined {
    const found = kept.get(key)
    if (found === undefined || found.untilMs > now()) return found
    kept.delete(key)
    return undefined
  }

  function keep<T>(map: Map<string, T>, key: string, entry: T): void {
    map.delete(key)
    map.set(key, entry)
    for (const oldest of map.keys()) {
      if (map.size <= mostKeys) break
      map.delete(oldest)
    }
  }

  function standing(rule: Rule): Standing | undefined {
    if (rule.kind === 'sum') {
      const sum = find(rule.key)
      return sum && { left: rule.most - Number(sum.value) - heldOf(rule.key), waitMs: 0 }
    }
    if (rule.kind === 'lease') return { left: rule.most - heldOf(rule.key), waitMs: 0 }
    const log = logs.get(rule.key)
    if (log === undefined) return { left: rule.most, waitMs: 0 }
    const leftAtMs = now() - rule.windowMs
    while ((log.times[log.from] ?? Infinity) <= leftAtMs) log.from++
    if (log.from > SLACK) log.from = (log.times.splice(0, log.from), 0)
    const oldest = log.times[log.from]
    return {
      left: rule.most - (log.times.length - log.from),
      waitMs: oldest === undefined ? 0 : oldest + rule.windowMs - now(),
    }
  }

  function heldOf(key: string): number {
    const holders = held.get(key)
    if (holders === undefined) return 0
    const nowMs = now()
    if (holders.firstEndsAtMs > nowMs) return holders.amount
    holders.firstEndsAtMs = Infinity
    for (const [id, { untilMs }] of holders.by)
      if (untilMs <= nowMs) release(key, id)
      else holders.firstEndsAtMs = Math.min(holders.firstEndsAtMs, untilMs)
    return holders.amount
  }

  function hold(key: string, id: string, ttlMs: number, amount = 1): void {
    const holders = held.get(key) ?? { by: new Map<string, Held>(), amount: 0, firstEndsAtMs: Infinity }
    const untilMs = now() + ttlMs
    holders.amount += amount - (holders.by.get(id)?.amount ?? 0)
    holders.firstEndsAtMs = Math.min(holders.firstEndsAtMs, untilMs)
    holders.by.set(id, { amount, untilMs })
    keep(held, key, holders)
  }

  function release(key: string, id: string): void {
    const holders = held.get(key)
    const released = holders?.by.get(id)
    if (holders === undefined || released === undefined) return
    holders.by.delete(id)
    holders.amount -= released.amount
    if (holders.by.size === 0) held.delete(key)
  }

  function add(key: string, by: number): void {
    const sum = find(key)
    if (sum !== undefined) sum.value = String(Number(sum.value) + by)
  }

  function write(id: string, rule: Rule): void {
    if (rule.kind === 'sum') hold(rule.key, id, rule.heldMs, rule.amount)
    else if (rule.kind === 'lease') hold(rule.key, id, rule.ttlMs)
    else {
      const log = logs.get(rule.key) ?? { times: [], from: 0 }
      log.times.push(now())
      keep(logs, rule.key, log)
    }
  }

  function claim(id: string, rules: readonly Rule[]): Verdict {
    const standings: Standing[] = []
    const keys: string[] = []
    for (const rule of rules) {
      const found = standing(rule)
      if (found === undefined) keys.push(rule.key)
      else standings.push(found)
    }
    if (keys.length > 0) return { outcome: 'unknown', keys }
    const refusing = rules.findIndex((rule, at) => (standings[at]?.left ?? 0) < needed(rule))
    if (refusing >= 0) return { outcome: 'refused', rule: refusing, standings }
    for (const rule of rules) write(id, rule)
    return {
      outcome: 'granted',
      standings: standings.map(({ left, waitMs }, at) => ({ left: left - taken(rules[at]), waitMs })),
    }
  }

  return {
    isShared: false,
    get: (key) => Promise.resolve(find(key)?.value),
    set(key, value, ttlMs) {
      keep(kept, key, { value, untilMs: now() + ttlMs })
      return Promise.resolve()
    },
    replace(key, value, ttlMs) {
      if (find(key) !== undefined) keep(kept, key, { value, untilMs: now() + ttlMs })
      return Promise.resolve()
    },
    increment(key, ttlMs) {
      const found = find(key)
      const count = Number(found?.value ?? 0) + 1
      keep(kept, key, { value: String(count), untilMs: found?.untilMs ?? now() + ttlMs })
      return Promise.resolve(count)
    },
    delete(key) {
      kept.delete(key)
      return Promise.resolve()
    },
    forget(names) {
      const holds = (text: string) => names.some((name) => text.includes(name))
      for (const [key, { value }] of kept) if (holds(key) || holds(value)) kept.delete(key)
      for (const map of [logs, held]) for (const key of map.keys()) if (holds(key)) map.delete(key)
      return Promise.resolve()
    },
    claim: (id, rules) => Promise.resolve(claim(id, rules)),
    begin(key, sum, ttlMs) {
      if (find(key) === undefined) keep(kept, key, { value: String(sum), untilMs: now() + ttlMs })
      return Promise.resolve()
    },
    settle(id, { leases, sums }) {
      for (const key of [...leases, ...sums.map((sum) => sum.key)]) release(key, id)
      for (const { key, used } of sums) add(key, used)
      return Promise.resolve()
    },
    renew(goingOn) {
      for (const { id, key, ttlMs, held: amount } of goingOn) hold(key, id, ttlMs, amount)
      return Promise.resolve()
    },
    publish(channel, text) {
      words.emit(channel, text)
      return Promise.resolve()
    },
    subscribe(channel, listener) {
      words.on(channel, listener)
      return () => words.off(channel, listener)
    },
    ping: () => Promise.resolve(),
    close() {
      kept.clear()
      logs.clear()
      held.clear()
      words.removeAllListeners()
      return Promise.resolve()
    },
  }
}

/** A sum that has nothing left refuses also who claims nothing yet: what an answer costs is known at its end. */
const needed = (rule: Rule): number => (rule.kind === 'sum' ? Math.max(1, rule.amount) : 1)

const taken = (rule: Rule | undefined): number => (rule?.kind === 'sum' ? rule.amount : 1)
