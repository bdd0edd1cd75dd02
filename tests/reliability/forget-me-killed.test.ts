/** Row 39 over PostgreSQL and Redis: a process that is killed while it forgets people, and quotas that go with them. */
import { randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { expect } from 'vitest'

import { pseudonym } from '#base/ids.ts'
import { createVault } from '#base/vault.ts'
import { isGenuine, type SignedReceipt } from '#privacy/receipt.ts'
import { openPseudonyms } from '#privacy/pseudonyms.ts'
import { openDump } from '#store/dump.ts'
import { openStore } from '#store/open.ts'

import { ADMIN_KEY, CONNECTION_KEY, importCard, JWT_SECRET } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { dumpRedis, hasRedis, startRedis } from '../support/redis.ts'
import { isLong, missing, reliabilityTest } from '../support/reliability.ts'

const PEOPLE = isLong ? 100 : 12
const FORGOTTEN = isLong ? 40 : 6
const SECRET = 'a pseudonym secret that is long enough for this test'
const FIELD_KEY = 'a field secret that is long enough for this test, too'
const ERASURES = 'erasures.jsonl'

const bin = await findPostgres()

interface Somebody {
  id: string
  chatId: string
  said: string
}

const api = ({ url }: SidecarProcess, method: string, where: string) =>
  fetch(`${url}/troupe/api${where}`, { method, headers: { authorization: `Bearer ${ADMIN_KEY}` } })

async function chat({ url }: SidecarProcess, model: string, { id, chatId, said }: Somebody): Promise<void> {
  const answer = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${CONNECTION_KEY}`,
      'content-type': 'application/json',
      'x-openwebui-user-jwt': await userToken(id),
      'x-troupe-chat-id': chatId,
    },
    body: JSON.stringify({ model, messages: [{ role: 'user', content: said }] }),
  })
  expect(answer.status).toBe(200)
  await answer.arrayBuffer()
}

/** Rows of calls and samples that are left of somebody. */
async function leftOf(sidecar: SidecarProcess, { id }: Somebody): Promise<number> {
  const answer = await api(sidecar, 'GET', `/privacy/people/${id}`)
  const { rows } = (await answer.json()) as { rows: { analytics: Record<string, number> } }
  return (rows.analytics['call_records'] ?? 0) + (rows.analytics['text_samples'] ?? 0)
}

const erasuresIn = async (dataDir: string) =>
  (await readFile(path.join(dataDir, ERASURES), 'utf8').catch(() => '')).split('\n').length - 1

async function filesOf(dataDir: string): Promise<string> {
  const entries = await readdir(dataDir, { recursive: true, withFileTypes: true })
  const files = entries.filter((entry) => entry.isFile())
  const texts = files.map((entry) => readFile(path.join(entry.parentPath, entry.name), 'latin1'))
  return (await Promise.all(texts)).join('\n')
}

async function tablesOf(url: string): Promise<string> {
  const dump = await openDump(url)
  let text = ''
  for (const table of dump.tables) for await (const row of dump.rows(table)) text += JSON.stringify(row)
  await dump.close()
  return text
}

reliabilityTest(
  39,
  'forget-me: PostgreSQL and Redis, killed in the middle',
  async ({ counters, figures }) => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-forget-'))
    const [postgres, redis, ollama] = await Promise.all([
      startPostgres(bin ?? ''),
      startRedis(),
      openFakeOllama(),
    ])
    const start = () =>
      startSidecar({
        TROUPE_DATA_DIR: dataDir,
        TROUPE_ADMIN_KEY: ADMIN_KEY,
        TROUPE_CONNECTION_KEY: CONNECTION_KEY,
        TROUPE_PSEUDONYM_SECRET: SECRET,
        TROUPE_FIELD_KEYS: FIELD_KEY,
        TROUPE_CALLS_PER_SECOND: '0',
        TROUPE_TOKENS_PER_MONTH: '1000000',
        TROUPE_WARM_CHARACTERS: '0',
        OLLAMA_BASE_URL: ollama.origin,
        OPENWEBUI_URL: 'http://127.0.0.1:9',
        OPENWEBUI_JWT_SECRET: JWT_SECRET,
        DATABASE_URL: postgres.url,
        ANALYTICS_DATABASE_URL: postgres.url,
        REDIS_URL: redis.url,
      })
    let sidecar = await start()
    const model = await importCard(sidecar.url, {
      extensions: { troupe: { sampling: { share: 1, days: 7 } } },
    })
    const people = Array.from({ length: PEOPLE }, (_, at) => ({
      id: `person-${String(at)}-${randomUUID()}`,
      chatId: randomUUID(),
      said: `marker-of-${String(at)}-${randomUUID()}`,
    }))
    for (const somebody of people) await chat(sidecar, model, somebody)
    const [gone, others] = [people.slice(0, FORGOTTEN), people.slice(FORGOTTEN)]

    const store = await openStore(postgres.url)
    const pseudonyms = await openPseudonyms({
      ...{ store, vault: createVault([FIELD_KEY]), secret: SECRET, now: Date.now },
      hasOlderRecords: () => Promise.resolve(false),
    })
    await store.close()
    const limitsOf = ({ id }: Somebody) => pseudonym(SECRET, 'limits', id)
    const namesOf = (each: Somebody) => [
      ...[each.id, each.chatId, each.said, limitsOf(each)],
      ...[...pseudonyms.all('person', each.id), ...pseudonyms.all('chat', each.chatId)],
    ]
    const everywhere = async () =>
      (await Promise.all([tablesOf(postgres.url), dumpRedis(redis.url), filesOf(dataDir)])).join('\n')
    // The quotas of all of them are in the database and in Redis.
    const isCounted = async () => {
      const [tables, kept] = await Promise.all([tablesOf(postgres.url), dumpRedis(redis.url)])
      return people.every((each) => [tables, kept].every((text) => text.includes(`:${limitsOf(each)}:`)))
    }
    await expect.poll(isCounted, { timeout: 30_000, interval: 200 }).toBe(true)

    const asked = gone.map((each) =>
      api(sidecar, 'DELETE', `/privacy/people/${each.id}`).catch(() => undefined),
    )
    while ((await erasuresIn(dataDir)) === 0) await new Promise((resolve) => setImmediate(resolve))
    await sidecar.kill()
    const acknowledged = (await Promise.all(asked)).filter((answer) => answer?.status === 200).length
    sidecar = await start()
    // Whoever was put down as erased is erased by the start; nobody is so by half.
    const left = async () => Promise.all(gone.map((each) => leftOf(sidecar, each)))
    const isEnded = async () => {
      const rows = await left()
      return rows.includes(0) && rows.every((count) => count === 0 || count === 2)
    }
    await expect.poll(isEnded, { timeout: 30_000, interval: 100 }).toBe(true)
    figures['erased by the next start'] = (await left()).filter((rows) => rows === 0).length

    await Promise.all(others.map((each) => chat(sidecar, model, each)))
    for (const each of gone) {
      const answer = await api(sidecar, 'DELETE', `/privacy/people/${each.id}`)
      if (!isGenuine((await answer.json()) as SignedReceipt)) counters.lost += 1
    }
    await sidecar.stop()
    const text = `${await everywhere()}\n${sidecar.output()}`
    counters.leaked += gone.flatMap(namesOf).filter((name) => text.includes(name)).length
    for (const each of others) if (!text.includes(`:${limitsOf(each)}:`)) counters.lost += 1
    sidecar = await start()
    for (const each of others) if ((await leftOf(sidecar, each)) !== 4) counters.lost += 1
    Object.assign(figures, {
      people: PEOPLE,
      forgotten: FORGOTTEN,
      'acknowledged before the kill': acknowledged,
    })
    await sidecar.stop()
    await Promise.all([ollama.close(), redis.stop(), postgres.stop()])
    await rm(dataDir, { recursive: true, force: true })
  },
  { skip: missing({ PostgreSQL: bin !== undefined, Redis: hasRedis }) },
)
