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
  /** Whether a call may be made now; in doubt for one that tries whether the server is back. Takes that place. */
  admits(): boolean
  /** As `admits`, without taking a place. */
  readonly isOpen: boolean
  succeeded(): void
  failed(): void
  /** The call ended without telling anything about the server: the client left, or its request was wrong. */
  undecided(): void
  /** Until the next trial, in milliseconds; 0 while calls are admitted. */
  pauseMs(): number
}

export function createBreaker(now: () => number): Breaker {
  let outcomes: boolean[] = []
  let openedAtMs: number | undefined
  let currentPauseMs = FIRST_PAUSE_MS
  let isTrying = false

  const pauseMs = () => (openedAtMs === undefined ? 0 : Math.max(0, openedAtMs + currentPauseMs - now()))
  const isOpen = () => openedAtMs !== undefined && (isTrying || pauseMs() > 0)

  function open(): void {
    openedAtMs = now()
    isTrying = false
    outcomes = []
  }

  return {
    get isOpen() {
      return isOpen()
    },
    admits() {
      if (isOpen()) return false
      isTrying = openedAtMs !== undefined
      return true
    },
    succeeded() {
      if (openedAtMs !== undefined) outcomes = []
      openedAtMs = undefined
      isTrying = false
      currentPauseMs = FIRST_PAUSE_MS
      outcomes = [...outcomes.slice(1 - WINDOW_CALLS), true]
    },
    failed() {
      if (openedAtMs !== undefined) {
        // Of a call that was on its way when all others were told to wait: that is known already.
        if (!isTrying) return
        currentPauseMs = Math.min(currentPauseMs * 2, LONGEST_PAUSE_MS)
        open()
        return
      }
      outcomes = [...outcomes.slice(1 - WINDOW_CALLS), false]
      const failures = outcomes.filter((isGood) => !isGood).length
      if (outcomes.length >= LEAST_CALLS && failures / outcomes.length >= MOST_FAILURES) open()
    },
    undecided() {
      isTrying = false
    },
    pauseMs,
  }
}
