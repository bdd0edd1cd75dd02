import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe } from 'vitest'

import { openPostgresLexicalIndex } from '#rag/lexical.postgres.ts'
import { openSqliteLexicalIndex } from '#rag/lexical.sqlite.ts'

import { findPostgres, startPostgres } from '../support/postgres.ts'
import { describeLexicalIndex } from './lexical.ts'

describe('SQLite', () => {
  let dir: string
  beforeAll(async () => {
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-words-'))
  })
  afterAll(() => rm(dir, { recursive: true, force: true }))
  const open = () => Promise.resolve(openSqliteLexicalIndex(path.join(dir, 'words.sqlite')))
  describeLexicalIndex(open, open)
})

const bin = await findPostgres()

describe.skipIf(bin === undefined)(
  'PostgreSQL (skipped where Debian has no postgresql package installed)',
  () => {
    let server: Awaited<ReturnType<typeof startPostgres>>
    let pool: pg.Pool
    beforeAll(async () => {
      server = await startPostgres(bin ?? '')
      pool = new pg.Pool({ connectionString: server.url })
    })
    afterAll(async () => {
      await pool.end()
      await server.stop()
    })
    const open = () => openPostgresLexicalIndex(pool)
    describeLexicalIndex(open, open)
  },
)
