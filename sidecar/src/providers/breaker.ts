/**
 * Keeps calls away from a server that fails: after too many failures nothing is asked for a while, then one call tries again.
 * Pure but for its clock. The figures are those of docs/design.md.
 */

/** The calls that count, and the share of failures among them that opens the breaker. */
const WINDOW_CALLS = 20
const MOST_FAILURES = 0.5
/** Fewer calls tell nothing yet, and one that failed is no reason to refuse the next. */
const LEAST_CALLS = 5

/** Doubled with each trial that failed. */
const FIRST_PAUSE_MS = 5_000
const LONGEST_PAUSE_MS = 60_000

export interface Breaker {
  /** A call that may be made now, in doubt the one that tries whether the server is back; undefined when none may. */
  admit(): Attempt | undefined
  /** Whether `admit` would refuse. */
  readonly isOpen: boolean
  /** Until the next trial, in milliseconds; 0 while calls are admitted. */
  pauseMs(): number
}

/** How the call went; one of the three has to be said, once. */
export interface Attempt {
  succeeded(): void
  failed(): void
  /** The call ended without telling anything about the server: the client left, or its request was wrong. */
  undecided(): void
}

export function createBreaker(now: () => number): Breaker {
  let outcomes: boolean[] = []
  let openedAtMs: number | undefined
  let currentPauseMs = FIRST_PAUSE_MS
  /** The call that tries whether the server is back. */
  let trial: Attempt | undefined

  const pauseMs = () => (openedAtMs === undefined ? 0 : Math.max(0, openedAtMs + currentPauseMs - now()))
  const isOpen = () => openedAtMs !== undefined && (trial !== undefined || pauseMs() > 0)

  function open(): void {
    openedAtMs = now()
    trial = undefined
    outcomes = []
  }

  function succeeded(): void {
    openedAtMs = undefined
    trial = undefined
    currentPauseMs = FIRST_PAUSE_MS
    outcomes = [...outcomes.slice(1 - WINDOW_CALLS), true]
  }

  function failed(attempt: Attempt): void {
    if (openedAtMs !== undefined) {
      // Of a call that was on its way when all others were told to wait: that is known already.
      if (attempt !== trial) return
      currentPauseMs = Math.min(currentPauseMs * 2, LONGEST_PAUSE_MS)
      open()
      return
    }
    outcomes = [...outcomes.slice(1 - WINDOW_CALLS), false]
    const failures = outcomes.filter((isGood) => !isGood).length
    if (outcomes.length >= LEAST_CALLS && failures / outcomes.length >= MOST_FAILURES) open()
  }

  return {
    get isOpen() {
      return isOpen()
    },
    admit() {
      if (isOpen()) return undefined
      const attempt: Attempt = {
        succeeded,
        failed: () => failed(attempt),
        undecided() {
          if (attempt === trial) trial = undefined
        },
      }
      if (openedAtMs !== undefined) trial = attempt
      return attempt
    },
    pauseMs,
  }
}
