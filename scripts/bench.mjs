/**
 * Measures what has to be fast, one file of tests/bench/ after the other: `npm run bench`, or `npm run bench -- lore`.
 * A file `<name>.bench.ts` exports `measure(options)`, which returns a report; it gets all words from the first one on
 * that begins with a dash: `npm run bench -- gateway --full`. Ends with 1 where a limit does not hold.
 */
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import path from 'node:path'

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {number} value
 * @property {'ms' | 'times' | ''} unit
 * @property {number} [most]
 * @property {number} [least]
 * @property {number} [failsAt] Where missing the limit becomes a failure; by default a little beyond `most`, and at `least`.
 */
/** @typedef {{ title: string, rows: Row[] }} Report */

const FOLDER = path.join(import.meta.dirname, '..', 'tests/bench')
const SUFFIX = '.bench.ts'
/** The machine has other things to do as well; what takes longer than this is no noise. */
const NOISE = 1.5

const [first, file = '', ...rest] = process.argv.slice(2)
if (first === '--here') await measure(file, rest)
else await measureAll(process.argv.slice(2))

/**
 * Each in a process of its own, so that none finds the memory or the compiled code of another.
 *
 * @param {string[]} words Names, then options.
 */
async function measureAll(words) {
  const firstOption = words.findIndex((word) => word.startsWith('-'))
  const names = firstOption < 0 ? words : words.slice(0, firstOption)
  const options = firstOption < 0 ? [] : words.slice(firstOption)
  const known = readdirSync(FOLDER).filter((file) => file.endsWith(SUFFIX))
  const wanted = known.filter((file) => names.length === 0 || names.includes(file.slice(0, -SUFFIX.length)))
  if (wanted.length === 0) {
    console.error(
      `There is no such bench; known are ${known.map((file) => file.slice(0, -SUFFIX.length)).join(', ')}.`,
    )
    process.exitCode = 1
  }
  for (const file of wanted) if ((await run(file, options)) !== 0) process.exitCode = 1
}

/**
 * @param {string} file
 * @param {readonly string[]} options
 * @returns {Promise<number>}
 */
function run(file, options) {
  const args = ['--import', 'tsx', import.meta.filename, '--here', file, ...options]
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: 'inherit', cwd: path.join(FOLDER, '../..') })
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 1))
  })
}

/**
 * @param {string} file
 * @param {readonly string[]} options
 */
async function measure(file, options) {
  /** @type {{ measure: (options: readonly string[]) => Report | Promise<Report> }} */
  const bench = await import(path.join(FOLDER, file))
  const { title, rows } = await bench.measure(options)
  console.log(`\n${title}`)
  const width = Math.max(...rows.map(({ name }) => name.length))
  for (const row of rows) {
    const digits = row.unit === '' ? 0 : row.value < 10 ? 2 : 1
    const value = `${row.value.toFixed(digits)} ${row.unit}`
    console.log(
      `  ${row.name.padEnd(width)}  ${value.padStart(12)}  ${limitOf(row).padEnd(14)} ${verdict(row)}`,
    )
  }
  if (rows.some((row) => verdict(row) === 'FAILS')) process.exitCode = 1
}

/** @param {Row} row */
function limitOf({ most, least, unit }) {
  if (most !== undefined) return `<= ${most} ${unit}`
  return least === undefined ? '' : `>= ${least} ${unit}`
}

/** @param {Row} row */
function verdict({ value, most, least, failsAt }) {
  if (least !== undefined && value < least) return value < (failsAt ?? least) ? 'FAILS' : 'misses the goal'
  if (most === undefined || value <= most) return ''
  if (value > (failsAt ?? most * NOISE)) return 'FAILS'
  return failsAt === undefined ? 'over the limit, but within noise' : 'misses the goal'
}
