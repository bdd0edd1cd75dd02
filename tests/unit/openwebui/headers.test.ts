import { SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, test } from 'vitest'

import { readHeaders, verifyUserToken } from '#openwebui/headers.ts'

const CHAT = '0b9d8a4e-1f53-4c0e-9a3e-52f8a1a3a001'
const ANSWER = '0b9d8a4e-1f53-4c0e-9a3e-52f8a1a3a002'
const QUESTION = '0b9d8a4e-1f53-4c0e-9a3e-52f8a1a3a003'

/** What a browser's turn carries: empty where a template has no value. */
const turn = {
  'x-troupe-task': '',
  'x-troupe-chat-id': CHAT,
  'x-troupe-message-id': ANSWER,
  'x-troupe-user-message-id': QUESTION,
  'x-openwebui-user-jwt': 'a.b.c',
}

describe('reading headers', () => {
  test('a turn of a person', () => {
    expect(readHeaders(turn)).toEqual({
      userJwt: 'a.b.c',
      plainUser: false,
      conversation: { chatId: CHAT, messageId: ANSWER, userMessageId: QUESTION },
      duplicated: false,
      templatesMissing: false,
    })
  })

  test('a background task of a turn has no id of an answer', () => {
    const headers = readHeaders({ ...turn, 'x-troupe-task': 'title_generation', 'x-troupe-message-id': '' })
    expect(headers).toMatchObject({
      task: 'title_generation',
      conversation: { chatId: CHAT, userMessageId: QUESTION },
    })
    expect(headers.conversation).not.toHaveProperty('messageId')
  })

  test.each([
    ['Club, Staff,Club,', ['Club', 'Staff']],
    ['Caf%C3%A9', ['Café']],
    ['', undefined],
    ['{{USER_GROUPS}}', undefined],
    [`${'x'.repeat(201)},Club`, ['Club']],
  ])('the groups of a person: %j', (value, groups) => {
    expect(readHeaders({ ...turn, 'x-troupe-groups': value }).groups).toEqual(groups)
  })

  test('a client that is not Open WebUI says nothing', () => {
    expect(readHeaders({ host: 'localhost', 'x-troupe-other': '1' })).toEqual({
      plainUser: false,
      conversation: {},
      duplicated: false,
      templatesMissing: true,
    })
  })

  test.each([
    ['a template that Open WebUI does not know', '{{MESSAGE_ID}}', {}, true],
    ['only spaces', '  ', {}, false],
    ['a percent-encoded value', 'Zo%C3%AB', { messageId: 'Zoë' }, false],
    ['a value that only looks encoded', '100%', { messageId: '100%' }, false],
  ])('%s', (_, value, conversation, templatesMissing) => {
    const { 'x-troupe-chat-id': _chat, 'x-troupe-user-message-id': _question, ...rest } = turn
    const complete = { ...rest, 'x-troupe-chat-id': '', 'x-troupe-user-message-id': '' }
    expect(readHeaders({ ...complete, 'x-troupe-message-id': value })).toMatchObject({
      conversation,
      templatesMissing,
    })
    expect(readHeaders({ ...complete, 'x-troupe-message-id': value }).conversation).toEqual(conversation)
  })

  test.each([
    ['a saved chat', CHAT, CHAT],
    ['a temporary chat', 'temporary:Yk3k5', undefined],
    ['a temporary chat, percent-encoded', 'temporary%3AYk3k5', undefined],
    ['a channel', `channel:${CHAT}`, undefined],
    ['whatever an API client sent', 'my chat', undefined],
  ])('the chat id of %s', (_, value, expected) => {
    expect(readHeaders({ ...turn, 'x-troupe-chat-id': value }).conversation.chatId).toBe(expected)
  })

  test("without templates Open WebUI's own header still names the chat", () => {
    const headers = readHeaders({ 'x-openwebui-chat-id': CHAT })
    expect(headers).toMatchObject({ conversation: { chatId: CHAT }, templatesMissing: true })
  })

  test.each(['id', 'name', 'email', 'role'])('a plain user header (%s) is noticed, not believed', (field) => {
    const headers = readHeaders({ ...turn, [`x-openwebui-user-${field}`]: 'x' })
    expect(headers.plainUser).toBe(true)
    expect(JSON.stringify(headers)).not.toContain('"x"')
  })

  test.each([
    ['joined by Node', { 'x-openwebui-user-jwt': 'a.b.c, d.e.f' }],
    ['as a list', { 'x-openwebui-user-jwt': ['a.b.c', 'd.e.f'] }],
    ['the role', { 'x-openwebui-user-role': 'user, admin' }],
    ['the task', { 'x-troupe-task': 'title_generation, ' }],
    ['the chat', { 'x-openwebui-chat-id': `${CHAT}, ${CHAT}` }],
  ])('a header that came twice is reported: %s', (_, headers) => {
    expect(readHeaders({ ...turn, ...headers }).duplicated).toBe(true)
  })

  test('a list with one value is that value', () => {
    expect(readHeaders({ ...turn, 'x-troupe-task': ['title_generation'] })).toMatchObject({
      task: 'title_generation',
      duplicated: false,
    })
  })

  test('a comma in a name is no second header', () => {
    expect(readHeaders({ ...turn, 'x-openwebui-user-name': 'Doe, Jane' }).duplicated).toBe(false)
  })
})

describe('the signed user token', () => {
  const NOW_SECONDS = 1_800_000_000
  const SECRET = 'a-secret-that-is-long-enough-0123456789'
  const OTHER = 'another-secret-that-is-long-enough-01234'

  interface Token {
    claims?: Record<string, unknown>
    iat?: number
    exp?: number
    iss?: string
    alg?: string
    secret?: string
  }

  function sign({
    claims,
    iat = NOW_SECONDS,
    exp = iat + 300,
    iss = 'open-webui',
    alg = 'HS256',
    secret = SECRET,
  }: Token = {}) {
    return new SignJWT({ sub: 'user-1', email: 'zoe@example.org', name: 'Zoë', role: 'user', ...claims })
      .setProtectedHeader({ alg })
      .setIssuer(iss)
      .setIssuedAt(iat)
      .setExpirationTime(exp)
      .sign(new TextEncoder().encode(secret))
  }

  const verify = (token: string, secrets: readonly string[] = [SECRET]) =>
    verifyUserToken(token, secrets, NOW_SECONDS * 1_000)

  test('names the person and the role, and nothing more', async () => {
    expect(await verify(await sign())).toEqual({ id: 'user-1', name: 'Zoë', role: 'user' })
  })

  test('a person without a name has none', async () => {
    expect(await verify(await sign({ claims: { name: '' } }))).toEqual({ id: 'user-1', role: 'user' })
  })

  test('counts under the new and the old secret while it is being changed', async () => {
    expect(await verify(await sign(), [OTHER, SECRET])).toMatchObject({ id: 'user-1' })
    expect(await verify(await sign({ secret: OTHER }), [OTHER, SECRET])).toMatchObject({ id: 'user-1' })
  })

  test.each([
    ['a clock four seconds behind', { iat: NOW_SECONDS + 4 }],
    ['expired four seconds ago', { iat: NOW_SECONDS - 304 }],
    ['a request that waited, under a longer lifetime', { iat: NOW_SECONDS - 334, exp: NOW_SECONDS + 60 }],
  ])('is still good: %s', async (_, token) => {
    expect(await verify(await sign(token))).toMatchObject({ id: 'user-1' })
  })

  const bad: [string, () => Promise<string> | string][] = [
    ['another secret', () => sign({ secret: OTHER })],
    ['expired', () => sign({ iat: NOW_SECONDS - 306 })],
    ['too old, whatever it says of its end', () => sign({ iat: NOW_SECONDS - 336, exp: NOW_SECONDS + 600 })],
    ['from the future', () => sign({ iat: NOW_SECONDS + 10 })],
    ['another issuer', () => sign({ iss: 'somebody' })],
    ['another algorithm', () => sign({ alg: 'HS512' })],
    [
      'no signature',
      () =>
        new UnsecuredJWT({ sub: 'user-1', role: 'admin' })
          .setIssuer('open-webui')
          .setIssuedAt(NOW_SECONDS)
          .setExpirationTime(NOW_SECONDS + 60)
          .encode(),
    ],
    ['no person', () => sign({ claims: { sub: '' } })],
    ['no role', () => sign({ claims: { role: undefined } })],
    [
      'no end',
      () =>
        new SignJWT({ sub: 'user-1', role: 'user' })
          .setProtectedHeader({ alg: 'HS256' })
          .setIssuer('open-webui')
          .setIssuedAt(NOW_SECONDS)
          .sign(new TextEncoder().encode(SECRET)),
    ],
    [
      'no beginning',
      () =>
        new SignJWT({ sub: 'user-1', role: 'user' })
          .setProtectedHeader({ alg: 'HS256' })
          .setIssuer('open-webui')
          .setExpirationTime(NOW_SECONDS + 60)
          .sign(new TextEncoder().encode(SECRET)),
    ],
    ['nonsense', () => 'nonsense'],
    ['nothing', () => ''],
  ]

  test.each(bad)('is refused: %s', async (_, token) => {
    await expect(verify(await token())).rejects.toMatchObject({ code: 'unauthenticated' })
  })

  test('is refused in the same words whatever is wrong, and without any secret', async () => {
    const failures = await Promise.all(
      bad.map(async ([, token]) => verify(await token()).catch((error: unknown) => (error as Error).message)),
    )
    const withoutSecret = await verify(await sign(), []).catch((error: unknown) => (error as Error).message)
    expect(new Set([...failures, withoutSecret]).size).toBe(1)
    expect(withoutSecret).toContain('FORWARD_USER_INFO_HEADER_JWT_SECRET')
  })
})
