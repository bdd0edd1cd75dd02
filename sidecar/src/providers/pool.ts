/**
 * From several servers that have a model the one for this call: the one that knows the prompt's beginning already, as long
 * as it is well and not overfull. What fails before the first word is tried elsewhere; after it, nothing is ever repeated.
 */
import { createHash } from 'node:crypto'

import { AppError, toAppError } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'

import { createBreaker, type Attempt, type Breaker } from './breaker.ts'
import { type Asker, createGate, type Gate, type Release } from './gate.ts'
import type { Delta, Listener, ModelCall } from './provider.ts'
import type { Upstream } from './upstreams.ts'
import { cancelled } from './wire-error.ts'

/** Servers that are tried for one call. */
const MOST_ATTEMPTS = 3

/** Repeated calls among those in flight: more would finish off servers that are down already (docs/design.md). */
const RETRY_SHARE = 0.2
const RETRIES_ALWAYS = 3

/** The share above holds over so long for calls that are repeated at the server which refused them, in milliseconds. */
const REPEATS_OVER_MS = 10_000

/** Before the next attempt, so that callers who failed together do not come back together. */
const LONGEST_BACKOFF_MS = 200

/** A server that says nothing of it runs so many calls at once. */
const DEFAULT_PARALLEL = 1_024

export interface Placing {
  /** Servers with the model. */
  candidates: readonly Upstream[]
  call: (upstream: Upstream) => ModelCall
  /** Equal for prompts with the same beginning, e.g. the version of a character. */
  affinity: string
  /** Whoever takes turns with others. */
  asker: Asker
}

/** A call whose answer has begun. */
export interface Placed {
  upstream: Upstream
  first: IteratorResult<Delta, void>
  rest: AsyncGenerator<Delta, void, undefined>
  /** To be called when the answer is over, however it ended. */
  release: Release
  /** How long it waited for its turn, in milliseconds. */
  queuedMs: number
}

export interface PoolOptions {
  now: () => number
  /** For every model of every server; undefined takes what the server says of itself. */
  parallel: number | undefined
  /** Calls that may begin in a second, for each model of each server; undefined for no ceiling. */
  perSecond: number | undefined
  /** Processes that ask the same servers: each keeps to its share of both. */
  replicas: number
}

export interface LaneState {
  server: string
  model: string
  running: number
  waiting: number
  isPaused: boolean
}

export interface Pool {
  /**
   * Resolves with the call once its answer has begun; meanwhile the listener is told each change of the place in the queue.
   * Rejects with what the last attempt threw, or AppError `unavailable` while every server is left alone for a while.
   */
  place(wish: Placing, listener: Listener): Promise<Placed>
  state(): LaneState[]
}

interface Lane {
  upstream: Upstream
  gate: Gate
  breaker: Breaker
}

/** A lane that admits the call. */
interface Choice {
  lane: Lane
  attempt: Attempt
}

/** What another server, or the same one a moment later, may well answer. */
const WORTH_ANOTHER_TRY = new Set<AppError['code']>(['unavailable'])

/** What says that the server is not well; a wrong request says nothing about it. */
const SERVER_FAULTS = new Set<AppError['code']>(['unavailable', 'upstream', 'upstream_timeout'])

export function createPool({ now, parallel, perSecond, replicas }: PoolOptions): Pool {
  const lanes = new Map<string, Lane>()
  let retries = 0
  let lately = { sinceMs: now(), calls: 0, repeats: 0 }

  function laneOf(upstream: Upstream): Lane {
    const key = `${upstream.provider.id} ${upstream.model.name}`
    const known = lanes.get(key)
    if (known !== undefined) return Object.assign(known, { upstream })
    const ofAll = parallel ?? upstream.model.parallel ?? DEFAULT_PARALLEL
    const limits = {
      parallel: Math.ceil(ofAll / replicas),
      perSecond: perSecond === undefined ? undefined : perSecond / replicas,
    }
    const fresh = { upstream, gate: createGate(limits, now), breaker: createBreaker(now) }
    lanes.set(key, fresh)
    return fresh
  }

  async function queue({ lane, attempt }: Choice, asker: Asker, listener: Listener): Promise<Release> {
    try {
      return await wait(lane.gate, asker, listener)
    } catch (thrown) {
      attempt.undecided()
      throw thrown
    }
  }

  function judge(attempt: Attempt, error: AppError): void {
    const status = error.facts['status']
    const isRefusal = typeof status === 'number' && status < 500 && status !== 429
    if (SERVER_FAULTS.has(error.code) && !isRefusal) attempt.failed()
    else attempt.undecided()
  }

  async function begin(
    { lane: { upstream }, attempt }: Choice,
    release: Release,
    { call }: Placing,
    signal: StopSignal,
  ): Promise<Omit<Placed, 'queuedMs'>> {
    const rest = upstream.provider.stream(call(upstream), signal)
    const first = await rest.next()
    attempt.succeeded()
    return { upstream, first, rest, release }
  }

  /** Counts a call to a server, and says whether it may be made. Another server is worth a try, the same one less so. */
  function mayAsk(isRepeat: boolean): boolean {
    if (now() - lately.sinceMs > REPEATS_OVER_MS) lately = { sinceMs: now(), calls: 0, repeats: 0 }
    if (isRepeat && lately.repeats >= Math.max(RETRIES_ALWAYS, lately.calls * RETRY_SHARE)) return false
    lately.calls += 1
    if (isRepeat) lately.repeats += 1
    return true
  }

  function mayRetry(): boolean {
    const running = [...lanes.values()].reduce((sum, { gate }) => sum + gate.running, 0)
    return retries < Math.max(RETRIES_ALWAYS, Math.ceil(running * RETRY_SHARE))
  }

  return {
    async place(wish, listener) {
      const { signal } = listener
      const tried = new Set<Lane>()
      let failure: AppError | undefined
      let queuedMs = 0
      for (let attempt = 0; attempt < MOST_ATTEMPTS; attempt++) {
        const all = wish.candidates.map(laneOf)
        const choice = choose(all, tried, wish.affinity)
        if (choice === undefined) throw failure ?? allPaused(all)
        if (!mayAsk(tried.has(choice.lane))) {
          choice.attempt.undecided()
          throw failure ?? allPaused(all)
        }
        tried.add(choice.lane)
        const isRetry = failure !== undefined
        if (isRetry) retries += 1
        const askedAtMs = now()
        const release = choice.lane.gate.tryEnter() ?? (await queue(choice, wish.asker, listener))
        queuedMs += now() - askedAtMs
        try {
          if (isRetry) await pause(Math.random() * LONGEST_BACKOFF_MS, signal)
          return { queuedMs, ...(await begin(choice, release, wish, signal)) }
        } catch (thrown) {
          release()
          failure = signal.aborted ? cancelled() : toAppError(thrown)
          judge(choice.attempt, failure)
          if (!WORTH_ANOTHER_TRY.has(failure.code) || !mayRetry()) throw failure
        } finally {
          if (isRetry) retries -= 1
        }
      }
      throw failure ?? allPaused([])
    },
    state: () =>
      [...lanes.values()].map(({ upstream, gate, breaker }) => ({
        server: upstream.provider.name,
        model: upstream.model.name,
        running: gate.running,
        waiting: gate.waiting,
        isPaused: breaker.isOpen,
      })),
  }
}

/**
 * The first in the order of this prompt that is not full, by our own calls or by those of others that the server tells of; if
 * all are, the one with the shortest queue.
 */
function choose(lanes: readonly Lane[], tried: ReadonlySet<Lane>, affinity: string): Choice | undefined {
  const ranked = lanes.length === 1 ? lanes : inOrderFor(affinity, lanes)
  const open = ranked.filter(({ breaker }) => !breaker.isOpen)
  const fresh = open.filter((lane) => !tried.has(lane))
  // A single server that refused a connection may take the next one.
  const usable = fresh.length > 0 ? fresh : open
  const waitingAt = ({ gate, upstream }: Lane) => gate.waiting + (upstream.model.waiting ?? 0)
  const free = usable.filter((lane) => !lane.gate.isFull && waitingAt(lane) === 0)
  const shortest = [...usable].sort((a, b) => waitingAt(a) - waitingAt(b))
  for (const lane of [...free, ...shortest]) {
    const attempt = lane.breaker.admit()
    if (attempt !== undefined) return { lane, attempt }
  }
  return undefined
}

/**
 * Rendezvous hashing: each prompt has its own order of all servers, and a server that comes or goes moves only the prompts
 * for which it is the first. Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
 */
function inOrderFor(affinity: string, lanes: readonly Lane[]): Lane[] {
  const weight = ({ upstream }: Lane) =>
    createHash('sha256').update(`${affinity} ${upstream.provider.id}`).digest('hex')
  return lanes
    .map((lane) => ({ lane, weight: weight(lane) }))
    .sort((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ lane }) => lane)
}

async function wait(gate: Gate, asker: Asker, listener: Listener): Promise<Release> {
  const release = await gate.enter(asker, listener.signal, (place) => {
    listener.tell({ type: 'status', text: waitingFor(place), isDone: false })
  })
  // Whoever leaves while waiting must not keep the place that comes later.
  if (!listener.isThere) {
    release()
    throw cancelled()
  }
  listener.tell({ type: 'status', text: 'It is your turn', isDone: true })
  return release
}

/** Rejects with AppError `cancelled` as soon as the signal aborts. */
function pause(ms: number, signal: StopSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(cancelled())
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop)
  })
}

const waitingFor = (place: number): string =>
  place === 1 ? 'The model is busy: you are next' : `The model is busy: ${String(place - 1)} before you`

function allPaused(lanes: readonly Lane[]): AppError {
  const pauseMs = Math.min(60_000, ...lanes.map(({ breaker }) => breaker.pauseMs()))
  const retryAfterSeconds = Math.max(1, Math.ceil(pauseMs / 1_000))
  const names = [...new Set(lanes.map(({ upstream }) => upstream.provider.name))].join(', ')
  return new AppError(
    'unavailable',
    `The model server failed too often and is left alone for a moment (${names}); ask again in ${String(retryAfterSeconds)} s`,
    { facts: { retryAfterSeconds } },
  )
}
