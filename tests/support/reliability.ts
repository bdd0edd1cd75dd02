/** The numbered tests of "nothing lost, nobody in": each counts what may never happen, and leaves one line of JSON for the table over all. */
import { appendFileSync } from 'node:fs'

import { expect, test } from 'vitest'

/** What may never happen. All have to be 0. */
export interface Counters {
  /** Acknowledged, and not there. */
  lost: number
  /** There twice. */
  duplicated: number
  /** An answer, an effect or a word for somebody without the right to it. */
  in: number
  /** A secret or a word of somebody where it has no place. */
  leaked: number
}

/** One line of the file that `TROUPE_RELIABILITY_FILE` names. */
export interface ReliabilityLine {
  test: number
  name: string
  passed: boolean
  /** Why it did not run; nothing was counted then. */
  skipped?: string
  counters: Counters
  /** What was seen, in numbers or in words: `{ "most admitted": 100 }`. */
  figures: Record<string, number | string>
  seconds: number
}

export interface Tally {
  /** Counted up by the test. */
  counters: Counters
  figures: ReliabilityLine['figures']
}

export interface ReliabilityOptions {
  timeoutMs?: number
  /** A part that the test needs is not installed: the reason is told. */
  skip?: string | false
}

const none = (): Counters => ({ lost: 0, duplicated: 0, in: 0, leaked: 0 })

/** A test of vitest that fails also when a counter is not 0. One that is skipped leaves a line that says why. */
export function reliabilityTest(
  number: number,
  name: string,
  body: (tally: Tally) => Promise<void>,
  { timeoutMs, skip = false }: ReliabilityOptions = {},
): void {
  const title = `${String(number)} ${name}`
  if (skip !== false) {
    write({ test: number, name, passed: false, skipped: skip, counters: none(), figures: {}, seconds: 0 })
    test.skip(`${title} (skipped: ${skip})`)
    return
  }
  const run = async () => {
    const tally: Tally = { counters: none(), figures: {} }
    const startedAtMs = performance.now()
    let passed = false
    try {
      await body(tally)
      expect(tally.counters).toEqual(none())
      passed = true
    } finally {
      const seconds = Number(((performance.now() - startedAtMs) / 1_000).toFixed(1))
      write({ test: number, name, passed, ...tally, seconds })
    }
  }
  if (timeoutMs === undefined) test(title, run)
  else test(title, run, timeoutMs)
}

/** For `skip`: which of these parts are not installed; false when all are. */
export function missing(parts: Record<string, boolean>): string | false {
  const names = Object.keys(parts).filter((name) => parts[name] !== true)
  return names.length > 0 && names.map((name) => `no ${name}`).join(', ')
}

/** The long form of a test, for a machine with time; CI runs the short one. */
export const isLong = process.env['TROUPE_RELIABILITY'] === 'long'

/** Rounds of a test that repeats itself: `npm run reliability -- --rounds=200`, or what CI has time for. */
export const roundsOr = (few: number): number => Number(process.env['TROUPE_RELIABILITY_ROUNDS'] ?? few)

/** Events of a test that counts them: `npm run reliability -- --events=1000000`, or what CI has time for. */
export const eventsOr = (few: number): number => Number(process.env['TROUPE_RELIABILITY_EVENTS'] ?? few)

function write(line: ReliabilityLine): void {
  const file = process.env['TROUPE_RELIABILITY_FILE']
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`)
}
