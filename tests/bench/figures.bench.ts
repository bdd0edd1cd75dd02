/**
 * How long the dashboard waits: a year of calls is generated, rolled up by the thread that does it in the sidecar, and every
 * figure is asked for over the whole year, a quarter, a month and a day, with its rows by each dimension and with filters, on
 * SQLite and on PostgreSQL. `npm run bench -- figures` takes 20,000 calls; `npm run bench -- figures --rows=10000000` the year
 * of a large house; `--sqlite` or `--postgres` only one of the two; `--url=file:/somewhere/year.sqlite` keeps what it made, or measures
 * what is there. While the thread rolls up, the event loop is watched, and
 * records are written as at the end of answers.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'

import { DAY_MS } from '#analytics/calendar.ts'
import { FIGURES, type FigureQuery } from '#analytics/figures/figure.ts'
import { openRecorder } from '#analytics/recorder.ts'
import { openFigures, type FigureDesk } from '#analytics/thread.ts'
import { openStore } from '#store/open.ts'
import { rowsOf, type Store } from '#store/store.ts'

import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'

interface Row {
  name: string
  value: number
  unit: 'ms' | 'times' | ''
  most?: number
}

const NOW = Date.now()
const YEAR_DAYS = 365
const PEOPLE = 3_000
const CHARACTERS = 40
const MODELS = ['llama3.2:3b', 'qwen3:8b', 'mistral-nemo:12b', 'gpt-oss:20b']
const GROUPS = ['Club', 'School', 'Staff', 'Guests', 'Authors', 'Test', 'North', 'South']
const LORE = 15
const ROUNDS = 5
/** 95 of 100 within this time. */
const MOST_MS = 500
const BATCH = 2_000

/** What is asked beside each figure as it is: the dearest rows, and filters. */
const WISHES: Pick<FigureQuery, 'figure' | 'by' | 'character' | 'group' | 'model'>[] = [
  ...FIGURES.map((figure) => ({ figure })),
  ...(['version', 'model', 'surface', 'group', 'kind'] as const).map((by) => ({
    figure: 'usage' as const,
    by,
  })),
  { figure: 'speed', by: 'model' },
  { figure: 'overview', character: 'character-0' },
  { figure: 'overview', group: 'School' },
  { figure: 'usage', by: 'group', model: 'qwen3:8b' },
]

export async function measure(options: readonly string[]): Promise<{ title: string; rows: Row[] }> {
  const wish = options.find((option) => option.startsWith('--rows='))
  const count = wish === undefined ? 20_000 : Number(wish.slice('--rows='.length))
  const engines = options.filter((option) => option === '--sqlite' || option === '--postgres')
  const rows: Row[] = []
  const title = `Figures over a year of ${count.toLocaleString('en')} calls`
  const url = options.find((option) => option.startsWith('--url='))?.slice('--url='.length)
  if (url !== undefined)
    return { title, rows: await measureOn(url.startsWith('file:') ? 'SQLite' : 'PostgreSQL', url, count) }
  if (engines.length === 0 || engines.includes('--sqlite')) {
    const dir = mkdtempSync(path.join(tmpdir(), 'troupe-figures-'))
    try {
      rows.push(...(await measureOn('SQLite', `file:${path.join(dir, 'year.sqlite')}`, count)))
    } finally {
      rmSync(dir, { recursive: true, force: true })
    }
  }
  const bin = await findPostgres()
  if (bin !== undefined && (engines.length === 0 || engines.includes('--postgres'))) {
    const server = await startPostgres(bin, { isDurable: true })
    try {
      rows.push(...(await measureOn('PostgreSQL', server.url, count)))
    } finally {
      await server.stop()
    }
  }
  return { title, rows }
}

const say = (line: string) => void process.stdout.write(`${line}\n`)

const p95 = (times: readonly number[]) =>
  [...times].sort((a, b) => a - b)[Math.ceil(times.length * 0.95) - 1] ?? Number.NaN

async function measureOn(engine: string, url: string, count: number): Promise<Row[]> {
  const store = await openStore(url)
  const generatedAtMs = performance.now()
  const { callRecords } = store.t
  const [first] = await store.db.select({ id: callRecords.id }).from(callRecords).limit(1)
  if (first === undefined) await generate(store, count)
  say(
    `${engine}: ${String(count)} calls written in ${((performance.now() - generatedAtMs) / 1_000).toFixed(0)} s`,
  )
  const desk = openFigures(
    {
      url,
      replicaUrl: undefined,
      mostLagMs: 60_000,
      connections: 4,
      timeZone: 'Europe/Berlin',
      retention: { recordDays: 400, months: 25 },
      everyMs: DAY_MS,
    },
    silentLog,
  )
  // The thread does not keep the process alive.
  const awake = setInterval(() => undefined, 1_000)
  const rows = await measureRollUp(engine, store, desk)
  for (const row of rows) say(`${row.name}: ${row.value.toFixed(1)} ${row.unit}`)
  for (const wish of WISHES) {
    const times: number[] = []
    for (const lengthDays of [YEAR_DAYS, 91, 30, 1])
      for (let round = 0; round < ROUNDS; round++) {
        const beganAtMs = performance.now()
        await desk.figure({
          ...{ ...wish, fromMs: NOW - lengthDays * DAY_MS, toMs: NOW },
          smallest: round % 2 === 0 ? null : 5,
        })
        times.push(performance.now() - beganAtMs)
      }
    const words = Object.entries(wish).map(([key, value]) => (key === 'figure' ? value : `${key} ${value}`))
    rows.push({ name: `${engine}: ${words.join(', ')}, p95`, value: p95(times), unit: 'ms', most: MOST_MS })
  }
  clearInterval(awake)
  await desk.close()
  await store.close()
  return rows
}

const RECORD_EVERY_MS = 50

/** How long it takes, what the event loop notices of it, and what whoever waits for a record does. */
async function measureRollUp(engine: string, store: Store, desk: FigureDesk): Promise<Row[]> {
  const recorder = openRecorder({ store, log: silentLog, now: Date.now })
  const waits: number[] = []
  let number = 0
  const timer = setInterval(() => {
    const askedAtMs = performance.now()
    number += 1
    void recorder
      .add(sampleRecord({ id: `beside-${String(number)}`, startedAtMs: Date.now() }))
      .then(() => waits.push(performance.now() - askedAtMs))
  }, RECORD_EVERY_MS)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const beganAtMs = performance.now()
  await desk.bringUpToDate()
  const seconds = (performance.now() - beganAtMs) / 1_000
  delay.disable()
  clearInterval(timer)
  await recorder.close()
  return [
    { name: `${engine}: seconds to roll up`, value: seconds, unit: '' },
    // The clock of the measurement itself ticks each millisecond.
    { name: `${engine}: event loop meanwhile, p99`, value: delay.percentile(99) / 1e6 - 1, unit: 'ms' },
    { name: `${engine}: records meanwhile, p95`, value: p95(waits), unit: 'ms' },
    { name: `${engine}: records meanwhile, longest`, value: Math.max(...waits), unit: 'ms' },
  ]
}

/** Without dice: a generator whose numbers are the same each time. Source: Numerical Recipes, the "quick" linear one. */
function createDraw(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** Rows that wait for the database. */
const APPENDS_AT_ONCE = 4

async function generate(store: Store, count: number): Promise<void> {
  const draw = createDraw()
  const underWay: Promise<void>[] = []
  /** The first of a list are the favourites. */
  const favourite = (most: number) => Math.floor(most * draw() ** 2.5)
  for (let at = 0; at < count; at += BATCH) {
    const records = Array.from({ length: Math.min(BATCH, count - at) }, (_, more) => call(at + more))
    const lore = records.slice(0, BATCH / 10).map(({ id, startedAtMs, characterId }) => ({
      ...{ recordId: id, position: 0, startedAtMs, characterId: characterId ?? '' },
      ...{ entry: `entry ${String(favourite(LORE))}`, tokens: 40, isDropped: draw() < 0.05 },
    }))
    const appending = store.append([
      rowsOf(
        store.t.callRecords,
        records.map((record) => ({ ...record, recordedAtMs: record.startedAtMs })),
      ),
      rowsOf(store.t.loreHits, lore),
    ])
    underWay.push(appending)
    if (underWay.length >= APPENDS_AT_ONCE) await underWay.shift()
    if (at % 1_000_000 === 0 && at > 0) say(`${String(at)} of ${String(count)} written`)
  }
  await Promise.all(underWay)

  function call(number: number) {
    const person = favourite(PEOPLE)
    const character = favourite(CHARACTERS)
    const startedAtMs = Math.floor(NOW - YEAR_DAYS * DAY_MS * (1 - number / count))
    const isTask = draw() < 0.2
    const isFailed = draw() < 0.02
    const firstTokenMs = 80 + 2_000 * draw() ** 4
    return sampleRecord({
      id: `call-${String(number).padStart(9, '0')}`,
      startedAtMs,
      kind: isTask ? 'task' : 'turn',
      surface: draw() < 0.9 ? 'open-webui' : 'api',
      person: `person-${String(person)}`,
      groups: [GROUPS[person % GROUPS.length] ?? '', ...(person % 5 === 0 ? ['Staff'] : [])],
      message: `message-${String(number)}`,
      userMessage: `user-${String(draw() < 0.05 ? number - 1 : number)}`,
      turn: 1 + Math.floor(10 * draw()),
      characterId: isTask ? null : `character-${String(character)}`,
      characterVersion: 1 + Math.floor((number / count) * 4),
      baseModel: MODELS[character % MODELS.length] ?? '',
      status: isFailed ? 'failed' : 'ok',
      errorCode: isFailed ? 'upstream' : null,
      promptTokens: 1_500,
      completionTokens: Math.floor(300 * draw()),
      cachedTokens: 1_200,
      firstTokenMs,
      totalMs: firstTokenMs + 8_000 * draw(),
      loadMs: draw() < 0.01 ? 4_000 : 2,
      prefillMs: firstTokenMs * 0.8,
      decodeMs: 4_000 * draw(),
      costMicro: 120,
    })
  }
}
