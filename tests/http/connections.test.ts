/** The whole app on a real PostgreSQL that has few connections to give. */
import pg from 'pg'
import { expect, test } from 'vitest'

import { CONNECTION_KEY, openTestApp } from '../support/app.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'

const bin = await findPostgres()

test.skipIf(bin === undefined)('all pools together hold no more than DATABASE_CONNECTIONS', async () => {
  const server = await startPostgres(bin ?? '')
  const ollama = await openFakeOllama()
  const troupe = await openTestApp({
    ...{ DATABASE_URL: server.url, ANALYTICS_DATABASE_URL: server.url, DATABASE_CONNECTIONS: '4' },
    ...{ OLLAMA_BASE_URL: ollama.origin, TROUPE_CALLS_PER_SECOND: '0' },
  })
  const watcher = new pg.Client({ connectionString: server.url })
  try {
    await watcher.connect()
    const count = async () => {
      const { rows } = await watcher.query<{ open: number }>(
        "select count(*)::int as open from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()",
      )
      return rows[0]?.open ?? NaN
    }
    const model = await troupe.importCard({ name: 'Mira' })
    const base = await troupe.request('POST', '/troupe/api/knowledge/bases', { body: { name: 'Base' } })
    const { id } = (await base.json()) as { id: string }
    const ask = async () => {
      const messages = [{ role: 'user', content: 'Hello' }]
      const body = { model, messages }
      return troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
    }
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
  } finally {
    await watcher.end()
    await troupe.close()
    await ollama.close()
    await server.stop()
  }
})
