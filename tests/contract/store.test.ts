import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { toAppError } from '#base/errors.ts'
import { openStore } from '#store/open.ts'

import { findPostgres, startPostgres } from '../support/postgres.ts'
import { describeStore } from './store.ts'

describe('SQLite', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-store-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  describeStore(() => `file:${path.join(dir, 'store.sqlite')}`)
})

const bin = await findPostgres()

describe.skipIf(bin === undefined)(
  'PostgreSQL (skipped where Debian has no postgresql package installed)',
  () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    beforeAll(async () => {
      server = await startPostgres(bin ?? '')
    })
    afterAll(() => server.stop())
    describeStore(() => server.url)

    test('a connection that breaks under a question is told as a database that is away', async () => {
      const store = await openStore(server.url)
      const connect = () => new pg.Client({ connectionString: server.url })
      const [locking, watching] = [connect(), connect()]
      await Promise.all([locking.connect(), watching.connect()])
      await locking.query('begin')
      await locking.query('lock table characters')
      const { characters } = store.t
      const asking = [
        store.db.select().from(characters),
        store.atomically((to) => [to.delete(characters)]),
      ].map((answer) => answer.then(String, (thrown: unknown) => toAppError(thrown)))
      const waiting = `select pid from pg_stat_activity where wait_event_type = 'Lock'`
      await expect.poll(async () => (await watching.query(waiting)).rowCount, { interval: 10 }).toBe(2)
      await watching.query(`select pg_terminate_backend(pid) from (${waiting}) waiting`)
      const away = { code: 'unavailable', facts: { server: 'PostgreSQL' } }
      expect(await Promise.all(asking)).toMatchObject([away, away])
      await Promise.all([locking.end(), watching.end(), store.close()])
    })
  },
)
