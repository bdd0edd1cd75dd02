/** Row 2, at its hardest: the sidecar starts while the PostgreSQL of the records is down, is killed, and loses nothing. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import pg from 'pg'
import { expect } from 'vitest'

import type { Health } from '#base/health.ts'
import { openStore } from '#store/open.ts'

import { ADMIN_KEY, CONNECTION_KEY, importCard, readEvents } from '../support/app.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { missing, reliabilityTest } from '../support/reliability.ts'

const CHATS = 20

const bin = await findPostgres()

/** The id of an answer that was heard to its end. */
async function chat({ url }: SidecarProcess): Promise<string> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${CONNECTION_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'mira', stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
  })
  expect((await readEvents(answer)).at(-1)).toBe('[DONE]')
  return answer.headers.get('x-request-id') ?? ''
}

const chats = (sidecar: SidecarProcess) => Promise.all(Array.from({ length: CHATS }, () => chat(sidecar)))

const healthOf = async ({ url }: SidecarProcess) => (await (await fetch(`${url}/readyz`)).json()) as Health

reliabilityTest(
  2,
  'kill-postgres (away at the start)',
  async ({ counters, figures }) => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-away-'))
    const [postgres, ollama] = await Promise.all([startPostgres(bin ?? ''), openFakeOllama()])
    const start = (database: string) =>
      startSidecar({
        TROUPE_DATA_DIR: dataDir,
        TROUPE_ADMIN_KEY: ADMIN_KEY,
        TROUPE_CONNECTION_KEY: CONNECTION_KEY,
        TROUPE_CALLS_PER_SECOND: '0',
        ANALYTICS_DATABASE_URL: postgres.url.replace(/postgres$/, database),
        OLLAMA_BASE_URL: ollama.origin,
      })
    const before = await start('postgres')
    await importCard(before.url, { name: 'Mira' })
    await before.stop()
    const admin = new pg.Client({ connectionString: postgres.url })
    await admin.connect()
    await admin.query('create database without_tables')
    await admin.end()
    // There, and refusing: a wrong setting is told at the start, not hours later.
    await expect(start('no_such_database')).rejects.toThrow(
      /^The PostgreSQL database at \S+\/no_such_database cannot be used \(3D000\); check ANALYTICS_DATABASE_URL, .*\n$/m,
    )

    await postgres.crash()
    const first = await start('without_tables')
    figures['ms to the start while it is away'] = Math.round(first.startMs)
    const health = await healthOf(first)
    expect(health.status).toBe('degraded')
    expect(health.checks['analytics']).toMatchObject({ ok: false })
    const acknowledged = await chats(first)
    await first.kill()
    const second = await start('without_tables')
    acknowledged.push(...(await chats(second)))

    await postgres.restart()
    const backAtMs = performance.now()
    const isWhole = async () => {
      const { checks } = await healthOf(second)
      return checks['analytics']?.ok === true && checks['records']?.ok === true
    }
    await expect.poll(isWhole, { timeout: 30_000, interval: 100 }).toBe(true)
    figures['ms from its return to an empty outbox'] = Math.round(performance.now() - backAtMs)
    acknowledged.push(...(await chats(second)))
    await second.stop()

    const store = await openStore(postgres.url.replace(/postgres$/, 'without_tables'))
    const rows = await store.db.select({ id: store.t.callRecords.id }).from(store.t.callRecords)
    await store.close()
    await Promise.all([ollama.close(), postgres.stop()])
    await rm(dataDir, { recursive: true, force: true })
    const stored = new Set(rows.map(({ id }) => id))
    counters.lost = acknowledged.filter((id) => !stored.has(id)).length
    counters.duplicated = rows.length - stored.size
    figures['acknowledged'] = acknowledged.length
    expect(stored.size).toBe(acknowledged.length)
  },
  { skip: missing({ PostgreSQL: bin !== undefined }) },
)
