import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { openEngines } from '#rag/index.ts'
import { openPostgresLexicalIndex } from '#rag/lexical.postgres.ts'
import { openSqliteLexicalIndex } from '#rag/lexical.sqlite.ts'

import { openFaultProxy } from '../support/fault-proxy.ts'
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

    test('a server that vanished without a word is asked anew when it is back', async () => {
      const proxy = await openFaultProxy(server.port)
      const databaseUrl = server.url.replace(String(server.port), String(proxy.port))
      const { lexical, close } = await openEngines({
        ...{ databaseUrl, connections: 1, answerTimeoutMs: 100, dataDir: '', deployment: 'test' },
      })
      // So that there is a connection that looks well.
      await lexical.ping()
      proxy.set({ kind: 'blackhole' })
      await expect(lexical.ping()).rejects.toMatchObject({ code: 'unavailable' })
      proxy.set({ kind: 'none' })
      await lexical.ping()
      await Promise.all([close(), proxy.close()])
    })
  },
)
