/**
 * How long the dashboard waits: a year of calls is generated, rolled up, and every figure is asked for, on SQLite and on
 * PostgreSQL. `npm run bench -- figures` takes 20,000 calls; `npm run bench -- figures --rows=10000000` the year of a large
 * house (about an hour and 12 GB of disk). Each figure is asked for over the whole year, a quarter, a month and a day.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { createCalendar, DAY_MS } from '#analytics/calendar.ts'
import { FIGURES, makeFigure } from '#analytics/figures.ts'
import { createRollUp } from '#analytics/roll-up.ts'
import { openStore } from '#store/open.ts'
import { rowsOf, type Store } from '#store/store.ts'

import { sampleRecord } from '../support/sample-record.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'

interface Row {
  name: string
  value: number
  unit: 'ms' | 'times' | ''
  most?: number
}

const NOW = Date.parse('2026-11-27T12:00Z')
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

export async function measure(options: readonly string[]): Promise<{ title: string; rows: Row[] }> {
  const wish = options.find((option) => option.startsWith('--rows='))
  const count = wish === undefined ? 20_000 : Number(wish.slice('--rows='.length))
  const engines = options.filter((option) => option === '--sqlite' || option === '--postgres')
  const rows: Row[] = []
  if (engines.length === 0 || engines.includes('--sqlite')) {
    const dir = mkdtempSync(path.join(tmpdir(), 'troupe-figures-'))
    rows.push(...(await measureOn('SQLite', `file:${path.join(dir, 'year.sqlite')}`, count)))
    rmSync(dir, { recursive: true, force: true })
  }
  const bin = await findPostgres()
  if (bin !== undefined && (engines.length === 0 || engines.includes('--postgres'))) {
    const server = await startPostgres(bin)
    rows.push(...(await measureOn('PostgreSQL', server.url, count)))
    await server.stop()
  }
  return { title: `Figures over a year of ${count.toLocaleString('en')} calls`, rows }
}

const say = (line: string) => void process.stdout.write(`${line}\n`)

async function measureOn(engine: string, url: string, count: number): Promise<Row[]> {
  const store = await openStore(url)
  const calendar = createCalendar('Europe/Berlin', NOW)
  const generatedAtMs = performance.now()
  await generate(store, count)
  const rolledAtMs = performance.now()
  say(`${engine}: ${count} calls written in ${((rolledAtMs - generatedAtMs) / 1_000).toFixed(0)} s`)
  const rollUp = createRollUp({ store, calendar, now: () => NOW, retention: { recordDays: 400, months: 25 } })
  await rollUp.run()
  say(`${engine}: rolled up in ${((performance.now() - rolledAtMs) / 1_000).toFixed(0)} s`)
  const rows: Row[] = []
  for (const figure of FIGURES) {
    const times: number[] = []
    for (const lengthDays of [YEAR_DAYS, 91, 30, 1])
      for (let round = 0; round < ROUNDS; round++) {
        const beganAtMs = performance.now()
        await makeFigure(
          { figure, fromMs: NOW - lengthDays * DAY_MS, toMs: NOW, smallest: round % 2 === 0 ? null : 5 },
          { store, calendar, now: () => NOW },
        )
        times.push(performance.now() - beganAtMs)
      }
    times.sort((a, b) => a - b)
    const value = times[Math.ceil(times.length * 0.95) - 1] ?? Number.NaN
    rows.push({ name: `${engine}: ${figure}, p95`, value, unit: 'ms', most: MOST_MS })
  }
  await store.close()
  return rows
}

/** Without dice: a generator whose numbers are the same each time. Source: Numerical Recipes, the "quick" linear one. */
function createDraw(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

async function generate(store: Store, count: number): Promise<void> {
  const draw = createDraw()
  /** The first of a list are the favourites. */
  const favourite = (most: number) => Math.floor(most * draw() ** 2.5)
  for (let at = 0; at < count; at += BATCH) {
    const records = Array.from({ length: Math.min(BATCH, count - at) }, (_, more) => call(at + more))
    const lore = records.slice(0, BATCH / 10).map(({ id, startedAtMs, characterId }) => ({
      ...{ recordId: id, position: 0, startedAtMs, characterId: characterId ?? '' },
      ...{ entry: `entry ${String(favourite(LORE))}`, tokens: 40, isDropped: draw() < 0.05 },
    }))
    await store.append([
      rowsOf(
        store.t.callRecords,
        records.map((record) => ({ ...record, recordedAtMs: record.startedAtMs })),
      ),
      rowsOf(store.t.loreHits, lore),
    ])
    if (at % 1_000_000 === 0 && at > 0) say(`${at} of ${count} written`)
  }

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
