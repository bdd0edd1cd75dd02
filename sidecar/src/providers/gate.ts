/**
 * How many calls one model of one server runs at the same time, and who is next. People take turns: whoever asks ten times
 * waits behind everybody who asks once. What somebody asks themselves comes before what is asked for them.
 */
import { AppError } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'

import { cancelled } from './wire-error.ts'

/** More than a room of people; whoever comes then is told so at once. */
const MOST_WAITING = 512

/** Longer waits are for nobody: the client is told when to come again. */
const LONGEST_WAIT_MS = 30_000

export interface GateLimits {
  /** Calls at the same time. */
  parallel: number
  /** Calls that may begin in a second, over the length of a few; undefined for no ceiling. */
  perSecond: number | undefined
}

export interface Asker {
  person: string
  /** A title, follow-ups and the like: nobody looks at a screen for it. */
  isTask: boolean
}

export interface Gate {
  readonly running: number
  readonly waiting: number
  readonly isFull: boolean
  /** Without waiting; undefined when that is not possible. */
  tryEnter(): Release | undefined
  /**
   * Waits for a turn. `onPlace` hears the place in the queue, 1 for the next, whenever it changes. Rejects with AppError
   * `unavailable` (and `retryAfterSeconds`) after 30 s or when too many wait, `cancelled` when `signal` aborts.
   */
  enter(asker: Asker, signal: StopSignal, onPlace: (place: number) => void): Promise<Release>
}

/** Must be called once, however the call ended. */
export type Release = () => void

interface Waiter {
  isTask: boolean
  admit: (release: Release) => void
  onPlace: (place: number) => void
  place: number
}

export function createGate({ parallel, perSecond }: GateLimits, now: () => number): Gate {
  /** In the order in which people take turns. */
  const queues = new Map<string, Waiter[]>()
  const burst = perSecond === undefined ? Infinity : Math.max(1, perSecond * 2)
  let allowance = burst
  let refilledAtMs = now()
  let running = 0
  let waiting = 0
  let meanCallMs = 5_000
  let timer: NodeJS.Timeout | undefined

  function refill(): void {
    if (perSecond === undefined) return
    const atMs = now()
    allowance = Math.min(burst, allowance + ((atMs - refilledAtMs) / 1_000) * perSecond)
    refilledAtMs = atMs
  }

  function start(): Release {
    running += 1
    allowance -= 1
    const startedAtMs = now()
    let isReleased = false
    return () => {
      if (isReleased) return
      isReleased = true
      running -= 1
      meanCallMs = meanCallMs * 0.8 + (now() - startedAtMs) * 0.2
      admitNext()
    }
  }

  function admitNext(): void {
    refill()
    while (waiting > 0 && running < parallel && allowance >= 1) {
      const [person, queue] = [...queues][0] ?? []
      const next = queue?.shift()
      if (person === undefined || queue === undefined || next === undefined) break
      // To the end of the round.
      queues.delete(person)
      if (queue.length > 0) queues.set(person, queue)
      waiting -= 1
      next.admit(start())
    }
    tellPlaces()
    if (waiting === 0 || running >= parallel || perSecond === undefined) return
    clearTimeout(timer)
    timer = setTimeout(admitNext, Math.ceil(((1 - allowance) / perSecond) * 1_000))
  }

  /** As the rounds will go: everybody's first, then everybody's second. */
  function tellPlaces(): void {
    let place = 0
    const longest = Math.max(0, ...[...queues.values()].map(({ length }) => length))
    for (let round = 0; round < longest; round++)
      for (const queue of queues.values()) {
        const waiter = queue[round]
        if (waiter === undefined) continue
        place += 1
        if (waiter.place !== place) waiter.onPlace((waiter.place = place))
      }
  }

  function leave(person: string, waiter: Waiter): void {
    const queue = queues.get(person)
    const at = queue?.indexOf(waiter) ?? -1
    if (queue === undefined || at === -1) return
    queue.splice(at, 1)
    if (queue.length === 0) queues.delete(person)
    waiting -= 1
    tellPlaces()
  }

  function busy(): AppError {
    const seconds = Math.ceil(((waiting + 1) * meanCallMs) / parallel / 1_000)
    const retryAfterSeconds = Math.max(1, Math.min(60, seconds))
    return new AppError(
      'unavailable',
      `The model is busy with other answers; ask again in about ${String(retryAfterSeconds)} s`,
      { facts: { retryAfterSeconds } },
    )
  }

  return {
    get running() {
      return running
    },
    get waiting() {
      return waiting
    },
    get isFull() {
      return running >= parallel || waiting > 0
    },
    tryEnter() {
      refill()
      return waiting === 0 && running < parallel && allowance >= 1 ? start() : undefined
    },
    enter({ person, isTask }, signal, onPlace) {
      if (signal.aborted) return Promise.reject(cancelled())
      if (waiting >= MOST_WAITING) return Promise.reject(busy())
      return new Promise((resolve, reject) => {
        const give = (error: AppError) => {
          clearTimeout(limit)
          signal.removeEventListener('abort', abort)
          leave(person, waiter)
          reject(error)
        }
        const abort = () => {
          give(cancelled())
        }
        const limit = setTimeout(() => {
          give(busy())
        }, LONGEST_WAIT_MS)
        const waiter: Waiter = {
          isTask,
          admit(release) {
            clearTimeout(limit)
            signal.removeEventListener('abort', abort)
            resolve(release)
          },
          onPlace,
          place: 0,
        }
        signal.addEventListener('abort', abort)
        queues.set(person, lineUp(queues.get(person) ?? [], waiter))
        waiting += 1
        admitNext()
      })
    },
  }
}

function lineUp(queue: readonly Waiter[], waiter: Waiter): Waiter[] {
  const firstTask = waiter.isTask ? -1 : queue.findIndex(({ isTask }) => isTask)
  return firstTask === -1 ? [...queue, waiter] : queue.toSpliced(firstTask, 0, waiter)
}
