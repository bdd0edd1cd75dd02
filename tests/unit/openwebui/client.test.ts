import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { openOpenWebUi, type OpenWebUi } from '#openwebui/client.ts'
import { openWire } from '#openwebui/wire.ts'

import { openFakeOpenWebUi, type FakeOpenWebUi } from '../../support/fake-open-webui.ts'

let openWebUi: FakeOpenWebUi
let client: OpenWebUi

beforeAll(async () => {
  openWebUi = await openFakeOpenWebUi()
  client = openOpenWebUi({ url: openWebUi.url, apiKey: openWebUi.adminKey })
})
afterEach(() => openWebUi.answerEverythingWith(undefined))
afterAll(async () => {
  await client.close()
  await openWebUi.close()
})

async function failure(call: Promise<unknown>): Promise<AppError> {
  const thrown = await call.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(AppError)
  return thrown as AppError
}

describe('a failure says what it means and what to do', () => {
  test.each([
    [401, '{"detail":"Your session has expired"}', 'upstream', 'set OPENWEBUI_API_KEY'],
    [403, '{"detail":"Forbidden"}', 'upstream', 'set OPENWEBUI_API_KEY'],
    [400, '{"detail":"Field required"}', 'upstream', '(400): Field required'],
    [422, '{"detail":[{"msg":"Input should be a list"}]}', 'upstream', 'Input should be a list'],
    [500, 'Internal Server Error', 'upstream', '/api/v1/models/base (500)'],
    [502, '<html>Bad gateway</html>', 'unavailable', 'is it running?'],
    [503, '', 'unavailable', 'is it running?'],
    [504, '', 'unavailable', 'is it running?'],
    [302, '', 'upstream', '(302)'],
    [200, '<!doctype html>', 'upstream', 'OPENWEBUI_URL'],
    [200, '{"rows":[]}', 'upstream', 'OPENWEBUI_URL'],
    [200, '[{"id":7,"name":"x"}]', 'upstream', '("0.id")'],
  ])('%i %s', async (status, body, code, words) => {
    openWebUi.answerEverythingWith({ status, body })
    const error = await failure(client.listBaseModels())
    expect(error.code).toBe(code)
    expect(error.message).toContain(words)
    expect(error.message).not.toContain(openWebUi.adminKey)
  })

  test('nobody listens', async () => {
    const nobody = openOpenWebUi({ url: 'http://127.0.0.1:9', apiKey: 'secret-key' })
    const error = await failure(nobody.listBaseModels())
    expect(error).toMatchObject({
      code: 'unavailable',
      message: 'Open WebUI at http://127.0.0.1:9 does not answer; start it, or check OPENWEBUI_URL',
      facts: { server: 'Open WebUI' },
    })
    await nobody.close()
  })

  test('it takes too long', async () => {
    const silent = createServer()
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const wire = openWire(`http://127.0.0.1:${String((silent.address() as AddressInfo).port)}`, 30)
    expect(await failure(wire.ask({ path: '/', token: 'x' }))).toMatchObject({
      code: 'upstream_timeout',
      facts: { server: 'Open WebUI' },
    })
    await wire.close()
    silent.closeAllConnections()
    await new Promise((resolve) => silent.close(resolve))
  })

  test('a long error text is shortened, an id stays out of the message', async () => {
    openWebUi.answerEverythingWith({ status: 400, body: JSON.stringify({ detail: 'x'.repeat(5_000) }) })
    const error = await failure(client.getModel('private-id'))
    expect(error.message.length).toBeLessThan(400)
    expect(error.message).not.toContain('private-id')
  })
})

test('an admin key cannot be told from none while Open WebUI fails', async () => {
  openWebUi.answerEverythingWith({ status: 500, body: '' })
  await expect(client.isAdminKey()).rejects.toMatchObject({ code: 'upstream' })
})

test('ids are escaped', async () => {
  await client.getModel('a/b?c')
  await client.functions.get('../x')
  expect(openWebUi.calls.slice(-2)).toEqual(['GET /api/v1/models/model', 'GET /api/v1/functions/id/..%2Fx'])
})

test('closing ends a call that is going on', async () => {
  const other = openOpenWebUi({ url: openWebUi.url, apiKey: openWebUi.adminKey })
  const call = failure(other.listBaseModels())
  await other.close()
  expect(await call).toMatchObject({ code: 'unavailable' })
})
