import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createSessions, type Sessions } from '#openwebui/session.ts'

import { openFakeOpenWebUi, type FakeOpenWebUi } from '../../support/fake-open-webui.ts'

let openWebUi: FakeOpenWebUi
let sessions: Sessions
let nowMs: number

beforeEach(async () => {
  openWebUi = await openFakeOpenWebUi()
  nowMs = 1_000
  sessions = createSessions({ openWebUiUrl: openWebUi.url, now: () => nowMs })
})
afterEach(() => openWebUi.close())

const asked = () => openWebUi.calls.length

describe('a session', () => {
  test('is asked for once in 30 seconds, also by requests at the same moment', async () => {
    await Promise.all([sessions.check(openWebUi.adminToken), sessions.check(openWebUi.adminToken)])
    nowMs += 29_999
    await sessions.check(openWebUi.adminToken)
    expect(asked()).toBe(1)
    nowMs += 1
    await sessions.check(openWebUi.adminToken)
    expect(asked()).toBe(2)
  })

  test('follows a role that was taken away', async () => {
    expect(await sessions.check(openWebUi.adminToken)).toMatchObject({ role: 'admin' })
    openWebUi.setRole(openWebUi.adminToken, 'pending')
    nowMs += 30_000
    expect(await sessions.check(openWebUi.adminToken)).toMatchObject({ role: 'pending' })
  })

  test('of one person is not that of another', async () => {
    const [admin, user] = [
      await sessions.check(openWebUi.adminToken),
      await sessions.check(openWebUi.userToken),
    ]
    expect([admin.role, user.role]).toEqual(['admin', 'user'])
    expect(admin.id).not.toBe(user.id)
  })

  test('tells no more than id, name and role', async () => {
    expect(Object.keys(await sessions.check(openWebUi.userToken)).sort()).toEqual(['id', 'name', 'role'])
  })
})

describe('a refusal', () => {
  test('is asked for again each time', async () => {
    for (const _ of [1, 2]) {
      await expect(sessions.check('nobody')).rejects.toMatchObject({ code: 'unauthenticated' })
    }
    expect(asked()).toBe(2)
  })

  test.each(['', 'two words', 'a\r\nx-header: b', 'x'.repeat(5_000)])(
    'needs no question for what is no token',
    async (token) => {
      await expect(sessions.check(token)).rejects.toMatchObject({ code: 'unauthenticated' })
      expect(asked()).toBe(0)
    },
  )

  test('is not what an Open WebUI that fails means', async () => {
    openWebUi.answerEverythingWith({ status: 503, body: '' })
    await expect(sessions.check(openWebUi.adminToken)).rejects.toMatchObject({ code: 'unavailable' })
    openWebUi.answerEverythingWith(undefined)
    expect(await sessions.check(openWebUi.adminToken)).toMatchObject({ role: 'admin' })
  })
})

test('only the newest 500 sessions are kept', async () => {
  openWebUi.answerEverythingWith({ status: 200, body: '{"id":"1","role":"user"}' })
  await sessions.check('first')
  await Promise.all(Array.from({ length: 500 }, (_, index) => sessions.check(`token-${String(index)}`)))
  await sessions.check('token-0')
  expect(asked()).toBe(501)
  await sessions.check('first')
  expect(asked()).toBe(502)
})
