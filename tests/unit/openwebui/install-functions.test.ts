import { afterEach, beforeEach, expect, test } from 'vitest'

import { openOpenWebUi, type OpenWebUi } from '#openwebui/client.ts'
import { installFunction } from '#openwebui/install-functions.ts'

import { openFakeOpenWebUi, type FakeOpenWebUi } from '../../support/fake-open-webui.ts'

let openWebUi: FakeOpenWebUi
let client: OpenWebUi

beforeEach(async () => {
  openWebUi = await openFakeOpenWebUi()
  client = openOpenWebUi({ url: openWebUi.url, apiKey: openWebUi.adminKey })
})
afterEach(async () => {
  await client.close()
  await openWebUi.close()
})

const BODY = 'class Event:\n    class Valves:\n        url: str = ""\n'
const file = (content: string) => ({ id: 'teller', content, valves: { url: 'http://sidecar' } })

test.each([
  [
    'its front matter',
    `"""\ntitle: The teller\nversion: 1\ndescription: Tells: all\n"""\n${BODY}`,
    'The teller',
  ],
  ['its front matter with Windows line ends', `"""\r\ntitle: The teller\r\n"""\r\n${BODY}`, 'The teller'],
  ['its id when it has none', BODY, 'teller'],
  ['its id when the front matter is not on top', `# title\n"""\ntitle: No\n"""\n${BODY}`, 'teller'],
])('a function is named by %s', async (_, content, name) => {
  await installFunction(file(content), client)
  expect(await client.functions.get('teller')).toMatchObject({ name, is_active: true })
})

test('a function is switched on last, with its settings in place', async () => {
  await installFunction(file(BODY), client)
  expect(openWebUi.changes()).toEqual([
    'POST /api/v1/functions/create',
    'POST /api/v1/functions/id/teller/valves/update',
    'POST /api/v1/functions/id/teller/toggle',
  ])
})

test('a function that is as it should be is not touched', async () => {
  await installFunction(file(BODY), client)
  openWebUi.calls.length = 0
  expect(await installFunction(file(BODY), client)).toEqual({ action: 'unchanged' })
  expect(openWebUi.changes()).toEqual([])
})
