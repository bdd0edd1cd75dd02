import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { createCalendar, HOUR_MS } from '#analytics/calendar.ts'
import { makeFigure } from '#analytics/figures/figures.ts'
import { openRecorder } from '#analytics/recorder.ts'
import { createRollUp } from '#analytics/roll-up/roll-up.ts'
import { openStore } from '#store/open.ts'

import { findPostgres, startPostgres } from '../support/postgres.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'
import { describeFigures } from './figures.ts'

describe('figures from SQLite', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-figures-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  describeFigures(() => `file:${path.join(dir, 'figures.sqlite')}`)
})

const bin = await findPostgres()

describe.skipIf(bin === undefined)(
  'figures from PostgreSQL (skipped where Debian has no postgresql package installed)',
  () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    beforeAll(async () => {
      server = await startPostgres(bin ?? '')
    })
    afterAll(() => server.stop())
    describeFigures(() => server.url)

    test('a call that a process recorded whose clock is three minutes behind is counted', async () => {
      const rollingUp = await openStore(server.url)
      const now = () => rollingUp.nowMs()
      const calendar = createCalendar('UTC', now())
      const rollUp = createRollUp({
        ...{ store: rollingUp, calendar, now },
        retention: { recordDays: 90, months: 25 },
      })
      const calls = async () => {
        const period = { fromMs: now() - HOUR_MS, toMs: now() + HOUR_MS }
        const query = { figure: 'overview' as const, ...period, smallest: null }
        return (await makeFigure(query, { store: rollingUp, calendar, now })).base.n
      }
      await rollUp.run()
      const before = await calls()
      vi.useFakeTimers({ toFake: ['Date'], now: Date.now() - 180_000 })
      const behind = await openStore(server.url)
      try {
        const recorder = openRecorder({ store: behind, log: silentLog, now: () => behind.nowMs() })
        await recorder.add(sampleRecord({ id: 'behind', startedAtMs: Date.now() }))
        await recorder.close()
        // Put forward by hand, as a time server does; the clock of the database stays.
        vi.setSystemTime(Date.now() + 3_600_000)
        expect(Math.abs(behind.nowMs() - now())).toBeLessThan(5_000)
      } finally {
        vi.useRealTimers()
        await behind.close()
      }
      await rollUp.run()
      expect(await calls()).toBe(before + 1)
      await rollingUp.close()
    })
  },
)
