/** The whole app on a real PostgreSQL: one that has few connections to give, and another clock than the machine of the app. */
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts'

const bin = await findPostgres()

const BEHIND_MS = 180_000

describe.skipIf(bin === undefined)('on PostgreSQL', () => {
  let server: PostgresServer
  let ollama: FakeOllama
  let troupe: TestApp
  let model: string
  let watcher: pg.Client
  beforeAll(async () => {
    server = await startPostgres(bin ?? '')
    ollama = await openFakeOllama()
    troupe = await openTestApp(
      {
        ...{ DATABASE_URL: server.url, ANALYTICS_DATABASE_URL: server.url, DATABASE_CONNECTIONS: '4' },
        ...{ OLLAMA_BASE_URL: ollama.origin, TROUPE_CALLS_PER_SECOND: '0' },
      },
      { now: () => Date.now() - BEHIND_MS },
    )
    watcher = new pg.Client({ connectionString: server.url })
    await watcher.connect()
    model = await troupe.importCard({ name: 'Mira' })
  })
  afterAll(async () => {
    await watcher.end()
    await troupe.close()
    await ollama.close()
    await server.stop()
  })

  const ask = () => {
    const body = { model, messages: [{ role: 'user', content: 'Hello' }] }
    return troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
  }
  const numberOf = async (query: string) =>
    Number((await watcher.query<{ number: string }>(query)).rows[0]?.number)

  test('records say when they were written by the clock of the database', async () => {
    await (await ask()).arrayBuffer()
    const age = await numberOf(
      'select extract(epoch from clock_timestamp()) * 1000 - max(recorded_at_ms) as number from call_records',
    )
    expect(Math.abs(age)).toBeLessThan(BEHIND_MS / 3)
  })

  test('all pools together hold no more than DATABASE_CONNECTIONS', async () => {
    const count = () =>
      numberOf(
        "select count(*) as number from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
      )
    const base = await troupe.request('POST', '/troupe/api/knowledge/bases', { body: { name: 'Base' } })
    const { id } = (await base.json()) as { id: string }
    const look = (question: string) =>
      troupe.request('POST', '/troupe/api/knowledge/test', { body: { bases: [id], question } })
    const paths = ['characters', 'keys', 'analytics/overview', 'knowledge/bases']
    const read = () => Promise.all(paths.map((path) => troupe.request('GET', `/troupe/api/${path}`)))
    for (const answer of [await ask(), await look('lamp'), ...(await read())])
      expect(`${answer.url} ${String(answer.status)} ${answer.ok ? '' : await answer.text()}`).toMatch(
        / 20\d/,
      )
    const done = new AbortController()
    const work = Promise.all(
      Array.from({ length: 12 }, async (_, at) => {
        await Promise.all([ask(), look(`lamp ${String(at)}`), read()])
      }),
    ).finally(() => {
      done.abort()
    })
    let most = 0
    while (!done.signal.aborted) most = Math.max(most, await count())
    await work
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(4)
  })
})
