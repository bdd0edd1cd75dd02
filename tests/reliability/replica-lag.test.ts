/** Row 13: figures from a standby that falls behind, or is cut off, say so; what is exported is whole. */
import { afterAll, beforeAll, expect, vi } from 'vitest'

import type { Base, Figure } from '#analytics/figures/figure.ts'
import { openFigures, type FigureDesk } from '#analytics/thread.ts'
import { openStore } from '#store/open.ts'
import { rowsOf, type Store } from '#store/store.ts'

import { openTestApp, type TestApp } from '../support/app.ts'
import { findPostgres, startPostgres, type PostgresServer, type Standby } from '../support/postgres.ts'
import { missing, reliabilityTest } from '../support/reliability.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

const MOST_LAG_MS = 1_500

const bin = await findPostgres()

let postgres: PostgresServer
let standby: Standby
let store: Store
let troupe: TestApp
/** As the app's, but that it gives up a standby sooner. */
let impatient: FigureDesk
let recorded = 0

beforeAll(async () => {
  if (bin === undefined) return
  postgres = await startPostgres(bin)
  store = await openStore(postgres.url)
  standby = await postgres.startStandby()
  troupe = await openTestApp({
    ANALYTICS_DATABASE_URL: postgres.url,
    ANALYTICS_REPLICA_URL: standby.url,
  })
  impatient = openFigures(
    {
      ...{ url: postgres.url, replicaUrl: standby.url, mostLagMs: MOST_LAG_MS, everyMs: 3_600_000 },
      ...{ connections: 2, timeZone: 'UTC', retention: { recordDays: 90, months: 25 } },
    },
    silentLog,
  )
})
afterAll(async () => {
  if (bin === undefined) return
  await Promise.all([troupe.close(), impatient.close()])
  await store.close()
  await standby.stop()
  await postgres.stop()
})

/** Five more calls are recorded and in the figures of the primary. */
async function record(): Promise<void> {
  const rows = Array.from({ length: 5 }, () => ({
    ...sampleRecord({ id: `r${String(recorded++)}`, startedAtMs: Date.now() }),
    recordedAtMs: Date.now(),
  }))
  await store.append([rowsOf(store.t.callRecords, rows)])
  const writtenAtMs = Date.now()
  // The app may just be rolling up what was there before.
  const isRolledUp = async () => {
    await impatient.bringUpToDate()
    const marks = await store.db.select().from(store.t.rollUpMarks)
    return marks.some(({ name, atMs }) => name === 'data' && atMs >= writtenAtMs)
  }
  await expect.poll(isRolledUp, { timeout: 20_000, interval: 100 }).toBe(true)
}

async function shown(): Promise<Base> {
  const answer = await troupe.request('GET', '/troupe/api/analytics/overview')
  expect(answer.status).toBe(200)
  return ((await answer.json()) as Figure).base
}

/** The number of calls that an export says that it is made of. */
async function exported(): Promise<number> {
  const answer = await troupe.request('GET', '/troupe/api/analytics/overview?format=csv')
  const [head = '', row = ''] = (await answer.text()).split('\r\n')
  return Number(row.split(',')[head.split(',').indexOf('n')])
}

const asked = (): Promise<Figure> => {
  const toMs = Date.now()
  return impatient.figure({ figure: 'overview', fromMs: toMs - 86_400_000, toMs, smallest: null })
}

reliabilityTest(
  13,
  'replica-lag',
  async ({ counters, figures }) => {
    await record()
    await vi.waitFor(
      async () => expect(await shown()).toMatchObject({ source: 'replica', n: 5, replicaLagMs: 0 }),
      { timeout: 20_000, interval: 200 },
    )

    await standby.pause()
    await record()
    const behind = await shown()
    expect(behind).toMatchObject({ source: 'replica', n: 5 })
    expect(behind.replicaLagMs).toBeGreaterThan(0)
    expect(behind.dataAsOfMs).toBeLessThan(Date.now() - 100)
    if ((await exported()) !== recorded) counters.lost += 1
    figures['lag shown while replay is paused, ms'] = behind.replicaLagMs ?? -1
    // Too far behind: the primary is asked, and still it is told how far.
    const tooFar = async () => (await asked()).base
    await vi.waitFor(async () => expect((await tooFar()).source).toBe('primary'), {
      timeout: 20_000,
      interval: 200,
    })
    expect((await tooFar()).n).toBe(recorded)
    expect((await tooFar()).replicaLagMs).toBeGreaterThan(MOST_LAG_MS)

    await standby.resume()
    await vi.waitFor(
      async () => expect(await shown()).toMatchObject({ source: 'replica', n: recorded, replicaLagMs: 0 }),
      {
        timeout: 20_000,
        interval: 100,
      },
    )

    // Cut off it has replayed all that it received, and knows nothing of what it did not.
    await standby.cut()
    await vi.waitFor(
      async () => {
        await record()
        expect((await shown()).replicaLagMs).toBeGreaterThan(0)
      },
      { timeout: 20_000, interval: 200 },
    )
    if ((await exported()) !== recorded) counters.lost += 1
    await vi.waitFor(async () => expect((await tooFar()).source).toBe('primary'), {
      timeout: 20_000,
      interval: 200,
    })
    expect((await tooFar()).n).toBe(recorded)

    // Without its primary it is what there is.
    await postgres.crash()
    await vi.waitFor(async () => expect((await tooFar()).source).toBe('replica'), {
      timeout: 20_000,
      interval: 200,
    })
    await postgres.restart()
    figures['calls recorded'] = recorded
  },
  { skip: missing({ PostgreSQL: bin !== undefined }) },
)
