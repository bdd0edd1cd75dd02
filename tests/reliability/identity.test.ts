import { createHmac } from 'node:crypto'
import { request as httpRequest } from 'node:http'

import { SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect } from 'vitest'

import { createLog } from '#base/log.ts'
import { createSummaries } from '#chat/summary.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { compose } from '#prompt/compose.ts'

import { ADMIN_KEY, CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import { reliabilityTest, type Tally } from '../support/reliability.ts'
import { longChat, sampleAsk, sampleCard } from '../support/samples.ts'

const VICTIM = 'victim-7f3a'

let ollama: FakeOllama
let troupe: TestApp
let mira: string
let chatKey: string
let victim: string
let nginx: Awaited<ReturnType<typeof startNginx>> | undefined

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_URL: 'http://127.0.0.1:9',
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  mira = await troupe.importCard({ name: 'Mira' })
  const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'club', scopes: ['chat'] } })
  chatKey = ((await made.json()) as { secret: string }).secret
  const genuine = await ask(CONNECTION_KEY, { 'x-openwebui-user-jwt': await userToken(VICTIM) })
  victim = String((await recordOf(genuine.requestId))['person'])
  if (hasNginx) nginx = await startNginx([troupe.url])
})

afterAll(async () => {
  await nginx?.stop()
  await troupe.close()
  await ollama.close()
})

interface Said {
  status: number
  body: string
  requestId: string
}

/** Headers as they stand: their case, and several of one name. */
function ask(
  key: string | null,
  headers: Record<string, string | string[]>,
  { url } = troupe as { url: string },
): Promise<Said> {
  const { hostname, port } = new URL(url)
  const body = JSON.stringify({ model: mira, messages: [{ role: 'user', content: 'Who am I?' }] })
  const all = {
    ...(key !== null && { authorization: `Bearer ${key}` }),
    'content-length': String(Buffer.byteLength(body)),
    ...headers,
  }
  return new Promise((resolve, reject) => {
    const path = '/v1/chat/completions'
    const sent = httpRequest({ hostname, port, path, method: 'POST', headers: all }, (answer) => {
      let text = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      answer.once('end', () =>
        resolve({
          status: answer.statusCode ?? 0,
          body: text,
          requestId: String(answer.headers['x-request-id']),
        }),
      )
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

async function recordOf(requestId: string): Promise<Record<string, unknown>> {
  const answer = await troupe.request('GET', `/troupe/api/requests/${requestId}`)
  return answer.status === 200 ? ((await answer.json()) as Record<string, unknown>) : {}
}

/** Whether the call was taken for the victim's. */
async function isVictim({ requestId }: Said): Promise<boolean> {
  return (await recordOf(requestId))['person'] === victim
}

const plain = {
  'X-OpenWebUI-User-Id': VICTIM,
  'X-OpenWebUI-User-Name': 'Victim',
  'X-OpenWebUI-User-Role': 'admin',
}

describe('who somebody is', () => {
  reliabilityTest(25, 'spoof-headers', async ({ counters, figures }) => {
    const token = await userToken(VICTIM)
    const attempts: [string, string | null, Record<string, string | string[]>, number][] = [
      ['no key', null, plain, 401],
      ['an ordinary key', chatKey, plain, 200],
      ['an ordinary key, with a genuine token', chatKey, { 'x-openwebui-user-jwt': token }, 200],
      ['an admin key', ADMIN_KEY, plain, 403],
      ['the connection key without a token', CONNECTION_KEY, plain, 401],
      ['the connection key with nothing', CONNECTION_KEY, {}, 401],
      ['odd case', CONNECTION_KEY, { 'x-OPENWEBUI-user-ID': VICTIM }, 401],
      ['the id twice', CONNECTION_KEY, { 'X-OpenWebUI-User-Id': [VICTIM, 'other'] }, 400],
      ['two tokens', CONNECTION_KEY, { 'X-OpenWebUI-User-Jwt': [await userToken('other'), token] }, 400],
      [
        'a token of somebody else, and plain headers',
        CONNECTION_KEY,
        { ...plain, 'x-openwebui-user-jwt': await userToken('other') },
        200,
      ],
      [
        "other people's headers",
        chatKey,
        { 'X-Forwarded-User': VICTIM, 'Remote-User': VICTIM, 'X-Troupe-User': VICTIM },
        200,
      ],
    ]
    const doors = [troupe, ...(nginx === undefined ? [] : [nginx])]
    for (const door of doors)
      for (const [name, key, headers, status] of attempts) {
        const said = await ask(key, headers, door)
        expect.soft(said.status, name).toBe(status)
        if (await isVictim(said)) counters.in += 1
      }
    const events = troupe.logged.filter((line) => 'securityEvent' in line).length
    expect(events).toBeGreaterThanOrEqual(4 * doors.length)
    // Chats are named by who speaks for users, and nothing of all this goes on to the model server.
    const chatId = '00000000-0000-4000-8000-000000000001'
    const named = await ask(chatKey, { 'x-openwebui-chat-id': chatId, 'x-troupe-chat-id': chatId })
    expect((await recordOf(named.requestId))['chat'] ?? null).toBe(null)
    const sent = ollama.requests.flatMap(({ headers }) => Object.keys(headers))
    counters.leaked += sent.filter((name) => /openwebui|troupe|forwarded|remote/i.test(name)).length
    Object.assign(figures, {
      'spoofed requests': attempts.length * doors.length,
      'through nginx': nginx === undefined ? 'not installed' : attempts.length,
      'security events': events,
    })
  })

  reliabilityTest(26, 'token-forgery', async ({ counters, figures }) => {
    const secret = new TextEncoder().encode(JWT_SECRET)
    const seconds = Math.floor(Date.now() / 1_000)
    const claims = { sub: VICTIM, role: 'user', iss: 'open-webui', iat: seconds, exp: seconds + 60 }
    const signed = (over: Record<string, unknown> = {}, alg = 'HS256', header = {}, key = secret) =>
      new SignJWT({ ...claims, ...over }).setProtectedHeader({ alg, ...header }).sign(key)
    const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const byHand = (header: object, key: string) => {
      const text = `${encode(header)}.${encode(claims)}`
      return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`
    }
    const forged: [string, string][] = [
      ['no algorithm', `${encode({ alg: 'none' })}.${encode(claims)}.`],
      ['no algorithm, with a signature', byHand({ alg: 'none' }, JWT_SECRET)],
      ['HS512', await signed({}, 'HS512')],
      ['RS256 signed with the secret', byHand({ alg: 'RS256' }, JWT_SECRET)],
      ['another secret', await userToken(VICTIM, { secret: 'another-secret-that-is-long-enough-012345' })],
      ['an empty secret', byHand({ alg: 'HS256' }, '')],
      ['no end', await signed({ exp: undefined })],
      ['no beginning', await signed({ iat: undefined })],
      ['nobody', await signed({ sub: undefined })],
      ['an empty name', await signed({ sub: '' })],
      ['a beginning in the future', await signed({ iat: seconds + 600, exp: seconds + 660 })],
      ['over', await signed({ iat: seconds - 66, exp: seconds - 6 })],
      ['old, with an end far away', await signed({ iat: seconds - 3_600, exp: seconds + 3_600 })],
      ['another issuer', await signed({ iss: 'open-webui-2' })],
      ['no issuer', await signed({ iss: undefined })],
      [
        'a key id that is a path',
        await signed({}, 'HS256', { kid: '../../dev/null' }, new TextEncoder().encode('\0')),
      ],
      ['8 KB', `${encode({ alg: 'HS256' })}.${'A'.repeat(8_192)}.${'A'.repeat(43)}`],
      [
        'changed after signing',
        (await signed()).replace(/\.[^.]+\./, `.${encode({ ...claims, sub: 'other' })}.`),
      ],
      ['no token', 'null'],
    ]
    const bodies = new Set<string>()
    for (const [name, token] of forged) {
      const said = await ask(CONNECTION_KEY, { 'x-openwebui-user-jwt': token })
      expect.soft(said.status, name).toBe(401)
      bodies.add(said.body)
      if (said.status === 200 || (await isVictim(said))) counters.in += 1
    }
    expect(bodies.size).toBe(1)
    expect((await ask(CONNECTION_KEY, { 'x-openwebui-user-jwt': await signed() })).status).toBe(200)
    figures['forged tokens'] = forged.length
  })

  reliabilityTest(27, 'token-replay', async ({ counters, figures }) => {
    // Every backend of Open WebUI gets this one, a web search as well.
    const captured = await userToken(VICTIM)
    const attempts: [string | null, number][] = [
      [null, 401],
      ['troupe_wrong', 401],
      [chatKey, 200],
      [ADMIN_KEY, 403],
    ]
    for (const [key, status] of attempts) {
      const said = await ask(key, { 'x-openwebui-user-jwt': captured })
      expect.soft(said.status).toBe(status)
      if (await isVictim(said)) counters.in += 1
    }
    // As a token of 60 s looks 66 s later: five are for clocks that differ.
    const seconds = Math.floor(Date.now() / 1_000)
    const old = await new SignJWT({ sub: VICTIM, role: 'user', iat: seconds - 66, exp: seconds - 6 })
      .setProtectedHeader({ alg: 'HS256' })
      .setIssuer('open-webui')
      .sign(new TextEncoder().encode(JWT_SECRET))
    const late = await ask(CONNECTION_KEY, { 'x-openwebui-user-jwt': old })
    expect(late.status).toBe(401)
    if (await isVictim(late)) counters.in += 1
    figures['replayed tokens'] = attempts.length + 1
  })

  reliabilityTest(28, 'chat-hijack (HTTP)', ({ counters, figures }) => hijack(counters, figures))

  reliabilityTest(28, 'chat-hijack (what is kept by chat)', async ({ counters, figures }) => {
    const kv = openMemoryKv({ now: Date.now })
    const parts = {
      kv,
      pseudonym: (_kind: string, id: string) => id,
      isBuried: () => false,
      log: createLog('silent'),
      now: Date.now,
    }
    const card = sampleCard({ extensions: { troupe: { summary: true } } })
    const speaker = { characterId: 'mira', version: 1, card }
    const ask = (id: string) =>
      sampleAsk({ messages: longChat(40), conversation: { chatId: 'chat-of-a' }, person: { id } })
    const summaries = createSummaries(parts)
    const prompt = compose(ask('a'), { speaker, userName: 'A' }, { contextTokens: 1_200, tokenRatio: 1 })
    summaries.extend(ask('a'), { speaker, prompt }, async function* () {
      yield await Promise.resolve({ type: 'text' as const, text: 'MARKER of A' })
      yield { type: 'done' as const, reason: 'stop' as const }
    })
    await summaries.close()
    const recalled = async (id: string) =>
      JSON.stringify(await createSummaries(parts).recall(ask(id), speaker))
    expect(await recalled('a')).toContain('MARKER of A')
    // B knows every word and the id of the chat, and still gets none of what was kept for A.
    for (const id of ['b', 'a ', 'A', '']) if ((await recalled(id)).includes('MARKER')) counters.in += 1
    figures['hijacked chats'] = 4
  })
})

/** B knows the id of A's chat, the ids of its messages and every word of it, and says so in every way that there is. */
async function hijack(counters: Tally['counters'], figures: Tally['figures']): Promise<void> {
  const marker = 'MARKER-of-A'
  let summary = marker
  const isSummary = (body: unknown) => JSON.stringify(body).includes('Summarise this conversation')
  const model = await openFakeOllama({
    answer: ({ body }) => ({ chunks: [isSummary(body) ? summary : 'Yes.'] }),
  })
  const house = await openTestApp({
    OLLAMA_BASE_URL: model.origin,
    OPENWEBUI_URL: 'http://127.0.0.1:9',
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
    TROUPE_CALLS_PER_SECOND: '0',
  })
  const character = await house.importCard({ extensions: { troupe: { summary: true } } })
  const made = await house.request('POST', '/troupe/api/keys', { body: { name: 'b', scopes: ['chat'] } })
  const { secret } = (await made.json()) as { secret: string }
  const messages = [
    ...Array.from({ length: 60 }, (_, at) => [
      { role: 'user', content: `Question ${String(at)}: ${'word '.repeat(40)}` },
      { role: 'assistant', content: `Answer ${String(at)}: ${'word '.repeat(40)}` },
    ]).flat(),
    { role: 'user', content: 'And now?' },
  ]
  const ids = {
    'x-troupe-chat-id': '00000000-0000-4000-8000-00000000000a',
    'x-troupe-message-id': 'answer-of-a',
    'x-troupe-user-message-id': 'question-of-a',
  }
  const as = async (person: string) => ({ 'x-openwebui-user-jwt': await userToken(person) })
  const asking = (
    key: string,
    headers: Record<string, string>,
    over: object = {},
    route = 'chat/completions',
  ) => house.request('POST', `/v1/${route}`, { key, headers, body: { model: character, messages, ...over } })
  const heard = (from: number) =>
    model
      .chats()
      .slice(from)
      .filter(({ body }) => !isSummary(body))
      .some(({ body }) => JSON.stringify(body).includes(marker))
  /** Whether A's own chat is told what was kept of it. */
  const isRecalled = async () => {
    const from = model.chats().length
    await (await asking(CONNECTION_KEY, { ...(await as('person-a')), ...ids })).text()
    return heard(from)
  }
  await expect.poll(isRecalled, { timeout: 10_000 }).toBe(true)
  summary = 'what B said'

  const chatId = ids['x-troupe-chat-id']
  const inBody = {
    ...{ chat_id: chatId, parent_id: ids['x-troupe-message-id'], id: ids['x-troupe-message-id'] },
    ...{ session_id: chatId, user: 'person-a', metadata: { chat_id: chatId, user_id: 'person-a' } },
    ...{ prompt_cache_key: chatId, troupe: { chatId, person: 'person-a' } },
  }
  const b = await as('person-b')
  const attempts: [string, () => Promise<Response>][] = [
    ['the ids in our headers', () => asking(CONNECTION_KEY, { ...b, ...ids })],
    ["the id in Open WebUI's header", () => asking(CONNECTION_KEY, { ...b, 'x-openwebui-chat-id': chatId })],
    ['ids in the body', () => asking(CONNECTION_KEY, b, inBody)],
    ['both', () => asking(CONNECTION_KEY, { ...b, ...ids }, inBody)],
    ['an ordinary key', () => asking(secret, ids, inBody)],
    ['a stream', () => asking(CONNECTION_KEY, { ...b, ...ids }, { ...inBody, stream: true })],
    [
      "a response after A's",
      () => asking(secret, ids, { input: 'Go on', previous_response_id: 'answer-of-a' }, 'responses'),
    ],
    ["A's conversation", () => asking(secret, ids, { input: 'Go on', conversation: chatId }, 'responses')],
    ['a completion', () => asking(secret, ids, { prompt: 'Go on', ...inBody }, 'completions')],
  ]
  for (const [name, attempt] of attempts)
    for (let round = 0; round < 2; round++) {
      const from = model.chats().length
      const answer = await attempt()
      expect.soft([200, 400, 403], name).toContain(answer.status)
      if ((await answer.text()).includes(marker)) counters.in += 1
      if (heard(from)) counters.in += 1
    }
  // And nobody has taken it from A meanwhile.
  if (!(await isRecalled())) counters.lost += 1
  figures['hijacked chats'] = attempts.length
  await house.close()
  await model.close()
}
