/** A clock that a test turns by hand, for parts that take `now` and `after` as options. */
import type { After } from '#base/after.ts'

export interface HandClock {
  now: () => number
  after: After
  /** Milliseconds until each timer that is still set, soonest first. */
  pending(): number[]
  /** Lets time pass; what falls due runs, and what it starts gets the chance to end. */
  advance(ms: number): Promise<void>
}

export function createHandClock(): HandClock {
  let nowMs = 1_000_000
  const timers = new Set<{ dueMs: number; action: () => void }>()
  const inOrder = () => [...timers].sort((a, b) => a.dueMs - b.dueMs)
  return {
    now: () => nowMs,
    after(ms, action) {
      const timer = { dueMs: nowMs + ms, action }
      timers.add(timer)
      return () => timers.delete(timer)
    },
    pending: () => inOrder().map(({ dueMs }) => dueMs - nowMs),
    async advance(ms) {
      const untilMs = nowMs + ms
      for (;;) {
        const [next] = inOrder()
        if (next === undefined || next.dueMs > untilMs) break
        nowMs = Math.max(nowMs, next.dueMs)
        timers.delete(next)
        next.action()
        await settled()
      }
      nowMs = untilMs
      await settled()
    },
  }
}

/** One turn of the event loop: every promise that waits for nothing but other promises is settled then. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
