/**
 * Breaks and attacks what runs, and prints one table of it: `npm run reliability`, or `npm run reliability -- identity` for
 * some files. `--long` takes the long form of tests that have one, `--rounds=200` so many rounds of those that repeat
 * themselves, `--events=1000000` so many events of those that count them. Ends with 1 where a test fails or one of the counters that must be 0 is not. `./scripts/test install` and
 * `npm run build` get what it needs.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'

/** @typedef {import('../tests/support/reliability.ts').ReliabilityLine} Line */

const ROOT = path.join(import.meta.dirname, '..')
const COUNTERS = /** @type {const} */ (['lost', 'duplicated', 'in', 'leaked'])

const folder = mkdtempSync(path.join(tmpdir(), 'troupe-reliability-'))
const file = path.join(folder, 'lines.jsonl')
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean' }, rounds: { type: 'string' }, events: { type: 'string' } },
})
for (const name of /** @type {const} */ (['rounds', 'events'])) {
  const value = values[name]
  if (value !== undefined && !/^[1-9]\d*$/.test(value))
    throw new Error(`--${name}=${value} is not a whole number`)
}
const args = ['node_modules/vitest/vitest.mjs', 'run', '--project', 'reliability', ...positionals]
const child = spawn(process.execPath, args, {
  cwd: ROOT,
  stdio: 'inherit',
  env: {
    ...process.env,
    TROUPE_RELIABILITY_FILE: file,
    ...(values.long === true && { TROUPE_RELIABILITY: 'long' }),
    ...(values.rounds !== undefined && { TROUPE_RELIABILITY_ROUNDS: values.rounds }),
    ...(values.events !== undefined && { TROUPE_RELIABILITY_EVENTS: values.events }),
  },
})
const code = await new Promise((resolve) => child.on('close', (ended) => resolve(ended ?? 1)))
report(existsSync(file) ? readFileSync(file, 'utf8') : '')
rmSync(folder, { recursive: true, force: true })
process.exitCode = code

/** @param {string} text */
function report(text) {
  /** @type {Line[]} */
  const lines = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  lines.sort((a, b) => a.test - b.test || a.name.localeCompare(b.name))
  console.log(`\n${'no.'.padStart(4)}  ${'test'.padEnd(34)} ${COUNTERS.join('  ')}  seconds  seen`)
  for (const { test, name, passed, skipped, counters, figures, seconds } of lines) {
    if (skipped !== undefined) {
      console.log(`${String(test).padStart(4)}  ${name} SKIPPED, because: ${skipped}`)
      continue
    }
    const counts = COUNTERS.map((counter) => String(counters[counter]).padStart(counter.length)).join('  ')
    const seen = Object.entries(figures).map(([what, value]) => `${what} ${value}`)
    const verdict = passed ? '' : ' FAILED'
    console.log(
      `${String(test).padStart(4)}  ${(name + verdict).padEnd(34)} ${counts}  ${String(seconds).padStart(7)}  ${seen.join(', ')}`,
    )
  }
  const sums = COUNTERS.map(
    (counter) => `${counter} ${lines.reduce((sum, line) => sum + line.counters[counter], 0)}`,
  )
  const notRun = lines.filter(({ skipped }) => skipped !== undefined).length
  const skips = notRun > 0 ? `, ${notRun} skipped` : ''
  console.log(
    `\n${lines.filter(({ passed }) => passed).length} of ${lines.length} hold${skips}; ${sums.join(', ')}`,
  )
}
