import { createHash } from 'node:crypto'
import { Writable } from 'node:stream'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { runCli } from '#cli/run.ts'

import { ADMIN_KEY, CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { createGate } from '../support/fake-server.ts'

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
  const audit = await troupe.request('GET', `/troupe/api/audit?target=${encodeURIComponent('model owner')}`)
  expect(await audit.json()).toMatchObject({
    events: [{ action: 'make_model', detail: { from: 'fake:1b', character: id } }],
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

describe('a pull', () => {
  const layer = { digest: `sha256:${'a'.repeat(64)}`, totalBytes: 2_000_000_000, stepBytes: 500_000_000 }
  const pull = (model: string, signal?: AbortSignal) =>
    troupe.request('POST', '/troupe/api/models/pull', { body: { model }, ...(signal && { signal }) })
  const linesOf = async (answer: Response) =>
    (await answer.text())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)

  async function command(args: string[], isTTY = false) {
    const said = { out: '', err: '' }
    const into = (stream: 'out' | 'err') =>
      Object.assign(
        new Writable({
          write(chunk: Buffer, _encoding, done) {
            said[stream] += chunk.toString()
            done()
          },
        }),
        { isTTY },
      )
    const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
    const code = await runCli(['models', ...args], { env, out: into('out'), err: into('err') })
    return { code, ...said }
  }

  test.each(['new:1b', 'hf.co/owner/New-1B-GGUF:Q4_K_M', '127.0.0.1:5000/owner/new:1b'])(
    'of %s tells how far it is in lines, the last one that the model is ready, and it can be asked',
    async (model) => {
      ollama.offer(model, { layers: [{ ...layer, digest: digestOf(Buffer.from(model)) }] })
      const answer = await pull(model)
      expect(answer.headers.get('content-type')).toBe('application/x-ndjson')
      const lines = await linesOf(answer)
      expect(lines[0]).toEqual({ status: 'pulling manifest', completedBytes: 0, totalBytes: 0 })
      expect(lines[2]).toMatchObject({ completedBytes: 500_000_000, totalBytes: 2_000_000_000 })
      expect(lines.at(-1)).toEqual({ status: 'ready' })
      expect(await names()).toContain(model)
    },
  )

  test('that fails on the way says so in its last line', async () => {
    const lines = await linesOf(await pull('nobody:1b'))
    expect(lines.at(-1)).toMatchObject({
      error: { code: 'model_not_found', message: expect.stringContaining('nobody:1b') as string },
    })
  })

  test.each([
    [{ model: '../x' }, 400],
    [{ model: 'x', server: 'http://elsewhere' }, 404],
    [{}, 400],
  ])('%j is refused before it begins', async (body, status) => {
    expect((await troupe.request('POST', '/troupe/api/models/pull', { body })).status).toBe(status)
  })

  test('ends at the Ollama when the client leaves', async () => {
    const beforeStep = createGate()
    ollama.offer('slow:1b', { layers: [{ ...layer, digest: `sha256:${'c'.repeat(64)}`, beforeStep }] })
    const leaving = new AbortController()
    const answer = await pull('slow:1b', leaving.signal)
    const reader = answer.body?.getReader()
    await reader?.read()
    leaving.abort()
    await expect
      .poll(() => ollama.requests.findLast(({ path }) => path === '/api/pull')?.wasAborted, { interval: 5 })
      .toBe(true)
  })

  test('is one bar over all bytes on a terminal, and lines of JSON for a program', async () => {
    const layers = [
      { ...layer, digest: `sha256:${'d'.repeat(64)}` },
      { digest: `sha256:${'e'.repeat(64)}`, totalBytes: 1_000 },
    ]
    ollama.offer('bar:1b', { layers })
    const shown = await command(['pull', 'bar:1b'], true)
    expect(shown).toMatchObject({ code: 0, out: 'bar:1b is ready\n' })
    expect(shown.err).toContain(`Pulling bar:1b [${'#'.repeat(12)}${'.'.repeat(12)}] 1.0 GB of 2.0 GB`)
    expect(shown.err.endsWith(`[${'#'.repeat(24)}] 2.0 GB of 2.0 GB\n`)).toBe(true)

    const told = await command(['pull', 'bar:1b', '--json'])
    const lines = told.out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object)
    expect(lines.at(-1)).toEqual({ model: 'bar:1b', status: 'ready' })
    expect(lines).toContainEqual(expect.objectContaining({ completedBytes: 2_000_001_000 }))
    expect(told.err).toBe('')
  })

  test('that fails is a sentence, and the command fails', async () => {
    const said = await command(['pull', 'nobody:1b'])
    expect(said).toMatchObject({ code: 1, out: '' })
    expect(said.err).toMatch(/^The registry of Ollama at \S+ has no model "nobody:1b"; [^\n]*\n$/)
  })

  test('without a name lists models that can be pulled, and the profiles tell of them', async () => {
    expect((await command(['pull'])).out).toMatch(/llama3\.2:1b +1\.3 GB +Llama 3\.2\n/)
    expect((await command(['profiles'])).out).toMatch(
      /Qwen 3 +32768 +8192 +yes +yes +no +yes +temperature 0\.7/,
    )
    const told = JSON.parse((await command(['profiles', '--json'])).out) as { profiles: object[] }
    expect(told.profiles).toContainEqual(expect.objectContaining({ title: 'Mistral 7B', sampling: {} }))
  })
})
