/** What a person can ask of the house, over the whole app and a real Redis. */
import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'

import { pseudonym } from '#base/ids.ts'
import { findArchive, openArchive } from '#characters/formats/zip.ts'
import { createNotebook } from '#characters/notes.ts'

import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { signInAt, userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../support/fake-open-webui.ts'
import { dumpRedis, hasRedis, startRedis, type RedisServer } from '../support/redis.ts'

let redis: RedisServer
let ollama: FakeOllama
let openWebUi: FakeOpenWebUi
let troupe: TestApp
let model: string

interface Someone {
  id: string
  chatId: string
  requestId: string
  /** Pseudonyms. */
  person: string
  lasting: string
  chat: string
  session: Record<string, string>
}

beforeAll(async () => {
  if (!hasRedis) return
  redis = await startRedis()
  ollama = await openFakeOllama({ answer: () => ({ chunks: ['So it was.'] }) })
  openWebUi = await openFakeOpenWebUi()
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_URL: openWebUi.url,
    OPENWEBUI_API_KEY: openWebUi.adminKey,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
    REDIS_URL: redis.url,
    TROUPE_TOKENS_PER_MONTH: '1000000',
    TROUPE_TURNS_PER_DAY: '1000',
  })
  model = await troupe.importCard({
    name: 'Mira',
    extensions: { troupe: { sampling: { share: 1, days: 7 }, summary: true } },
  })
})
afterAll(async () => {
  if (!hasRedis) return
  await troupe.close()
  await Promise.all([ollama.close(), openWebUi.close(), redis.stop()])
})

/** So many turns that the oldest are cut, and summed up. */
const said = (marker: string) => [
  ...Array.from({ length: 60 }, (_, at) => [
    { role: 'user', content: `Question ${String(at)} of ${marker}: ${'word '.repeat(40)}` },
    { role: 'assistant', content: `Answer ${String(at)}: ${'word '.repeat(40)}` },
  ]).flat(),
  { role: 'user', content: `I am ${marker}. And now?` },
]

/** Somebody who talks to a character that keeps texts, rates the answer, and looks at the pages. */
async function meet(name: string): Promise<Someone> {
  const { id, token } = openWebUi.addPerson(name, 'admin')
  const chatId = randomUUID()
  const answer = await troupe.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers: {
      'x-openwebui-user-jwt': await userToken(id),
      'x-troupe-chat-id': chatId,
      'x-troupe-message-id': `answer-to-${name}`,
    },
    body: { model, messages: said(`marker-${name}`) },
  })
  expect(answer.status).toBe(200)
  await answer.arrayBuffer()
  const requestId = answer.headers.get('x-request-id') ?? ''
  const rating = { request: requestId, value: 1, source: 'test' }
  await troupe.request('POST', '/troupe/api/analytics/ratings', { body: rating })
  const told = await troupe.request('GET', `/troupe/api/requests/${requestId}`)
  const record = (await told.json()) as { person: string; chat: string }
  const session = await signInAt(troupe, token)
  await vi.waitFor(
    async () => expect(await dumpRedis(redis.url)).toContain(`summary-chats:${record.person}`),
    10_000,
  )
  const secret = await readFile(path.join(troupe.dataDir, 'pseudonym-secret'), 'utf8')
  const lasting = pseudonym(secret, 'limits', id)
  return { id, chatId, requestId, ...{ person: record.person, chat: record.chat, lasting }, session }
}

const isSignedIn = async ({ session }: Someone) =>
  (await troupe.request('GET', '/troupe/api/session', { key: null, headers: session })).status === 200

async function exported({ id }: Pick<Someone, 'id'>): Promise<Map<string, string>> {
  const answer = await troupe.request('GET', `/troupe/api/privacy/people/${id}/export`)
  const bytes = Buffer.from(await answer.arrayBuffer())
  const place = findArchive(bytes)
  if (place === undefined) throw new Error('The export is no archive')
  const archive = await openArchive(bytes, place, createNotebook())
  const files = archive.names.map(
    async (name) => [name, (await archive.open(name, 10_000_000)).toString()] as const,
  )
  return new Map(await Promise.all(files))
}

describe.runIf(hasRedis)('a person', () => {
  test('gets all that is kept of them, and nothing of anybody else', async () => {
    const [ann, ben] = [await meet('ann'), await meet('ben')]
    const files = await exported(ann)
    const read = (name: string) => JSON.parse(files.get(`${name}.json`) ?? 'null') as unknown
    expect(read('call_records')).toMatchObject([
      { id: ann.requestId, person: ann.person, chat: ann.chat },
      { kind: 'task', person: ann.person },
    ])
    expect(read('ratings')).toMatchObject([{ value: 1 }])
    expect(read('samples')).toMatchObject([{ said: 'I am marker-ann. And now?', answered: 'So it was.' }])
    expect(read('summaries')).toEqual(['So it was.'])
    expect(read('text_samples')).toMatchObject([{ id: ann.requestId }])
    const all = [...files.values()].join('\n')
    for (const word of [ben.id, ben.person, ben.lasting, ben.chat, ben.requestId, 'marker-ben'])
      expect(all).not.toContain(word)
    expect(files.get('call_records.csv')?.split('\r\n')).toHaveLength(4)
  })

  test('who is erased is signed out at once and leaves nothing in Redis; others stay', async () => {
    const [cleo, dan] = [await meet('cleo'), await meet('dan')]
    const before = await dumpRedis(redis.url)
    // What is looked for is there to be found: limits, a session, summaries.
    for (const word of [
      `rate:person:${cleo.lasting}`,
      `used:person:${cleo.lasting}`,
      `"person\\":\\"${cleo.lasting}`,
    ])
      expect(before).toContain(word)
    expect(await isSignedIn(cleo)).toBe(true)
    const answer = await troupe.request('DELETE', `/troupe/api/privacy/people/${cleo.id}`)
    expect(answer.status).toBe(200)
    expect(await isSignedIn(cleo)).toBe(false)
    expect(await isSignedIn(dan)).toBe(true)
    const left = await dumpRedis(redis.url)
    for (const word of [cleo.id, cleo.person, cleo.lasting, cleo.chat, cleo.chatId, 'marker-cleo'])
      expect(left).not.toContain(word)
    expect(left).toContain(dan.person)
    expect(await exported(cleo)).not.toContain('call_records.json')
  })

  test('is not erased by a word of Open WebUI that its own list of people denies', async () => {
    const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'e', scopes: ['events'] } })
    const { secret: key } = (await made.json()) as { secret: string }
    const told = async (id: string) => {
      const body = { name: 'user.deleted', id }
      return (await troupe.request('POST', '/troupe/api/openwebui/events', { key, body })).status
    }
    const { id } = openWebUi.addPerson('Nina', 'user')
    expect(await told(id)).toBe(409)
    expect(await told(`${id}-who-is-gone`)).toBe(202)
  })

  test('takes the texts of a chat along when Open WebUI says that it was deleted; the numbers stay', async () => {
    const eve = await meet('eve')
    const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'e', scopes: ['events'] } })
    const { secret: key } = (await made.json()) as { secret: string }
    const body = { name: 'chat.deleted', id: eve.chatId }
    expect((await troupe.request('POST', '/troupe/api/openwebui/events', { key, body })).status).toBe(202)
    const files = await exported(eve)
    expect(files.get('summaries.json')).toBe('[]')
    expect(files.get('samples.json')).toBe('[]')
    expect(JSON.parse(files.get('call_records.json') ?? '')).toMatchObject([
      { id: eve.requestId, chat: null },
      { chat: null },
    ])
    expect(await dumpRedis(redis.url)).not.toContain(eve.chat)
  })

  test('whom only the holder of a key names is found by what was sampled of them, and has a say in it', async () => {
    const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'f', scopes: ['chat'] } })
    const { id: keyId, secret: key } = (await made.json()) as { id: string; secret: string }
    const fay = `${keyId}:fay`
    const samples = async () =>
      JSON.parse((await exported({ id: fay })).get('samples.json') ?? '[]') as unknown[]
    const ask = async () => {
      const messages = [{ role: 'user', content: 'I am marker-fay.' }]
      const answer = await troupe.request('POST', '/v1/chat/completions', {
        key,
        body: { model, user: 'fay', messages },
      })
      expect(answer.status).toBe(200)
      await answer.arrayBuffer()
    }
    await ask()
    await vi.waitFor(async () => expect(await samples()).toHaveLength(1), 10_000)
    await troupe.request('POST', `/troupe/api/privacy/people/${encodeURIComponent(fay)}/objection`)
    const kept = async () => {
      const answer = await troupe.request('GET', '/troupe/api/privacy/samples')
      return ((await answer.json()) as { samples: unknown[] }).samples.length
    }
    const before = await kept()
    await ask()
    expect(await kept()).toBe(before)
  })
})

describe('new pseudonyms', () => {
  let house: TestApp
  let model: string
  let people: FakeOpenWebUi
  beforeAll(async () => {
    const server = await openFakeOllama({ answer: () => ({ chunks: ['So it was.'] }) })
    people = await openFakeOpenWebUi()
    house = await openTestApp({
      OLLAMA_BASE_URL: server.origin,
      OPENWEBUI_URL: people.url,
      OPENWEBUI_JWT_SECRET: JWT_SECRET,
      TROUPE_TURNS_PER_DAY: '2',
    })
    model = await house.importCard({ name: 'Mira' })
    return async () => {
      await house.close()
      await Promise.all([server.close(), people.close()])
    }
  })
  const rotate = () => house.request('POST', '/troupe/api/privacy/pseudonyms/rotate')
  const ask = async (id: string) => {
    const headers = { 'x-openwebui-user-jwt': await userToken(id) }
    const body = { model, messages: [{ role: 'user', content: 'Hello' }] }
    const answer = await house.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, headers, body })
    await answer.arrayBuffer()
    return answer.status
  }

  test('give nobody their quota anew', async () => {
    expect([await ask('gil'), await ask('gil')]).toEqual([200, 200])
    expect(await ask('gil')).toBe(429)
    expect((await rotate()).status).toBe(204)
    expect(await ask('gil')).toBe(429)
    expect(await ask('hal')).toBe(200)
  })

  test('sign nobody out of the pages, and an admin still ends all sessions of a person', async () => {
    const { id, token } = people.addPerson('ida', 'admin')
    const headers = await signInAt(house, token)
    const look = async () =>
      (await house.request('GET', '/troupe/api/session', { key: null, headers })).status
    expect(await look()).toBe(200)
    await rotate()
    expect(await look()).toBe(200)
    await house.request('DELETE', `/troupe/api/session/of/${id}`)
    expect(await look()).toBe(401)
  })
})
