import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe } from 'vitest'

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
  },
)
