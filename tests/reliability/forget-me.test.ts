/** Row 39: who is forgotten is nowhere, also after late events, a kill in the middle and a restored backup; and nobody else is touched. */
import { appendFile, cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { SignJWT } from 'jose'
import { expect } from 'vitest'

import { pseudonym } from '#base/ids.ts'
import { createVault } from '#base/vault.ts'
import { isGenuine, type SignedReceipt } from '#privacy/receipt.ts'
import { openPseudonyms } from '#privacy/pseudonyms.ts'
import { openRegister } from '#privacy/register.ts'
import { openStore } from '#store/open.ts'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenWebUi } from '../support/fake-open-webui.ts'
import { isLong, reliabilityTest } from '../support/reliability.ts'

const PEOPLE = isLong ? 200 : 20
const FORGOTTEN = isLong ? 20 : 6
const SECRET = 'a pseudonym secret that is long enough for this test'
const FIELD_KEY = 'a field secret that is long enough for this test, too'

const idOf = (number: number) => `person-${String(number)}-${'x'.repeat(12)}`
const chatOf = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
const said = (number: number) => `marker-of-what-${String(number)}-said`

async function chat(app: TestApp, model: string, number: number): Promise<string> {
  const jwt = await new SignJWT({ name: `Name${String(number)}`, role: 'user' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(idOf(number))
    .setIssuer('open-webui')
    .setIssuedAt()
    .setExpirationTime('5 minutes')
    .sign(new TextEncoder().encode(JWT_SECRET))
  const answer = await app.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers: {
      'x-openwebui-user-jwt': jwt,
      'x-troupe-chat-id': chatOf(number),
      'x-troupe-message-id': `answer-${String(number)}-${String(Math.random())}`,
    },
    body: { model, stream: true, messages: [{ role: 'user', content: `Hello, ${said(number)}` }] },
  })
  await readEvents(answer)
  return answer.headers.get('x-request-id') ?? ''
}

/** Everything that lies in the data folder, in the process's log, and in the answers of the API about these people. */
async function sweep(dataDir: string, words: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const entry of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = path.join(entry.parentPath, entry.name)
    const bytes = await readFile(file)
    for (const word of words) if (bytes.includes(word)) found.push(`${entry.name}: ${word}`)
  }
  return found
}

reliabilityTest(
  39,
  'forget-me: by an admin, by an event and by comparison, under load, with late events, a kill and an old copy of the databases',
  async (tally) => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-forget-'))
    const old = await mkdtemp(path.join(tmpdir(), 'troupe-forget-old-'))
    const ollama = await openFakeOllama()
    const openWebUi = await openFakeOpenWebUi()
    const env = {
      TROUPE_DATA_DIR: dataDir,
      TROUPE_PSEUDONYM_SECRET: SECRET,
      TROUPE_FIELD_KEYS: FIELD_KEY,
      TROUPE_CALLS_PER_SECOND: '0',
      OLLAMA_BASE_URL: ollama.origin,
      OPENWEBUI_URL: openWebUi.url,
      OPENWEBUI_API_KEY: openWebUi.adminKey,
      OPENWEBUI_JWT_SECRET: JWT_SECRET,
    }
    let app = await openTestApp(env)
    const log: unknown[] = []
    const restart = async (between: () => Promise<void> = () => Promise.resolve()) => {
      log.push(...app.logged)
      await app.close()
      await between()
      app = await openTestApp(env)
    }
    const model = await app.importCard({
      name: 'Mira',
      extensions: { troupe: { sampling: { share: 1, days: 7 } } },
    })
    const everybody = Array.from({ length: PEOPLE }, (_, at) => at)
    for (const number of everybody) {
      openWebUi.others.add(idOf(number))
      await chat(app, model, number)
    }
    // The only ones whose ids stand in the tables: in their role, and in the audit of it.
    for (const number of [0, 1, 2])
      await app.request('PUT', `/troupe/api/roles/${idOf(number)}`, { body: { role: 'viewer' } })
    const gone = everybody.slice(0, FORGOTTEN)
    const others = everybody.slice(FORGOTTEN)
    await restart(() => cp(dataDir, old, { recursive: true }))

    // The names under which they may stand somewhere.
    const store = await openStore(`file:${path.join(dataDir, 'troupe.sqlite')}`)
    const pseudonyms = await openPseudonyms({
      ...{ store, vault: createVault([FIELD_KEY]), secret: SECRET, now: Date.now },
      hasOlderRecords: () => Promise.resolve(false),
    })
    // Somebody who still reads keeps SQLite from writing over what was deleted.
    await store.close()
    const names = (numbers: readonly number[]) =>
      numbers.flatMap((number) => [
        ...[idOf(number), chatOf(number), said(number)],
        ...[...pseudonyms.all('person', idOf(number)), ...pseudonyms.all('chat', chatOf(number))],
      ])
    const rows = async (number: number) => {
      const answer = await app.request('GET', `/troupe/api/privacy/people/${idOf(number)}`)
      const state = (await answer.json()) as { rows: { analytics: Record<string, number> } }
      return state.rows.analytics
    }
    expect(await rows(0)).toMatchObject({ call_records: 1, text_samples: 1 })
    expect(await sweep(dataDir, pseudonyms.all('person', idOf(0)))).not.toEqual([])

    // Under load: the others go on talking.
    const talking = Promise.all(others.map((number) => chat(app, model, number)))
    const receipts: SignedReceipt[] = []
    const events = await app.request('POST', '/troupe/api/keys', { body: { name: 'e', scopes: ['events'] } })
    const { secret: eventsKey } = (await events.json()) as { secret: string }
    for (const number of gone) {
      openWebUi.others.delete(idOf(number))
      if (number % 3 === 0) {
        const answer = await app.request('DELETE', `/troupe/api/privacy/people/${idOf(number)}`)
        receipts.push((await answer.json()) as SignedReceipt)
      } else if (number % 3 === 1) {
        const body = { name: 'user.deleted', id: idOf(number) }
        const told = await app.request('POST', '/troupe/api/openwebui/events', { key: eventsKey, body })
        expect(told.status).toBe(202)
      }
    }
    // Of the last third nobody told us; the comparison finds out.
    const compared = await app.request('POST', '/troupe/api/openwebui/people/reconcile', {
      body: { force: true },
    })
    expect(await compared.json()).toEqual({ erased: Math.floor(FORGOTTEN / 3), refused: false })
    await talking

    // Late: requests that were on their way, and one person of the middle third, whose erasure was cut off by a kill.
    for (const number of gone) await chat(app, model, number)
    for (const number of gone)
      expect(Object.values(await rows(number)).filter((count) => count > 0)).toEqual([])
    await restart()
    tally.counters.leaked += (await sweep(dataDir, names(gone))).length
    for (const receipt of receipts) {
      expect(isGenuine(receipt)).toBe(true)
      expect(isGenuine({ ...receipt, receipt: { ...receipt.receipt, subject: 'other' } })).toBe(false)
      expect(receipt.receipt).toMatchObject({
        rowsAfter: { analytics: { call_records: 0, text_samples: 0 } },
      })
    }
    tally.counters.lost += (await Promise.all(others.map(rows))).filter(
      (counts) => counts['call_records'] !== 2 || counts['text_samples'] !== 2,
    ).length

    // A copy of the databases from before comes back.
    await restart(async () => {
      for (const name of ['troupe.sqlite', 'analytics.sqlite']) {
        for (const end of ['', '-wal', '-shm']) await rm(path.join(dataDir, name + end), { force: true })
        await cp(path.join(old, name), path.join(dataDir, name))
      }
    })
    await restart()
    tally.counters.leaked += (await sweep(dataDir, names(gone))).length
    tally.counters.lost += (await Promise.all(others.map(rows))).filter(
      (counts) => counts['call_records'] !== 1,
    ).length
    log.push(...app.logged)
    for (const word of gone.flatMap((number) => [idOf(number), said(number)]))
      if (JSON.stringify(log).includes(word)) tally.counters.leaked += 1
    Object.assign(tally.figures, { people: PEOPLE, forgotten: FORGOTTEN, receipts: receipts.length })
    await app.close()
    await Promise.all([ollama.close(), openWebUi.close()])
    await Promise.all([dataDir, old].map((folder) => rm(folder, { recursive: true, force: true })))
  },
)

reliabilityTest(
  39,
  'forget-me: an erasure that was cut off by a kill is ended by the next start',
  async (tally) => {
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-forget-'))
    const store = await openStore('file::memory:')
    const register = await openRegister({ store, secret: SECRET, dataDir, now: Date.now })
    await register.bury('person', ['somebody', pseudonym(SECRET, 'person', 'somebody')])
    // The database did not survive; the file beside it did, but for its last, half-written line.
    await store.db.delete(store.t.tombstones)
    await appendFile(path.join(dataDir, 'erasures.jsonl'), '{"hash":"cut o')
    const again = await openRegister({ store, secret: SECRET, dataDir, now: Date.now })
    if (!again.isHidden('somebody')) tally.counters.leaked += 1
    if (again.isHidden('somebody else')) tally.counters.lost += 1
    expect(await store.db.select().from(store.t.tombstones)).toHaveLength(2)
    await store.close()
    await rm(dataDir, { recursive: true, force: true })
  },
)

reliabilityTest(39, 'forget-me: a list of people that is empty or cut erases nobody', async (tally) => {
  const ollama = await openFakeOllama()
  const openWebUi = await openFakeOpenWebUi()
  const app = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_URL: openWebUi.url,
    OPENWEBUI_API_KEY: openWebUi.adminKey,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  const model = await app.importCard({ name: 'Mira' })
  for (let number = 0; number < 8; number++) await chat(app, model, number)
  const answer = await app.request('POST', '/troupe/api/openwebui/people/reconcile', { body: {} })
  expect(await answer.json()).toEqual({ erased: 0, refused: true })
  for (let number = 0; number < 8; number++) {
    const state = await app.request('GET', `/troupe/api/privacy/people/${idOf(number)}`)
    const { rows } = (await state.json()) as { rows: { analytics: Record<string, number> } }
    if (rows.analytics['call_records'] !== 1) tally.counters.lost += 1
  }
  await app.close()
  await Promise.all([ollama.close(), openWebUi.close()])
})
