/** The example of `docs/knowledge.md` as it stands there, with the real LangChain JS: a retriever for a chat, a loader for a base. */
import { copyFile, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test, vi } from 'vitest'

import { installClients } from '../../scripts/setup/clients.mjs'
import { openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'

let folder: string
let server: FakeOpenAi
let troupe: TestApp

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-langchain-'))
  const plugin = path.join(folder, 'langchain-plugin.mjs')
  await copyFile('docs/examples/langchain-plugin.mjs', plugin)
  await symlink((await installClients()).nodeModules, path.join(folder, 'node_modules'))
  server = await openFakeOpenAi({ answer: () => ({ chunks: ['At four [1].'] }) })
  troupe = await openTestApp({ OPENAI_API_BASE_URLS: server.url, PLUGINS: plugin })
})
afterAll(async () => {
  await troupe.close()
  await server.close()
  await rm(folder, { recursive: true, force: true })
})

test('a character looks into the retriever that its card names, and tells the source', async () => {
  const model = await troupe.importCard({ name: 'Mira', extensions: { troupe: { sources: ['harbour'] } } })
  const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'guest', scopes: ['chat'] } })
  const { secret: key } = (await made.json()) as { secret: string }
  const messages = [{ role: 'user', content: 'When was the lamp lit?' }]
  const answer = await troupe.request('POST', '/v1/chat/completions', {
    key,
    body: { model, messages, troupe: { sources: true } },
  })
  expect(await answer.json()).toMatchObject({
    choices: [{ message: { content: 'At four [1].' } }],
    sources: [{ source: { name: 'Log of 3 March' }, document: [expect.stringContaining('lit at four')] }],
  })
})

test('a loader fills a base, which is then searched like any other', async () => {
  const created = await troupe.request('POST', '/troupe/api/knowledge/bases', { body: { name: 'Harbour' } })
  const { id } = (await created.json()) as { id: string }
  const loaded = await troupe.request('POST', '/troupe/api/knowledge/loaders/logbook', { body: { base: id } })
  expect(await loaded.json()).toMatchObject({ results: [{ status: 'created' }, { status: 'created' }] })
  const found = async () => {
    const answer = await troupe.request('POST', '/troupe/api/knowledge/test', {
      body: { question: 'Where lay the schooner at anchor?', bases: [id] },
    })
    return ((await answer.json()) as { passages: { text: string }[] }).passages.map(({ text }) => text)
  }
  await vi.waitUntil(async () => (await found()).length > 0, { timeout: 60_000, interval: 300 })
  expect((await found())[0]).toContain('behind the reef')
})
