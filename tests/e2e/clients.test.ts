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

/** What is used up of a minute comes back, and Open WebUI forgets a model that is gone. */
const FIRST: readonly Check[] = ['404', '429', 'quota']
const IN_ORDER = [...FIRST, ...CHECKS.filter((check) => !FIRST.includes(check))]

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

const PARAMETERS = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
const SCHEMA = {
  title: 'person',
  type: 'object',
  properties: { name: { type: 'string', enum: ['Mira'] } },
  required: ['name'],
  additionalProperties: false,
}

/** What clients of both languages ask, and get back. */
const ASKED_ALIKE = {
  checks: IN_ORDER,
  question: 'What is the weather in Oslo?',
  tool: {
    type: 'function',
    function: { name: LESSON.tool, description: 'Tells the weather of a city', parameters: PARAMETERS },
  },
  told: LESSON.words,
  schema: SCHEMA,
  format: { type: 'json_schema', json_schema: { name: 'person', strict: true, schema: SCHEMA } },
  picture: PICTURE,
  sight: [
    { type: 'text', text: 'What is it?' },
    { type: 'image_url', image_url: { url: PICTURE } },
  ],
}

/** What a call has to look like that is refused, and all that its client has to show. */
interface Refusal {
  check: Check
  asks: { n?: number; key?: string; model?: string }
  /** The class of `openai`. */
  kind: string
  status: number
  type: string
  code: string
  param: string | null
  /** `Retry-After` is there. */
  waits: boolean
  /** Stands in the sentence. */
  says: string
}

function refusals(keys: { wrong: string; limited: string; spent: string }, gone: string): Refusal[] {
  const invalid = { type: 'invalid_request_error', waits: false }
  const heldBack = { kind: 'RateLimitError', status: 429, param: null, waits: true }
  return [
    {
      ...{ check: '400', asks: { n: 99 }, ...invalid, kind: 'BadRequestError', status: 400 },
      ...{ code: 'invalid_request', param: 'n', says: '"n": ' },
    },
    {
      ...{ check: '401', asks: { key: keys.wrong }, kind: 'AuthenticationError', status: 401 },
      ...{ type: 'authentication_error', code: 'invalid_api_key', param: null, waits: false },
      says: 'The API key is not valid',
    },
    {
      ...{ check: '404', asks: { model: gone }, ...invalid, kind: 'NotFoundError', status: 404 },
      ...{ code: 'model_not_found', param: 'model', says: gone },
    },
    {
      ...{ check: '429', asks: { key: keys.limited }, ...heldBack },
      ...{ type: 'rate_limit_error', code: 'rate_limit_exceeded', says: 'Try again in ' },
    },
    {
      ...{ check: 'quota', asks: { key: keys.spent }, ...heldBack },
      ...{ type: 'insufficient_quota', code: 'insufficient_quota', says: 'are used up' },
    },
  ]
}

/** What a client script reads. */
type Given = typeof ASKED_ALIKE & {
  /** With `/v1`. */
  url: string
  key: string
  wrongKey: string
  /** Models. */
  character: string
  tooled: string
  scripted: string
  embedder: string
  refusals: readonly Refusal[]
  openWebUi?: { origin: string; token: string }
}

let folder: string
let python: string
/** Sees pictures, which no model does that a test can get, and calls tools where the small model cannot be made to. */
let scripted: FakeOpenAi
let troupe: TestApp
/** It starts while others are asking. */
let openWebUi: ReturnType<typeof startAsClient>
/** Slugs. */
const characters: Partial<Record<Server, string>> = {}
let vera: string
/** What was started, in the order in which it has to be stopped. */
const stopping: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-clients-'))
  scripted = await openFakeOpenAi({ answer: ({ body }) => scriptFor(body) })
  stopping.push(() => scripted.close())
  const [origins, port] = await Promise.all([
    Promise.all(ASKED.map(async (server) => [server, await openServer(server)] as const)),
    freePort(),
    copyScripts(),
  ])
  const of = (server: Server) => origins.flatMap(([name, found]) => (name === server ? found : []))
  troupe = await openTestApp({
    OPENAI_API_BASE_URLS: [...of('llama.cpp'), scripted.url].join(';'),
    OLLAMA_BASE_URL: of('Ollama').join(';'),
    TROUPE_CONTEXT_TOKENS: '2048',
    OPENWEBUI_URL: `http://127.0.0.1:${String(port)}`,
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  stopping.push(() => troupe.close())
  const speaksFor = (name: string, model: string) =>
    troupe.importCard({ name, extensions: { troupe: { model } } })
  vera = await speaksFor('Vera', FAKE_MODEL.name)
  for (const server of ASKED) characters[server] = await speaksFor(`Mira of ${server}`, MODELS[server].chats)
  openWebUi = startAsClient(port)
  // Told by who waits for it.
  openWebUi.catch(() => undefined)
})

async function copyScripts(): Promise<void> {
  const installed = await installClients()
  python = installed.python
  const scripts = path.join(import.meta.dirname, 'clients')
  for (const file of await readdir(scripts)) await copyFile(path.join(scripts, file), path.join(folder, file))
  await symlink(installed.nodeModules, path.join(folder, 'node_modules'))
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

async function makeKey(limits: object = {}): Promise<string> {
  const scopes = ['chat', 'models', 'embeddings', 'base-models']
  const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'clients', scopes, limits } })
  return ((await made.json()) as { secret: string }).secret
}

/** A key whose one call is made. */
async function usedUpKey(limits: object): Promise<string> {
  const key = await makeKey(limits)
  const body = { model: vera, messages: [{ role: 'user', content: 'Hello' }] }
  const answer = await troupe.request('POST', '/v1/chat/completions', { key, body })
  expect(answer.status).toBe(200)
  return key
}

/** A stock Open WebUI that knows nothing but our address and key, with the session of its admin. */
async function startAsClient(port: number): Promise<{ origin: string; token: string }> {
  const account = { email: 'admin@localhost', password: 'admin-password-of-the-test', name: 'Admin' }
  const started = await startOpenWebUi({
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
  stopping.push(() => started.stop())
  return { origin: started.url, token: await signIn(started.url, account) }
}

/** A model that is no more. Open WebUI does not ask for one that it never saw. */
async function goneCharacter(seenBy?: { origin: string; token: string }): Promise<string> {
  const gone = await troupe.importCard({ name: 'Gone' })
  if (seenBy !== undefined) {
    const headers = { authorization: `Bearer ${seenBy.token}` }
    await (await fetch(`${seenBy.origin}/api/models?refresh=true`, { headers })).text()
  }
  await troupe.request('DELETE', `/troupe/api/characters/${gone}`)
  return gone
}

afterAll(async () => {
  await openWebUi.catch(() => undefined)
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

async function runClient({ name, script }: Client, server: Server): Promise<Line[]> {
  const character = characters[server] ?? ''
  const wrongKey = 'troupe_nobody'
  const seenBy = name === 'Open WebUI' ? await openWebUi : undefined
  const [limited, spent] = [await usedUpKey({ turnsPerMinute: 1 }), await usedUpKey({ turnsPerDay: 1 })]
  const given: Given = {
    ...ASKED_ALIKE,
    url: `${troupe.url}/v1`,
    key: await makeKey(),
    wrongKey,
    character,
    // No grammar makes this llama.cpp server call a tool.
    tooled: server === 'Ollama' ? character : vera,
    scripted: vera,
    embedder: MODELS[server].embeds,
    refusals: refusals({ wrong: wrongKey, limited, spent }, await goneCharacter(seenBy)),
    ...(seenBy && { openWebUi: seenBy }),
  }
  const command = script.endsWith('.py') ? python : process.execPath
  const env = { PATH: process.env['PATH'], GIVEN: JSON.stringify(given) }
  const options = { cwd: folder, env, timeout: 240_000 }
  const { stdout } = await execute(command, [path.join(folder, script)], options)
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => Line.parse(JSON.parse(line)))
}

/** While one starts, the model answers the other: half of the time is spent on each. */
const AT_ONCE = 2

async function runAll(server: Server): Promise<ReadonlyMap<Client, Line[]>> {
  const linesOf = new Map<Client, Line[]>()
  const queue = [...CLIENTS]
  const runInTurn = async () => {
    for (let client = queue.shift(); client !== undefined; client = queue.shift())
      linesOf.set(client, await runClient(client, server))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, runInTurn))
  return linesOf
}

test.each(ASKED)(
  'every client does everything on %s that its library has a call for',
  async (server) => {
    const linesOf = await runAll(server)
    const failures: string[] = []
    const toRow = (cells: readonly string[], title: string) =>
      process.stdout.write(`${[title.padEnd(17), ...cells.map((cell) => cell.padEnd(10))].join(' ')}\n`)
    toRow(CHECKS, server)
    for (const client of CLIENTS) {
      const { name, lacks = [] } = client
      const cells = CHECKS.map((check) => {
        if (lacks.includes(check)) return 'no call'
        const line = linesOf.get(client)?.find((each) => each.check === check)
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
