/** The same contract as the fake's, held by a stock Open WebUI; and our function inside it, told of a real thumb. */
import { readFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { openOpenWebUi, type OpenWebUi } from '#openwebui/client.ts'
import { installFunction } from '#openwebui/install-functions.ts'

import { createUser, mintApiKey, signIn, startOpenWebUi } from '../../scripts/setup/open-webui.mjs'
import { freePort } from '../../scripts/setup/ports.mjs'
import { MODELS, openWebUiSuite, type Subject } from '../contract/open-webui.ts'
import { FAKE_MODEL } from '../support/fake-server.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'

const ADMIN = { name: 'Admin', email: 'admin@localhost', password: 'admin-password-of-the-test' }
const USER = { name: 'Tom', email: 'tom@localhost', password: 'user-password-of-the-test' }

let subject: Subject

beforeAll(async () => {
  subject = await openRealOpenWebUi()
})
afterAll(() => subject.close())

/** Its only model server is a fake that lists the models of the suite. */
async function openRealOpenWebUi(): Promise<Subject> {
  const root = await mkdtemp(path.join(tmpdir(), 'troupe-open-webui-'))
  const provider = await openFakeOpenAi({ models: MODELS.map((name) => ({ ...FAKE_MODEL, name })) })
  const server = await startOpenWebUi({
    port: await freePort(),
    dataDir: path.join(root, 'data'),
    logFile: path.join(root, 'open-webui.log'),
    sidecarUrl: provider.origin,
    connectionKey: 'test-connection-key-that-is-long-enough-01234',
    jwtSecret: 'test-jwt-secret-that-is-long-enough-0123456789',
    secretKey: 'test-webui-secret-that-is-long-enough',
    admin: ADMIN,
  })
  const adminToken = await signIn(server.url, ADMIN)
  const { token: userToken } = await createUser(server.url, adminToken, USER)
  return {
    url: server.url,
    adminToken,
    adminKey: await mintApiKey(server.url, adminToken),
    userToken,
    async close() {
      await server.stop()
      await provider.close()
      await rm(root, { recursive: true, force: true })
    },
  }
}

openWebUiSuite('Open WebUI 0.12.4', () => Promise.resolve({ ...subject, close: () => Promise.resolve() }))

describe('our function in Open WebUI', () => {
  interface Told {
    path: string
    key: string | undefined
    body: unknown
  }
  const told: Told[] = []
  /** People whom Open WebUI still listed when it told of their deletion. */
  const stillListed: string[] = []
  const receive = async (body: { name: string; id: string }) => {
    if (body.name === 'user.deleted' && (await client.listUserIds()).has(body.id)) stillListed.push(body.id)
  }
  const sidecar = createServer((request, response) => {
    let said = ''
    request.on('data', (chunk: Buffer) => (said += chunk.toString()))
    request.on('end', () => {
      const body = JSON.parse(said) as { name: string; id: string }
      void receive(body).then(() => {
        told.push({ path: request.url ?? '', key: request.headers.authorization, body })
        response.writeHead(202).end()
      })
    })
  })
  let client: OpenWebUi

  beforeAll(async () => {
    await new Promise<void>((resolve) => sidecar.listen(0, '127.0.0.1', resolve))
    client = openOpenWebUi({ url: subject.url, apiKey: subject.adminKey })
    const content = await readFile(new URL('../../functions/troupe_events.py', import.meta.url), 'utf8')
    const url = `http://127.0.0.1:${String((sidecar.address() as AddressInfo).port)}`
    await installFunction(
      { id: 'troupe_events', content, valves: { sidecar_url: url, key: 'events-key' } },
      client,
    )
  })
  afterAll(async () => {
    await client.close()
    await new Promise((resolve) => sidecar.close(resolve))
  })

  async function asUser(method: string, route: string, body?: unknown): Promise<{ id: string }> {
    const answer = await fetch(`${subject.url}${route}`, {
      method,
      headers: { authorization: `Bearer ${subject.userToken}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    expect(answer.status).toBe(200)
    return (await answer.json()) as { id: string }
  }

  const event = (name: string, id: string): Told => ({
    path: '/troupe/api/openwebui/events',
    key: 'Bearer events-key',
    body: { name, id },
  })
  const arrived = (expected: Told) => expect.poll(() => told, { timeout: 10_000 }).toContainEqual(expected)

  test('tells of a thumb, of another click, and of its withdrawal, by id only', async () => {
    const { id } = await asUser('POST', '/api/v1/evaluations/feedback', {
      type: 'rating',
      data: { rating: 1, model_id: MODELS[1], comment: 'private words' },
      meta: { chat_id: 'chat-1', message_id: 'message-1' },
    })
    await arrived(event('feedback.created', id))
    await asUser('POST', `/api/v1/evaluations/feedback/${id}`, { type: 'rating', data: { rating: -1 } })
    await arrived(event('feedback.updated', id))
    await asUser('DELETE', `/api/v1/evaluations/feedback/${id}`)
    await arrived(event('feedback.deleted', id))
  })

  test('tells of a deleted chat and of a deleted person, and of nothing else', async () => {
    const chat = await asUser('POST', '/api/v1/chats/new', { chat: { title: 'private title', messages: [] } })
    await asUser('DELETE', `/api/v1/chats/${chat.id}`)
    await arrived(event('chat.deleted', chat.id))

    const person = { name: 'Ada', email: 'ada@localhost', password: 'another-password-of-the-test' }
    const { id } = await createUser(subject.url, subject.adminToken, person)
    const answer = await fetch(`${subject.url}/api/v1/users/${id}`, {
      method: 'DELETE',
      headers: { authorization: `Bearer ${subject.adminToken}` },
    })
    expect(answer.status).toBe(200)
    await arrived(event('user.deleted', id))
    expect(stillListed).toEqual([])

    expect(told.every(({ body }) => Object.keys(body as object).join() === 'name,id')).toBe(true)
    expect(told).toHaveLength(5)
    expect(JSON.stringify(told)).not.toContain('private')
  })
})
