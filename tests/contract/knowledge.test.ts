import { afterAll, beforeAll, describe } from 'vitest'

import { findPostgres, startPostgres } from '../support/postgres.ts'
import { describeKnowledge } from './knowledge.ts'

describe('knowledge on SQLite', () => {
  describeKnowledge(() => 'file::memory:')
})

const bin = await findPostgres()

describe.skipIf(bin === undefined)(
  'knowledge on PostgreSQL (skipped where Debian has no postgresql package installed)',
  () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    beforeAll(async () => {
      server = await startPostgres(bin ?? '')
    })
    afterAll(() => server.stop())
    describeKnowledge(() => server.url)
  },
)
