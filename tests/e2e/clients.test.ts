/** Real clients against real model servers: every client of the list does everything of the list, or the table says why not. */
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readdir, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'

import { installClients } from '../../scripts/setup/clients.mjs'
import { EMBEDDED_MODEL, startModelServer } from '../../scripts/setup/model-server.mjs'
import { startOllama } from '../../scripts/setup/ollama.mjs'
import { signIn, startOpenWebUi } from '../../scripts/setup/open-webui.mjs'
import { freePort } from '../../scripts/setup/ports.mjs'
import { CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL, type Script } from '../support/fake-server.ts'

const execute = promisify(execFile)

const CHECKS = [
  'list',
  'chat',
  'stream',
  'tools',
  'schema',
  'image',
  'embeddings',
  '400',
  '401',
  '404',
  '429',
] as const
type Check = (typeof CHECKS)[number]

interface Client {
  name: string
  script: string
  /** The library has no call for it. */
  lacks?: readonly Check[]
}

const CLIENTS: readonly Client[] = [
  { name: 'openai-node', script: 'openai-node.mjs' },
  { name: 'openai-python', script: 'openai_python.py' },
  { name: 'LangChain JS', script: 'langchain-js.mjs', lacks: ['list'] },
  { name: 'LangChain Python', script: 'langchain_python.py', lacks: ['list'] },
  { name: 'Vercel AI SDK', script: 'ai-sdk.mjs', lacks: ['list'] },
  { name: 'LlamaIndex', script: 'llama_index_python.py', lacks: ['list'] },
  { name: 'curl', script: 'curl.mjs' },
  { name: 'Open WebUI', script: 'open-webui.mjs' },
]

/** One red pixel. */
const PICTURE =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

let folder: string
let python: string
let llama: Awaited<ReturnType<typeof startModelServer>>
let ollama: Awaited<ReturnType<typeof startOllama>>
/** What a model of 135 million parameters cannot do by itself: call a tool, see a picture. */
let scripted: FakeOpenAi
let troupe: TestApp
let openWebUi: Awaited<ReturnType<typeof startOpenWebUi>>
let env: Record<string, string | undefined>

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-clients-'))
  const installed = await installClients()
  python = installed.python
  const scripts = path.join(import.meta.dirname, 'clients')
  for (const file of await readdir(scripts)) await copyFile(path.join(scripts, file), path.join(folder, file))
  await symlink(installed.nodeModules, path.join(folder, 'node_modules'))

  llama = await startModelServer({ logFile: path.join(folder, 'llama.log') })
  ollama = await startOllama({
    dataDir: path.join(folder, 'ollama'),
    logFile: path.join(folder, 'ollama.log'),
  })
  scripted = await openFakeOpenAi({ answer: ({ body }) => scriptFor(body) })
  const openWebUiPort = await freePort()
  troupe = await openTestApp({
    OPENAI_API_BASE_URLS: `${llama.url}/v1;${scripted.url}`,
    OLLAMA_BASE_URL: ollama.url,
    TROUPE_CONTEXT_TOKENS: '2048',
    OPENWEBUI_URL: `http://127.0.0.1:${String(openWebUiPort)}`,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'clients', scopes: ['chat', 'models', 'embeddings', 'base-models'] },
  })
  const gone = await troupe.importCard({ name: 'Gone' })
  const admin = await startAsClient(openWebUiPort)
  env = {
    PATH: process.env['PATH'],
    BASE_URL: `${troupe.url}/v1`,
    KEY: ((await made.json()) as { secret: string }).secret,
    WRONG_KEY: 'troupe_nobody',
    CHARACTER: await troupe.importCard({ name: 'Mira' }),
    SCRIPTED: await troupe.importCard({ name: 'Vera', extensions: { troupe: { model: FAKE_MODEL.name } } }),
    EMBEDDER: EMBEDDED_MODEL,
    PICTURE,
    OPEN_WEBUI_URL: openWebUi.url,
    OPEN_WEBUI_TOKEN: admin,
    GONE: gone,
  }
  // Open WebUI does not ask for a model that it does not know; this one leaves after it was listed.
  await fetch(`${openWebUi.url}/api/models`, { headers: { authorization: `Bearer ${admin}` } })
  await troupe.request('DELETE', `/troupe/api/characters/${gone}`)
})

/** A stock Open WebUI that knows nothing but our address and key; answers the session of its admin. */
async function startAsClient(port: number): Promise<string> {
  const admin = { email: 'admin@localhost', password: 'admin-password-of-the-test', name: 'Admin' }
  openWebUi = await startOpenWebUi({
    port,
    dataDir: path.join(folder, 'open-webui'),
    logFile: path.join(folder, 'open-webui.log'),
    sidecarUrl: troupe.url,
    connectionKey: CONNECTION_KEY,
    jwtSecret: JWT_SECRET,
    secretKey: 'webui-secret-of-the-end-to-end-tests',
    admin,
    env: { BYPASS_EMBEDDING_AND_RETRIEVAL: 'false', RAG_EMBEDDING_MODEL: EMBEDDED_MODEL },
  })
  return signIn(openWebUi.url, admin)
}

afterAll(async () => {
  await openWebUi.stop()
  await troupe.close()
  await Promise.all([llama.stop(), ollama.stop(), scripted.close()])
  await rm(folder, { recursive: true, force: true })
})

function scriptFor(body: Record<string, unknown>): Script {
  const said = JSON.stringify(body['messages'])
  if (said.includes('12 degrees')) return { chunks: ['It is ', '12 degrees.'] }
  if (body['tools'] !== undefined)
    return { chunks: [], toolCalls: [{ name: 'get_weather', arguments: { city: 'Oslo' } }] }
  return { chunks: [said.includes('data:image/png') ? 'A picture.' : 'No picture.'] }
}

const Line = z.object({ check: z.enum(CHECKS), ok: z.boolean(), detail: z.string() })
type Line = z.infer<typeof Line>

async function runClient({ script }: Client, checks: readonly Check[]): Promise<Line[]> {
  const command = script.endsWith('.py') ? python : process.execPath
  const options = { cwd: folder, env: { ...env, CHECKS: checks.join(',') }, timeout: 120_000 }
  const { stdout } = await execute(command, [path.join(folder, script)], options)
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => Line.parse(JSON.parse(line)))
}

test('every client does everything that its library has a call for', async () => {
  const results = new Map<string, Line[]>()
  for (const client of CLIENTS)
    results.set(
      client.name,
      await runClient(
        client,
        CHECKS.filter((check) => check !== '429'),
      ),
    )
  for (const client of CLIENTS) {
    // Whoever tries keys is slowed down by address; for the rest of that minute a wrong key is a 429.
    for (let guess = 0; guess < 30; guess++)
      await troupe.request('GET', '/v1/models', { key: 'troupe_nobody' })
    results.get(client.name)?.push(...(await runClient(client, ['429'])))
  }

  const failures: string[] = []
  const rows = CLIENTS.map(({ name, lacks = [] }) => {
    const cells = CHECKS.map((check) => {
      if (lacks.includes(check)) return 'no call'
      const line = results.get(name)?.find((each) => each.check === check)
      if (line?.ok === true) return 'ok'
      failures.push(`${name} ${check}: ${line?.detail ?? 'did not run'}`)
      return 'FAILS'
    })
    return [name.padEnd(17), ...cells.map((cell) => cell.padEnd(10))].join(' ')
  })
  const head = [' '.repeat(17), ...CHECKS.map((check) => check.padEnd(10))].join(' ')
  process.stdout.write(`${[head, ...rows].join('\n')}\n`)
  expect(failures.join('\n\n')).toBe('')
}, 600_000)
