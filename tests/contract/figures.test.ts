import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe } from 'vitest'

import { findPostgres, startPostgres } from '../support/postgres.ts'
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
  },
)
