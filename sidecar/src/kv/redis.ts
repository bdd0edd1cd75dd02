/**
 * Values that all replicas share, in a Redis 7 or newer. A Redis that is gone or hangs costs a call 100 ms at most, and after
 * three failures nothing for five seconds, or until it is back: whoever asks has to have another way.
 */
import { createHash } from 'node:crypto'

import { Redis } from 'ioredis'

import { AppError } from '#base/errors.ts'

import type { GoingOn, Kv, Rule, Settlement, Standing, Verdict } from './kv.ts'
import { CLAIM, INCREMENT, RENEW, SETTLE } from './scripts.ts'

const COMMAND_TIMEOUT_MS = 100
const CONNECT_TIMEOUT_MS = 1_000

/** How long the start waits for the first connection; without it the program goes on and keeps trying. */
const START_MS = 1_000

const RECONNECT_MS = 1_000

const MOST_FAILURES = 3
const PAUSE_MS = 5_000

const KEYS_AT_ONCE = 500

/** What a server says that is there and will not serve us. */
const REFUSED = /^(WRONGPASS|NOAUTH|NOPERM|ERR DB index)/

/** One Redis may serve other programs. */
const PREFIX = 'troupe:'

export interface RedisKvOptions {
  /** `redis://` or `rediss://`, with user and password where needed. */
  url: string
  /** Wall clock in milliseconds. */
  now: () => number
}

/** One that is away is waited for in the background. Throws AppError `invalid` when it is there and refuses. */
export async function openRedisKv({ url, now }: RedisKvOptions): Promise<Kv> {
  const options = {
    keyPrefix: PREFIX,
    connectTimeout: CONNECT_TIMEOUT_MS,
    maxRetriesPerRequest: 1,
    enableOfflineQueue: false,
    lazyConnect: true,
    retryStrategy: () => RECONNECT_MS,
  }
  const redis = new Redis(url, options)
  // Subscriptions wait for the connection, and no command is in a hurry there.
  const ears = new Redis(url, { ...options, enableOfflineQueue: true })
  for (const connection of [redis, ears]) connection.on('error', () => undefined)
  let refusal: Error | undefined
  redis.on('error', (error) => {
    if (REFUSED.test(error.message)) refusal ??= error
  })
  await Promise.race([Promise.all([connect(redis), connect(ears)]), sleep(START_MS)])
  if (refusal !== undefined) {
    redis.disconnect()
    ears.disconnect()
    throw new AppError(
      'invalid',
      'REDIS_URL: the Redis there refuses to serve us; check user, password and the number of the database in it',
      { cause: refusal },
    )
  }

  let failures = 0
  let pausedUntilMs = 0

  async function ask<T>(command: () => Promise<T>): Promise<T> {
    if (now() < pausedUntilMs) throw gone()
    const answering = command()
    try {
      const answer = await inTime(answering)
      failures = 0
      return answer
    } catch (cause) {
      failures += 1
      if (failures >= MOST_FAILURES) pausedUntilMs = now() + PAUSE_MS
      answering.then(lookAgain, () => undefined)
      throw gone(cause)
    }
  }

  /** An answer that came late, or a new connection, says that it may be back; whether it is quick again, one more question. */
  function lookAgain(): void {
    if (now() >= pausedUntilMs) return
    inTime(redis.ping()).then(
      () => {
        failures = 0
        pausedUntilMs = 0
      },
      () => undefined,
    )
  }
  redis.on('ready', lookAgain)

  async function tell(command: () => Promise<unknown>): Promise<void> {
    await ask(command)
  }

  /** A Redis that was restarted has forgotten the scripts. */
  async function run(script: string, keys: readonly string[], args: readonly (string | number)[]) {
    const all = [keys.length, ...keys, ...args.map(String)] as const
    try {
      return await redis.evalsha(shaOf(script), ...all)
    } catch (error) {
      if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
      return redis.eval(script, ...all)
    }
  }

  async function settle(id: string, { leases, sums }: Settlement): Promise<void> {
    const held = [...leases.map((key) => ({ key, id })), ...sums.map((sum) => ({ id, ...sum }))].map(holding)
    if (held.length === 0) return
    const keys = [...held, ...sums].map(({ key }) => key)
    const holders = held.map(({ holder }) => holder)
    await run(SETTLE, keys, [held.length, ...holders, ...sums.map(({ used }) => whole(used))])
  }

  async function giveBack(id: string, rules: readonly Rule[], { outcome }: Verdict): Promise<void> {
    if (outcome !== 'granted') return
    const leases = rules.filter(({ kind }) => kind === 'lease').map(keyOf)
    const sums = rules.flatMap((rule) =>
      rule.kind === 'sum' ? [{ key: rule.key, held: rule.amount, used: 0 }] : [],
    )
    await settle(id, { leases, sums })
  }

  /** Keys of one step of a walk over all of ours, without the prefix. */
  async function step(cursor: string): Promise<{ next: string; keys: string[] }> {
    const [next, found] = await ask(() => redis.scan(cursor, 'MATCH', `${PREFIX}*`, 'COUNT', KEYS_AT_ONCE))
    return { next, keys: found.map((key) => key.slice(PREFIX.length)) }
  }

  async function forget(names: readonly string[]): Promise<void> {
    const holds = (text: string) => names.some((name) => text.includes(name))
    let cursor = '0'
    do {
      const { next, keys } = await step(cursor)
      // Null for what is no text.
      const values = keys.length === 0 ? [] : await ask(() => redis.mget(keys))
      const doomed = keys.filter((key, at) => holds(key) || holds(values[at] ?? ''))
      if (doomed.length > 0) await tell(() => redis.del(doomed))
      cursor = next
    } while (cursor !== '0')
  }

  const heard = new Map<string, Set<(text: string) => void>>()
  ears.on('message', (channel: string, text: string) => {
    for (const listener of heard.get(channel) ?? []) listener(text)
  })

  return {
    isShared: true,
    get: (key) => ask(async () => (await redis.get(key)) ?? undefined),
    set: (key, value, ttlMs) => tell(() => redis.set(key, value, 'PX', whole(ttlMs))),
    replace: (key, value, ttlMs) => tell(() => redis.set(key, value, 'PX', whole(ttlMs), 'XX')),
    increment: (key, ttlMs) => ask(async () => Number(await run(INCREMENT, [key], [whole(ttlMs)]))),
    delete: (key) => tell(() => redis.del(key)),
    forget,
    async claim(id, rules) {
      const keys = rules.map(keyOf)
      const args = [id, ...rules.flatMap(argsOf)]
      let claimed: Promise<Verdict> | undefined
      try {
        return await ask(() => (claimed = run(CLAIM, keys, args).then(readVerdict)))
      } catch (error) {
        // It may be granted yet, to somebody who was told that it is not.
        claimed?.then((verdict) => giveBack(id, rules, verdict)).catch(() => undefined)
        throw error
      }
    },
    begin: (key, sum, ttlMs) => tell(() => redis.set(key, whole(sum), 'PX', whole(ttlMs), 'NX')),
    settle: (id, settlement) => tell(() => settle(id, settlement)),
    renew: (goingOn) =>
      ask(async () => {
        if (goingOn.length === 0) return
        const held = goingOn.map(holding)
        await run(
          RENEW,
          held.map(({ key }) => key),
          goingOn.flatMap(({ ttlMs }, at) => [held[at]?.holder ?? '', whole(ttlMs)]),
        )
      }),
    publish: (channel, text) => tell(() => redis.publish(PREFIX + channel, text)),
    subscribe(channel, listener) {
      const name = PREFIX + channel
      const listeners = heard.get(name) ?? new Set()
      heard.set(name, listeners.add(listener))
      // Told again at every new connection by ioredis itself, once it was told at all.
      ears.subscribe(name).catch(() => undefined)
      return () => listeners.delete(listener)
    },
    ping: () => tell(() => redis.ping()),
    close() {
      redis.disconnect()
      ears.disconnect()
      return Promise.resolve()
    },
  }
}

/**
 * Rejects when there is no answer within 100 ms. A loop that was busy for so long reads what has arrived before it gives up,
 * which the client's own timeout does not.
 */
function inTime<T>(answer: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const giveUp = () => setImmediate(() => setImmediate(reject, new Error('no answer in time')))
    const timer = setTimeout(giveUp, COMMAND_TIMEOUT_MS)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}

const connect = (connection: Redis): Promise<void> => connection.connect().catch(() => undefined)

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref())

const gone = (cause?: unknown): AppError =>
  new AppError('unavailable', 'Redis does not answer; look at REDIS_URL and at the server there', {
    cause,
    facts: { server: 'Redis' },
  })

const shas = new Map<string, string>()
function shaOf(script: string): string {
  const known = shas.get(script)
  if (known !== undefined) return known
  const sha = createHash('sha1').update(script).digest('hex')
  shas.set(script, sha)
  return sha
}

/** Redis counts in whole numbers. */
const whole = (value: number): number => Math.ceil(value)

const keyOf = ({ key }: Rule): string => key

/** Where a lease or a reservation stands, and under which name. */
const holding = ({ key, id, held }: Pick<GoingOn, 'key' | 'id' | 'held'>) =>
  held === undefined ? { key, holder: id } : { key: `${key}:held`, holder: `${String(whole(held))}:${id}` }

function argsOf(rule: Rule): (string | number)[] {
  if (rule.kind === 'window') return [rule.kind, rule.most, whole(rule.windowMs), 1, 0]
  if (rule.kind === 'lease') return [rule.kind, rule.most, whole(rule.ttlMs), 1, 0]
  return [rule.kind, rule.most, whole(rule.ttlMs), whole(rule.amount), whole(rule.heldMs)]
}

function readVerdict(reply: unknown): Verdict {
  const [outcome, ...rest] = reply as [string, ...(string | number)[]]
  if (outcome === 'unknown') return { outcome, keys: rest.map((key) => String(key).slice(PREFIX.length)) }
  const [rule, ...numbers] = rest.map(Number)
  const standings: Standing[] = []
  for (let at = 0; at < numbers.length; at += 2)
    standings.push({ left: numbers[at] ?? 0, waitMs: Math.max(0, Math.ceil((numbers[at + 1] ?? 0) / 1_000)) })
  return outcome === 'granted' ? { outcome, standings } : { outcome: 'refused', rule: rule ?? 0, standings }
}
