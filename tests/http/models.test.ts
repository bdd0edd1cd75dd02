import { createHash } from 'node:crypto'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { ADMIN_KEY, CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'

let ollama: FakeOllama
let troupe: TestApp

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin })
})
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

const make = async (body: object) => {
  const answer = await troupe.request('POST', '/troupe/api/models', { body })
  return {
    status: answer.status,
    ...((await answer.json()) as { error?: { message: string; param: string } }),
  }
}
const names = async () => {
  const answer = await troupe.request('GET', '/troupe/api/models')
  return ((await answer.json()) as { models: { name: string }[] }).models.map(({ name }) => name)
}
const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const give = (digest: string, bytes: Buffer) =>
  fetch(`${troupe.url}/troupe/api/models/files/${digest}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${ADMIN_KEY}`, 'content-type': 'application/octet-stream' },
    body: new Uint8Array(bytes),
  })

test('a model made from another one is there at once, and its character has it in a draft', async () => {
  const id = await troupe.importCard({ name: 'Owner', extensions: { troupe: { layout: 'sillytavern' } } })
  expect(
    await make({ name: 'owner', from: 'fake:1b', character: id, parameters: { temperature: 0.1 } }),
  ).toMatchObject({
    status: 201,
    character: { publishedVersion: 1, latestVersion: 2 },
  })
  expect(await names()).toContain('owner:latest')
  const version = await troupe.request('GET', `/troupe/api/characters/${id}/versions/2`)
  expect(await version.json()).toMatchObject({
    note: 'the model owner',
    card: { extensions: { troupe: { layout: 'sillytavern', model: 'owner' } } },
  })
})

describe('files', () => {
  const gguf = Buffer.from('GGUF and what follows')
  const digest = digestOf(gguf)

  test('go to the server as they are, once, and a model is made of them', async () => {
    const isThere = async () =>
      (await (await troupe.request('GET', `/troupe/api/models/files/${digest}`)).json()) as unknown
    expect(await isThere()).toEqual({ isThere: false })
    expect((await give(digest, gguf)).status).toBe(201)
    expect(await isThere()).toEqual({ isThere: true })
    expect(await make({ name: 'own:1b', files: { 'own.gguf': digest } })).toMatchObject({ status: 201 })
    expect(
      await make({ name: 'tuned:1b', from: 'fake:1b', adapters: { 'tune.gguf': digest } }),
    ).toMatchObject({ status: 201 })
    expect(await names()).toEqual(expect.arrayContaining(['own:1b', 'tuned:1b']))
    const body = {
      model: await troupe.importCard({ name: 'Speaker', extensions: { troupe: { model: 'own:1b' } } }),
    }
    const messages = [{ role: 'user', content: 'Hello' }]
    const said = await troupe.request('POST', '/v1/chat/completions', {
      key: CONNECTION_KEY,
      body: { ...body, messages },
    })
    expect(said.status).toBe(200)
    expect(ollama.chats().at(-1)?.body['model']).toBe('own:1b')
  })

  test("that are not what their digest says are refused in the server's words", async () => {
    const answer = await give(digestOf(Buffer.from('other')), gguf)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringContaining('digest mismatch') as string },
    })
    expect((await give('sha256:..%2f..', gguf)).status).toBe(400)
  })
})

test.each([
  [{ name: 'x', from: 'nobody:1b' }, 400, /nobody:1b/],
  [{ name: 'x' }, 400, /from, or files|Name either/],
  [{ name: 'x', from: 'fake:1b', files: {} }, 400, /Name either/],
  [{ name: '../x', from: 'fake:1b' }, 400, /name/],
  [{ name: 'x', from: 'fake:1b', character: 'nobody' }, 404, /nobody/],
  [{ name: 'x', from: 'fake:1b', server: 'http://elsewhere' }, 404, /Ollama servers only/],
])('%j is refused', async (body, status, message) => {
  const answer = await make(body)
  expect(answer.status).toBe(status)
  expect(answer.error?.message).toMatch(message)
})
