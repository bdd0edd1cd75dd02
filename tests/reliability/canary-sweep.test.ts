/**
 * Row 21: nothing secret and nothing of anybody comes out where it has no place. Every call plants words of its own; then logs,
 * traces, figures, answers, every column of the databases, Redis and every file are searched for them.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { Redis } from 'ioredis'
import { afterEach, expect, vi } from 'vitest'

import { AREAS } from '../../sidecar/src/http/areas.ts'
import { pathOf } from '../../sidecar/src/http/openapi.ts'
import { userToken } from '../support/asking.ts'
import {
  createCanaries,
  judge,
  sweepFolder,
  sweepPostgres,
  type Canaries,
  type Keeping,
  type Swept,
} from '../support/canaries.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenWebUi } from '../support/fake-open-webui.ts'
import { openOtlpSink } from '../support/otlp-sink.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { dumpRedis, hasRedis, startRedis } from '../support/redis.ts'
import { reliabilityTest, type Tally } from '../support/reliability.ts'
import { sampleCard, sampleEntry } from '../support/samples.ts'

const bin = await findPostgres()

/** Where words may stand. One that nothing needs fails the test. */
const KEEPINGS: Keeping[] = [
  {
    words: ['own '],
    places: ['refusal of '],
    because: 'who asks is told which of their own words was meant',
  },
  {
    words: ['told as a failure', 'told within an answer', 'said to a quoter'],
    places: ['refusal of '],
    because: 'who asked a model is told what its server says is wrong',
  },
  {
    words: ['card '],
    places: ['table character_versions.', 'table lorebooks.', 'file originals/', 'file troupe.sqlite'],
    because: 'what authors write is what the library is for',
  },
  {
    words: ['card book name', 'card entry name', 'card lorebook', 'document title'],
    places: [
      ...['table call_records.anatomy', 'table lore_hits.entry', 'table item_roll_ups.item'],
      ...['file analytics.sqlite', 'file outbox/', 'table events.body', 'answer to lore'],
    ],
    because: "a past prompt and figures go by the author's names of books, entries and documents",
  },
  {
    words: ['document '],
    places: ['table knowledge_', 'file knowledge', 'file troupe.sqlite'],
    because: 'documents are kept to be looked up',
  },
  {
    words: ['own key name', 'own webhook name'],
    places: ['table api_keys.name', 'table webhooks.name', 'file troupe.sqlite'],
    because: 'an admin finds it again by its name',
  },
  {
    words: ['person admin name', 'person colleague'],
    places: [
      ...['table api_keys.created_by', 'table audit_events.', 'table roles.person_id'],
      ...['file troupe.sqlite', 'answer to the audit'],
    ],
    because: 'who has a role, and who changed something, is told to admins',
  },
]

interface House {
  sidecar: SidecarProcess
  env: Record<string, string>
  canaries: Canaries
  /** What came back: refusals, and what admins are shown. */
  answers: Swept[]
  /** Sends what the name says, with words of its own in every header. */
  call(name: string, method: string, where: string, options?: CallOptions): Promise<string>
}

interface CallOptions {
  key?: string | null
  headers?: Record<string, string>
  body?: unknown
  /** How it has to end; `well` unless told. */
  ends?: 'well' | 'refused' | 'either'
  /** Of an answer that went well, for a look at it. */
  isShown?: boolean
}

const REFUSED = { ends: 'refused' } as const

/** A model server, and a receiver of webhooks, that refuses everything and quotes what it was sent. */
async function openQuoter() {
  const server = createServer((request, answer) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.on('end', () => {
      if (request.url === '/v1/models')
        return answer.writeHead(200).end(JSON.stringify({ data: [{ id: 'quoter' }] }))
      const said = `${String(request.url)} ${JSON.stringify(request.headers)} ${body}`
      return answer.writeHead(400).end(JSON.stringify({ error: { message: said } }))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    host: `127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function openCalls(
  sidecar: SidecarProcess,
  adminKey: string,
  canaries: Canaries,
): Pick<House, 'answers' | 'call'> {
  const answers: Swept[] = []
  canaries.add('person address', '203.0.113.77')
  const everywhere = {
    'user-agent': canaries.of('person browser'),
    'accept-language': canaries.of('person language'),
    referer: `http://127.0.0.1/?${canaries.of('person referer')}`,
    'x-forwarded-for': '203.0.113.77',
    'x-request-id': canaries.of('person request id'),
    tracestate: `a=${canaries.of('person trace state')}`,
    baggage: `user=${canaries.of('person baggage')}`,
    'x-unknown': canaries.of('person unknown header'),
  }
  return {
    answers,
    async call(name, method, where, { key = adminKey, headers, body, ends = 'well', isShown = false } = {}) {
      const isForm = body instanceof FormData
      const answer = await fetch(new URL(where, sidecar.url), {
        method,
        headers: {
          ...everywhere,
          ...(key !== null && { authorization: `Bearer ${key}` }),
          ...(body !== undefined && !isForm && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: isForm || typeof body === 'string' ? body : JSON.stringify(body) }),
      })
      const text = `${JSON.stringify([...answer.headers])}\n${await answer.text()}`
      if (answer.status >= 400) answers.push({ place: `refusal of ${name}`, text })
      else if (isShown) answers.push({ place: `answer to ${name}`, text })
      const isWell = answer.status < 400
      if (answer.status === 500 || (ends !== 'either' && isWell !== (ends === 'well')))
        throw new Error(`${name} ended with ${String(answer.status)}: ${text}`)
      return text
    },
  }
}

const aBook = (of: Canaries['of']) => ({
  name: of('card book name'),
  extensions: {},
  entries: [
    sampleEntry({ keys: [of('card key')], content: of('card lore'), comment: of('card entry name') }),
  ],
})

const formOf = (name: string, content: string) => {
  const form = new FormData()
  form.append('files', new Blob([content]), name)
  return form
}

/** What admins and authors do. Answers the id of the character. */
async function fillTheHouse({ call, env, canaries: { of } }: House): Promise<void> {
  const extensions = { troupe: { sampling: { share: 1, days: 7 } }, other: { note: of('card extension') } }
  const card = sampleCard({
    description: of('card description'),
    first_mes: of('card greeting'),
    creator: of('card creator'),
    creator_notes: of('card notes'),
    system_prompt: of('card system prompt'),
    tags: [of('card tag')],
    character_book: aBook(of),
    extensions,
  })
  const json = JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: { ...card, name: 'Mira' } })
  await call('import', 'POST', '/troupe/api/characters/import', {
    body: formOf(`${of('card file')}.json`, json),
  })
  const broken = formOf(`${of('own broken file')}.json`, `{"name": "${of('card broken')}", `)
  await call('broken import', 'POST', '/troupe/api/characters/import', { body: broken })
  await call('lorebook', 'POST', '/troupe/api/lorebooks', {
    body: { name: of('card lorebook'), book: aBook(of) },
  })
  const messages = [{ role: 'user', content: of('said to a test') }]
  for (const [where, body] of [
    ['/troupe/api/lorebooks/test', { character: 'mira', messages }],
    ['/troupe/api/lorebooks/lint', { character: 'mira' }],
    ['/troupe/api/prompt/preview', { model: 'mira', messages }],
  ] as const)
    await call('a try', 'POST', where, { body })

  await call('base', 'POST', '/troupe/api/knowledge/bases', {
    body: { name: 'Town', note: of('document base note'), characterIds: ['mira'] },
  })
  const documents = '/troupe/api/knowledge/bases/town/documents'
  const text = `# ${of('document title')}\n\nThe harbour of ${of('document text')} opens at six.\n`
  await call('document', 'POST', documents, { body: formOf(`${of('document file')}.md`, text) })
  await call('broken document', 'POST', documents, {
    body: formOf(`${of('document broken file')}.pdf`, `%PDF-1.4 ${of('document broken text')}`),
  })
  // A server that refuses to embed is asked again and again; the words are found meanwhile.
  const isRead =
    env['EMBEDDING_MODEL'] === 'quoter' ? /"state":"embedding"/ : /"failed"[^]*"ready"|"ready"[^]*"failed"/
  await vi.waitFor(async () => expect(await call('documents', 'GET', documents)).toMatch(isRead), 60_000)
  await call('look-up', 'POST', '/troupe/api/knowledge/test', {
    body: { bases: ['town'], question: `When does the harbour open, ${of('said to a look-up')}?` },
  })
}

/** The secret of a key that may do this. */
async function newKey({ call, canaries }: House, scopes: readonly string[]): Promise<string> {
  const text = await call('a key', 'POST', '/troupe/api/keys', { body: { name: 'a key', scopes } })
  const { secret } = JSON.parse(text.slice(text.indexOf('\n') + 1)) as { secret: string }
  canaries.add(`secret key for ${scopes.join(' and ')}`, secret)
  return secret
}

/** What people say, what models answer, and all that goes wrong in between. */
async function talk(house: House, ollama: Awaited<ReturnType<typeof openFakeOllama>>): Promise<void> {
  const { call, env, canaries } = house
  const { of } = canaries
  const [chatId, key] = [crypto.randomUUID(), env['TROUPE_CONNECTION_KEY'] ?? '']
  const raw = await newKey(house, ['chat', 'base-models'])
  canaries.add('person chat', chatId)
  const jwt = await userToken(of('person id'), {
    name: of('person name'),
    secret: env['OPENWEBUI_JWT_SECRET'] ?? '',
  })
  canaries.add('secret user token', jwt)
  const headers = {
    'x-openwebui-user-jwt': jwt,
    'x-troupe-chat-id': chatId,
    'x-troupe-message-id': of('person message'),
    'x-troupe-user-message-id': of('person user message'),
  }
  const parameters = { type: 'object', properties: { place: { description: of('said of a parameter') } } }
  const body = {
    model: 'mira',
    user: of('person user field'),
    metadata: { note: of('said in metadata') },
    stop: [of('said as stop')],
    unknown: of('said in an unknown field'),
    tools: [{ type: 'function', function: { name: 'look', description: of('said of a tool'), parameters } }],
    messages: [
      { role: 'system', content: of('said by the system') },
      { role: 'user', name: of('said as a name'), content: [{ type: 'text', text: of('said by a user') }] },
      {
        role: 'assistant',
        content: of('said by an assistant'),
        tool_calls: [
          {
            id: 'call1',
            type: 'function',
            function: { name: 'look', arguments: `{"at":"${of('said to a tool')}"}` },
          },
        ],
      },
      { role: 'tool', tool_call_id: 'call1', content: of('said by a tool') },
      { role: 'user', content: `The harbour? ${of('card key')} ${of('said at last')}` },
    ],
  }
  const chat = (name: string, over: object = {}, more: CallOptions = {}) =>
    call(name, 'POST', '/v1/chat/completions', { key, headers, body: { ...body, ...over }, ...more })
  const told = { chunks: [of('told by a model')], reasoning: [of('told in thought')] }
  ollama.enqueue(told)
  await chat('a whole answer')
  ollama.enqueue(told)
  const streamed = await chat('a stream', { stream: true })
  expect(streamed).toContain(of('told by a model'))
  ollama.enqueue({ toolCalls: [{ name: 'look', arguments: { at: of('told to a tool') } }] })
  await chat('a call of a tool')
  // A server that only fails would be left alone.
  for (let good = 0; good < 12; good++) await chat('a chat that goes well')
  for (const script of [
    { status: 500, error: of('told as a failure') },
    { chunks: [of('told before a failure')], failAfter: { chunks: 1, error: of('told within an answer') } },
    { chunks: [of('told before a reset')], dieAfter: 1 },
    { chunks: [] },
  ]) {
    ollama.enqueue(script)
    // Where another call left a connection open that is then closed before a word, the call is made anew.
    const ends = 'dieAfter' in script ? 'either' : 'refused'
    await chat('a model that fails', {}, { ends })
    ollama.enqueue(script)
    await chat('a stream that fails', { stream: true }, { ends: 'either' })
  }
  // A picture that is none, a model that quotes what it refuses, and values that fit nothing.
  const picture = {
    type: 'image_url',
    image_url: { url: `data:image/png;base64,${of('said as a picture')}` },
  }
  await chat('a picture', { messages: [{ role: 'user', content: [picture] }] }, { ends: 'either' })
  await chat('a model that quotes', { model: 'quoter' }, { key: raw, headers: {}, ends: 'refused' })
  await chat('an unknown model', { model: of('own model') }, REFUSED)
  await chat('a wrong temperature', { temperature: of('own temperature') }, REFUSED)
  await chat(
    'a wrong role',
    { messages: [{ role: of('own role'), content: of('said in a wrong role') }] },
    REFUSED,
  )
  await chat(
    'plain headers',
    {},
    {
      ...REFUSED,
      headers: {
        'x-openwebui-user-id': of('person plain id'),
        'x-openwebui-user-name': of('person plain name'),
        'x-openwebui-user-email': `${of('person plain address')}@example.org`,
      },
    },
  )
  await chat(
    'a forged token',
    {},
    { ...REFUSED, headers: { 'x-openwebui-user-jwt': `${of('secret forged token')}.a.b` } },
  )
  await chat('a wrong key', {}, { key: of('secret wrong key'), ...REFUSED })
  await chat(
    'a key in the address',
    {},
    { ...REFUSED, key: null, headers: { 'x-api-key': of('secret other wrong key') } },
  )
  const prompts = [
    ['/v1/completions', { prompt: of('said to completions') }],
    ['/v1/responses', { input: of('said to responses'), instructions: of('said as instructions') }],
    ['/v1/embeddings', { model: 'fake:1b', input: [of('said to embeddings')] }],
    ['/v1/embeddings', { model: 'quoter', input: of('said to a quoter') }],
  ] as const
  for (const [where, more] of prompts)
    await call(where, 'POST', where, { key, headers, body: { model: 'mira', ...more }, ends: 'either' })
  await call('broken JSON', 'POST', '/v1/chat/completions', {
    ...REFUSED,
    key,
    headers,
    body: `{"model": "${of('said in broken JSON')}`,
  })
}

/** What admins look after: keys, roles, webhooks, sessions, people. */
async function administer(house: House, loginToken: string, receiver: string): Promise<void> {
  const { call, canaries, env } = house
  const { of, add } = canaries
  const read = (text: string) => JSON.parse(text.slice(text.indexOf('\n') + 1)) as Record<string, string>
  const key = read(
    await call('a new key', 'POST', '/troupe/api/keys', {
      body: { name: of('own key name'), scopes: ['chat'] },
    }),
  )
  add('secret new key', key['secret'] ?? '')
  await call('a key without the scope', 'GET', '/v1/models', { key: key['secret'] ?? '', ...REFUSED })
  const next = read(
    await call('a rotation', 'POST', `/troupe/api/keys/${key['id'] ?? ''}/rotate`, { body: {} }),
  )
  add('secret next key', next['secret'] ?? '')
  await call('a role', 'PUT', `/troupe/api/roles/${of('person colleague')}`, { body: { role: 'viewer' } })
  await call('a role of who goes', 'PUT', `/troupe/api/roles/${of('person erased')}`, {
    body: { role: 'viewer' },
  })

  const hook = read(
    await call('a webhook', 'POST', '/troupe/api/webhooks', {
      body: {
        name: of('own webhook name'),
        url: `http://${receiver}/hook?token=${of('secret webhook address')}`,
      },
    }),
  )
  add('secret webhook', (hook['secret'] ?? '').slice('whsec_'.length))
  await call('a try of a webhook', 'POST', `/troupe/api/webhooks/${hook['id'] ?? ''}/test`)
  await vi.waitFor(
    async () =>
      expect(
        await call('deliveries', 'GET', `/troupe/api/webhooks/${hook['id'] ?? ''}/deliveries`, {
          isShown: true,
        }),
      ).toContain('Answered 400'),
    20_000,
  )
  await call('a hostile webhook', 'POST', '/troupe/api/webhooks', {
    ...REFUSED,
    body: { name: 'x', url: `https://127.0.0.1/${of('own hostile address')}` },
  })

  const login = { cookie: `token=${loginToken}`, 'x-troupe-request': '1' }
  const session = await call('a login', 'POST', '/troupe/api/session', { key: null, headers: login })
  const cookie = /troupe_session=([\w-]+)/.exec(session)?.[1] ?? ''
  add('secret session', cookie)
  const headers = { ...login, cookie: `token=${loginToken}; troupe_session=${cookie}` }
  await call('a page', 'GET', '/troupe/api/session', { key: null, headers })
  await call('a key by an admin', 'POST', '/troupe/api/keys', {
    key: null,
    headers,
    body: { name: 'by an admin', scopes: ['chat'] },
  })
  await call('a foreign login', 'POST', '/troupe/api/session', {
    ...REFUSED,
    key: null,
    headers: { cookie: `token=${of('secret foreign login')}`, 'x-troupe-request': '1' },
  })

  for (const name of ['person objecting', 'person erased']) {
    const jwt = await userToken(of(name), { secret: env['OPENWEBUI_JWT_SECRET'] ?? '' })
    if (name === 'person objecting')
      await call('an objection', 'POST', `/troupe/api/privacy/people/${of(name)}/objection`)
    await call('a chat', 'POST', '/v1/chat/completions', {
      key: env['TROUPE_CONNECTION_KEY'] ?? '',
      headers: { 'x-openwebui-user-jwt': jwt },
      body: { model: 'mira', messages: [{ role: 'user', content: 'Hello' }] },
    })
  }
  await call('an erasure', 'DELETE', `/troupe/api/privacy/people/${of('person erased')}`)
  await call('an export', 'GET', `/troupe/api/privacy/people/${of('person id')}/export`)
  await call('a feedback', 'POST', '/troupe/api/openwebui/events', {
    key: await newKey(house, ['events']),
    body: { name: 'feedback.created', id: of('own feedback') },
  })
  await call('a lost page', 'GET', `/${of('own path')}?q=${of('own query')}`, REFUSED)
}

/** Every route of the API: nobody, a wrong key, and an admin whose every value fits nothing. */
async function refuseEverything({ call, canaries: { of } }: House): Promise<void> {
  const hostile = Object.fromEntries(
    [
      'model',
      'messages',
      'name',
      'url',
      'id',
      'card',
      'book',
      'role',
      'prompt',
      'input',
      'query',
      'base',
    ].map((field) => [field, { [of('own field name')]: of('own field value') }]),
  )
  for (const { prefix, operations } of AREAS)
    for (const { method, path: route } of operations) {
      const where = `${pathOf(prefix, route).replace(/:\w+(\{[^}]*\})?/g, of('own id'))}?cursor=${of('own query')}`
      const name = `${method} ${pathOf(prefix, route)}`
      const body = method === 'get' || method === 'delete' ? undefined : hostile
      await call(name, method.toUpperCase(), where, { key: null, ends: 'either' })
      await call(name, method.toUpperCase(), where, { key: of('secret wrong key'), ends: 'either' })
      // New pseudonyms, and people who are forgotten, would make the rest of the sweep blind.
      if (/\/(pseudonyms\/rotate|people\/reconcile)$/.test(route)) continue
      await call(name, method.toUpperCase(), where, { ...(body && { body }), ends: 'either' })
      if (body === undefined) continue
      await call(name, method.toUpperCase(), where, {
        body: `{"broken": "${of('own broken value')}`,
        ends: 'either',
      })
    }
}

/** What a start that fails says; the settings hold secrets where they are wrong. */
async function failToStart(env: Record<string, string>): Promise<string> {
  const child = spawn(process.execPath, [path.resolve('dist/main.js')], {
    env: { PATH: process.env['PATH'], TROUPE_PORT: '0', OLLAMA_BASE_URL: '', ...env },
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const [code] = (await once(child, 'exit')) as [number | null]
  expect([code, said.length > 50]).toEqual([1, true])
  return said
}

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})
const later = <T>(resource: T, close: (resource: T) => Promise<unknown>): T => {
  closing.push(() => close(resource))
  return resource
}

/** Databases, and Redis where there is one; with passwords, which nobody asks for. */
async function openStores(isShared: boolean, { of }: Canaries) {
  if (!isShared) return undefined
  const [postgres, redis] = await Promise.all([startPostgres(bin ?? ''), startRedis()])
  later(postgres, () => postgres.stop())
  later(redis, () => redis.stop())
  const password = of('secret Redis')
  const client = new Redis(redis.url)
  await client.config('SET', 'requirepass', password)
  client.disconnect()
  return {
    postgres,
    databaseUrl: postgres.url.replace('postgres@', `postgres:${of('secret database')}@`),
    redisUrl: redis.url.replace('redis://', `redis://:${password}@`),
  }
}

async function sweep(isShared: boolean, { counters, figures }: Tally): Promise<void> {
  const canaries = createCanaries()
  const { of } = canaries
  const dataDir = later(await mkdtemp(path.join(tmpdir(), 'troupe-canaries-')), (folder) =>
    rm(folder, { recursive: true, force: true }),
  )
  const ollama = later(await openFakeOllama(), (server) => server.close())
  const quoter = later(await openQuoter(), (server) => server.close())
  const openWebUi = later(await openFakeOpenWebUi(), (server) => server.close())
  const sink = later(await openOtlpSink(), (server) => server.close())
  const stores = await openStores(isShared, canaries)
  canaries.add('secret Open WebUI key', openWebUi.adminKey)
  const admin = openWebUi.addPerson(of('person admin name'), 'admin')
  canaries.add('person admin id', admin.id)
  canaries.add('secret login', admin.token)
  const env = {
    TROUPE_DATA_DIR: dataDir,
    TROUPE_LOG_LEVEL: 'debug',
    TROUPE_ADMIN_KEY: of('secret admin key'),
    TROUPE_CONNECTION_KEY: of('secret connection key'),
    TROUPE_PSEUDONYM_SECRET: of('secret of pseudonyms'),
    TROUPE_FIELD_KEYS: of('secret of fields'),
    TROUPE_CALLS_PER_SECOND: '0',
    TROUPE_TOKENS_PER_MONTH: '1000000',
    TROUPE_WEBHOOK_HOSTS: quoter.host,
    OLLAMA_BASE_URL: ollama.origin,
    OPENAI_API_BASE_URLS: `http://${quoter.host}/v1`,
    OPENAI_API_KEYS: of('secret server key'),
    DEFAULT_MODEL: 'fake:1b',
    EMBEDDING_MODEL: isShared ? 'fake:1b' : 'quoter',
    RERANK_URL: `http://${quoter.host}/rerank`,
    RERANK_MODEL: 'quoter',
    RERANK_API_KEY: of('secret reranker'),
    OPENWEBUI_URL: openWebUi.url,
    OPENWEBUI_API_KEY: openWebUi.adminKey,
    OPENWEBUI_JWT_SECRET: of('secret of tokens'),
    OTEL_EXPORTER_OTLP_ENDPOINT: sink.endpoint,
    ...(stores && {
      DATABASE_URL: stores.databaseUrl,
      ANALYTICS_DATABASE_URL: stores.databaseUrl,
      REDIS_URL: stores.redisUrl,
    }),
  }
  const sidecar = later(await startSidecar(env), (running) => running.stop())
  const house: House = { sidecar, env, canaries, ...openCalls(sidecar, env.TROUPE_ADMIN_KEY, canaries) }
  const { call, answers } = house

  await fillTheHouse(house)
  await talk(house, ollama)
  expect(JSON.stringify(ollama.chats().map(({ body }) => body))).toContain(of('said by a user'))
  await administer(house, admin.token, quoter.host)
  for (const what of [
    'overview',
    'usage',
    'speed',
    'errors',
    'people',
    'lore',
    'knowledge',
    'ratings',
    'costs',
  ])
    await call(what, 'GET', `/troupe/api/analytics/${what}`, { isShown: true })
  await call('the audit', 'GET', '/troupe/api/audit', { isShown: true })
  await refuseEverything(house)
  const key = await newKey(house, ['metrics'])
  for (const where of ['/readyz', '/metrics', '/livez'])
    await call(where, 'GET', where, { key, isShown: true })

  const swept: Swept[] = [...answers]
  if (stores !== undefined) {
    swept.push({ place: 'Redis', text: await dumpRedis(stores.redisUrl) })
    // What is recorded now goes to the outbox.
    await stores.postgres.crash()
    await call('a chat for the outbox', 'POST', '/v1/chat/completions', {
      key: env.TROUPE_CONNECTION_KEY,
      headers: {
        'x-openwebui-user-jwt': await userToken(of('person id'), { secret: env.OPENWEBUI_JWT_SECRET }),
      },
      body: { model: 'mira', messages: [{ role: 'user', content: of('said for the outbox') }] },
    })
  }
  await sidecar.stop()
  swept.push({ place: 'log', text: sidecar.output() }, { place: 'traces', text: sink.raw.join('\n') })
  for await (const one of sweepFolder(dataDir)) swept.push(one)
  if (stores !== undefined) {
    await stores.postgres.restart()
    for await (const one of sweepPostgres(stores.databaseUrl)) swept.push(one)
  }
  swept.push({ place: 'failed starts', text: (await failedStarts(env, canaries)).join('\n') })

  const { leaks, idle } = judge(swept.flatMap(canaries.find), KEEPINGS)
  counters.leaked = leaks.length
  Object.assign(figures, {
    'words planted': canaries.size,
    'answers searched': answers.length,
    'places searched': new Set(swept.map(({ place }) => place)).size,
    spans: sink.spans.length,
  })
  expect(leaks.map(({ word, place }) => `${word} in ${place}`)).toEqual([])
  expect(idle.map(({ because }) => because)).toEqual([])
}

async function failedStarts(env: Record<string, string>, { of, add }: Canaries): Promise<string[]> {
  add('secret too short', 'canary7c1e0b55f29a')
  const nowhere = await mkdtemp(path.join(tmpdir(), 'troupe-canaries-'))
  const said = await Promise.all([
    failToStart({
      TROUPE_ADMIN_KEY: 'canary7c1e0b55f29a',
      OPENWEBUI_JWT_SECRET: 'canary7c1e0b55f29a',
      TROUPE_FIELD_KEYS: 'canary7c1e0b55f29a',
      DATABASE_URL: `mysql://root:${of('secret wrong database')}@127.0.0.1/x`,
      REDIS_URL: `http://:${of('secret wrong Redis')}@127.0.0.1`,
      OPENAI_API_BASE_URLS: `ftp://me:${of('secret wrong server')}@127.0.0.1`,
    }),
    failToStart({
      TROUPE_DATA_DIR: nowhere,
      DATABASE_URL: `postgres://root:${of('secret lost database')}@127.0.0.1:1/x`,
    }),
    // The data are there, and the key that opens them is another.
    failToStart({ ...env, TROUPE_FIELD_KEYS: of('secret of other fields') }),
  ])
  await rm(nowhere, { recursive: true })
  return said
}

reliabilityTest(21, 'canary-sweep: SQLite', (tally) => sweep(false, tally))
reliabilityTest(21, 'canary-sweep: PostgreSQL, Redis and the outbox', (tally) => sweep(true, tally), {
  skip: bin === undefined || !hasRedis ? 'no PostgreSQL or no Redis' : false,
})
