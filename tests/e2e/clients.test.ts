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
import { type Lesson, openCoach } from '../support/coach.ts'
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
  'quota',
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

/** Real servers: CI has time for one of them, `TROUPE_CLIENTS=all` for both. */
const SERVERS = ['Ollama', 'llama.cpp'] as const
type Server = (typeof SERVERS)[number]
const ASKED: readonly Server[] = process.env['TROUPE_CLIENTS'] === 'all' ? SERVERS : ['Ollama']

/** Of the same file, under names of their own on each: llama.cpp's server does one of the two. */
const MODELS: Readonly<Record<Server, { chats: string; embeds: string }>> = {
  Ollama: { chats: 'ollama-smollm2', embeds: 'ollama-smollm2' },
  'llama.cpp': { chats: 'llama-smollm2', embeds: 'llama-embed-smollm2' },
}

const LESSON: Lesson = {
  tool: 'get_weather',
  arguments: { city: 'Oslo' },
  result: '12 degrees',
  words: 'It is 12 degrees.',
}

/** SmolLM2's own, and how it may call a tool. */
const TEMPLATE = [
  '{{- if .Tools }}<|im_start|>system\n{{ .Tools }}\nAnswer with {"name": <name>, "parameters": <object>}<|im_end|>\n{{ end }}',
  '{{- range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}',
  '{{- range .ToolCalls }}{"name": "{{ .Function.Name }}", "parameters": {{ .Function.Arguments }}}{{ end }}<|im_end|>\n',
  '{{ end }}<|im_start|>assistant\n',
].join('')

/** One red pixel. */
const PICTURE =
  'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=='

let folder: string
let python: string
/** Sees pictures, which no model does that a test can get, and calls tools where the small model cannot be made to. */
let scripted: FakeOpenAi
let troupe: TestApp
/** A session of Open WebUI. */
let admin: string
let openWebUi: Awaited<ReturnType<typeof startOpenWebUi>>
let env: Record<string, string | undefined>
/** One for each server. */
const characters: Partial<Record<Server, string>> = {}
/** What was started, in the order in which it has to be stopped. */
const stopping: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-clients-'))
  const installed = await installClients()
  python = installed.python
  const scripts = path.join(import.meta.dirname, 'clients')
  for (const file of await readdir(scripts)) await copyFile(path.join(scripts, file), path.join(folder, file))
  await symlink(installed.nodeModules, path.join(folder, 'node_modules'))

  scripted = await openFakeOpenAi({ answer: ({ body }) => scriptFor(body) })
  stopping.push(() => scripted.close())
  const origins: Partial<Record<Server, string[]>> = {}
  for (const server of ASKED) origins[server] = await openServer(server)
  const openWebUiPort = await freePort()
  troupe = await openTestApp({
    OPENAI_API_BASE_URLS: [...(origins['llama.cpp'] ?? []), scripted.url].join(';'),
    OLLAMA_BASE_URL: (origins.Ollama ?? []).join(';'),
    TROUPE_CONTEXT_TOKENS: '2048',
    OPENWEBUI_URL: `http://127.0.0.1:${String(openWebUiPort)}`,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  admin = await startAsClient(openWebUiPort)
  env = {
    PATH: process.env['PATH'],
    BASE_URL: `${troupe.url}/v1`,
    KEY: await makeKey(),
    WRONG_KEY: 'troupe_nobody',
    SCRIPTED: await troupe.importCard({ name: 'Vera', extensions: { troupe: { model: FAKE_MODEL.name } } }),
    PICTURE,
    OPEN_WEBUI_URL: openWebUi.url,
    OPEN_WEBUI_TOKEN: admin,
  }
  for (const server of ASKED) {
    const model = { extensions: { troupe: { model: MODELS[server].chats } } }
    characters[server] = await troupe.importCard({ name: `Mira of ${server}`, ...model })
  }
})

/** Open WebUI does not ask for a model that it does not know; this one leaves after it was listed. */
async function goneCharacter(): Promise<string> {
  const gone = await troupe.importCard({ name: 'Gone' })
  const headers = { authorization: `Bearer ${admin}` }
  await (await fetch(`${openWebUi.url}/api/models?refresh=true`, { headers })).text()
  await troupe.request('DELETE', `/troupe/api/characters/${gone}`)
  return gone
}

/** Answers the addresses under which Troupe finds the server. */
async function openServer(server: Server): Promise<string[]> {
  const logFile = path.join(folder, `${server}.log`)
  const { chats, embeds } = MODELS[server]
  if (server === 'llama.cpp') {
    const llama = await startModelServer({ logFile, alias: chats })
    const embedder = await startModelServer({ logFile: `${logFile}.embed`, alias: embeds, embeds: true })
    stopping.push(
      () => llama.stop(),
      () => embedder.stop(),
    )
    return [`${llama.url}/v1`, `${embedder.url}/v1`]
  }
  const ollama = await startOllama({ dataDir: path.join(folder, 'ollama'), logFile })
  const made = await fetch(`${ollama.url}/api/create`, {
    method: 'POST',
    body: JSON.stringify({
      ...{ model: chats, from: EMBEDDED_MODEL, template: TEMPLATE, stream: false },
      // Two threads wait for each other on a machine with other work (scripts/model_server.py).
      parameters: { num_thread: 1 },
    }),
  })
  expect(made.status).toBe(200)
  const coach = await openCoach(ollama.url, LESSON)
  stopping.push(
    () => coach.close(),
    () => ollama.stop(),
  )
  return [coach.origin]
}

const SCOPES = ['chat', 'models', 'embeddings', 'base-models']

async function makeKey(limits: object = {}): Promise<string> {
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'clients', scopes: SCOPES, limits },
  })
  return ((await made.json()) as { secret: string }).secret
}

/** A key whose one call is made. */
async function usedUpKey(limits: object): Promise<string> {
  const key = await makeKey(limits)
  const body = { model: env['SCRIPTED'], messages: [{ role: 'user', content: 'Hello' }] }
  const answer = await troupe.request('POST', '/v1/chat/completions', { key, body })
  expect(answer.status).toBe(200)
  return key
}

/** A stock Open WebUI that knows nothing but our address and key; answers the session of its admin. */
async function startAsClient(port: number): Promise<string> {
  const account = { email: 'admin@localhost', password: 'admin-password-of-the-test', name: 'Admin' }
  openWebUi = await startOpenWebUi({
    port,
    dataDir: path.join(folder, 'open-webui'),
    logFile: path.join(folder, 'open-webui.log'),
    sidecarUrl: troupe.url,
    connectionKey: CONNECTION_KEY,
    jwtSecret: JWT_SECRET,
    secretKey: 'webui-secret-of-the-end-to-end-tests',
    admin: account,
    env: { BYPASS_EMBEDDING_AND_RETRIEVAL: 'false', RAG_EMBEDDING_MODEL: 'chosen later' },
  })
  return signIn(openWebUi.url, account)
}

afterAll(async () => {
  await openWebUi.stop()
  await troupe.close()
  for (const stop of stopping.reverse()) await stop()
  await rm(folder, { recursive: true, force: true })
})

function scriptFor(body: Record<string, unknown>): Script {
  const said = JSON.stringify(body['messages'])
  if (said.includes(LESSON.result)) return { chunks: [LESSON.words] }
  if (body['tools'] !== undefined)
    return { chunks: [], toolCalls: [{ name: LESSON.tool, arguments: LESSON.arguments }] }
  return { chunks: [said.includes('data:image/png') ? 'A picture.' : 'No picture.'] }
}

const Line = z.object({ check: z.enum(CHECKS), ok: z.boolean(), detail: z.string() })
type Line = z.infer<typeof Line>

const isHeldBack = (check: Check) => check === '429' || check === 'quota'
/** The used up keys first: what is used up of a minute comes back. */
const IN_ORDER = [...CHECKS].sort((one, other) => Number(isHeldBack(other)) - Number(isHeldBack(one)))

async function runClient({ script }: Client, server: Server): Promise<Line[]> {
  const command = script.endsWith('.py') ? python : process.execPath
  const own = {
    CHARACTER: characters[server],
    EMBEDDER: MODELS[server].embeds,
    // No grammar makes this llama.cpp server call a tool.
    TOOLED: server === 'Ollama' ? characters[server] : env['SCRIPTED'],
    LIMITED_KEY: await usedUpKey({ turnsPerMinute: 1 }),
    SPENT_KEY: await usedUpKey({ turnsPerDay: 1 }),
    GONE: await goneCharacter(),
  }
  const options = { cwd: folder, env: { ...env, ...own, CHECKS: IN_ORDER.join(',') }, timeout: 240_000 }
  const { stdout } = await execute(command, [path.join(folder, script)], options)
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => Line.parse(JSON.parse(line)))
}

test.each(ASKED)(
  'every client does everything on %s that its library has a call for',
  async (server) => {
    const failures: string[] = []
    const toRow = (cells: readonly string[], title: string) =>
      process.stdout.write(`${[title.padEnd(17), ...cells.map((cell) => cell.padEnd(10))].join(' ')}\n`)
    toRow(CHECKS, server)
    for (const client of CLIENTS) {
      const { name, lacks = [] } = client
      const lines = await runClient(client, server)
      const cells = CHECKS.map((check) => {
        if (lacks.includes(check)) return 'no call'
        const line = lines.find((each) => each.check === check)
        if (line?.ok === true) return 'ok'
        failures.push(`${name} ${check}: ${line?.detail ?? 'did not run'}`)
        return 'FAILS'
      })
      toRow(cells, name)
    }
    expect(failures.join('\n\n')).toBe('')
  },
  600_000,
)
