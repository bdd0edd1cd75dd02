/** The numbered tests of "nothing lost, nobody in": each counts what may never happen, and leaves one line of JSON for the table over all. */
import { appendFile } from 'node:fs/promises'

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

/** A test of vitest that fails also when a counter is not 0. */
export function reliabilityTest(
  number: number,
  name: string,
  body: (tally: Tally) => Promise<void>,
  { timeoutMs, skip = false }: ReliabilityOptions = {},
): void {
  const title = `${String(number)} ${name}`
  if (skip !== false) {
    test.skip(`${title} (skipped: ${skip})`)
    return
  }
  const run = async () => {
    const tally: Tally = { counters: { lost: 0, duplicated: 0, in: 0, leaked: 0 }, figures: {} }
    const startedAtMs = performance.now()
    let passed = false
    try {
      await body(tally)
      expect(tally.counters).toEqual({ lost: 0, duplicated: 0, in: 0, leaked: 0 })
      passed = true
    } finally {
      const seconds = Number(((performance.now() - startedAtMs) / 1_000).toFixed(1))
      await write({ test: number, name, passed, ...tally, seconds })
    }
  }
  if (timeoutMs === undefined) test(title, run)
  else test(title, run, timeoutMs)
}

/** The long form of a test, for a machine with time; CI runs the short one. */
export const isLong = process.env['TROUPE_RELIABILITY'] === 'long'

/** Rounds of a test that repeats itself: `npm run reliability -- --rounds=200`, or what CI has time for. */
export const roundsOr = (few: number): number => Number(process.env['TROUPE_RELIABILITY_ROUNDS'] ?? few)

/** Events of a test that counts them: `npm run reliability -- --events=1000000`, or what CI has time for. */
export const eventsOr = (few: number): number => Number(process.env['TROUPE_RELIABILITY_EVENTS'] ?? few)

async function write(line: ReliabilityLine): Promise<void> {
  const file = process.env['TROUPE_RELIABILITY_FILE']
  if (file !== undefined) await appendFile(file, `${JSON.stringify(line)}\n`)
}
