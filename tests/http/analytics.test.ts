/** Figures over the whole app: what a chat leaves behind is in them, as JSON, as CSV and on the command line. */
import { Writable } from 'node:stream'

import { afterAll, beforeAll, expect, test, vi } from 'vitest'

import { FIGURES, type Figure } from '#analytics/figures/figure.ts'
import { runCli } from '#cli/run.ts'

import { ADMIN_KEY, CONNECTION_KEY, JWT_SECRET, openTestApp, type TestApp } from '../support/app.ts'
import { userToken } from '../support/asking.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'

let ollama: FakeOllama
let troupe: TestApp
let requestId: string

beforeAll(async () => {
  ollama = await openFakeOllama()
  troupe = await openTestApp({
    OLLAMA_BASE_URL: ollama.origin,
    OPENWEBUI_URL: 'http://127.0.0.1:9',
    OPENWEBUI_JWT_SECRET: JWT_SECRET,
  })
  const id = await troupe.importCard({ name: '=Mira' })
  for (const stream of [true, false, true]) {
    const answer = await troupe.request('POST', '/v1/chat/completions', {
      key: CONNECTION_KEY,
      headers: { 'x-openwebui-user-jwt': await userToken('reader'), 'x-troupe-groups': 'Club,Staff' },
      body: { model: id, stream, messages: [{ role: 'user', content: 'Hello' }] },
    })
    await answer.text()
    requestId = String(answer.headers.get('x-request-id'))
  }
  await troupe.request('POST', '/v1/chat/completions', {
    key: CONNECTION_KEY,
    headers: { 'x-openwebui-user-jwt': await userToken('reader') },
    body: { model: 'nobody', messages: [{ role: 'user', content: 'Hello' }] },
  })
  const rating = { request: requestId, value: 1, source: 'test' }
  const rated = await troupe.request('POST', '/troupe/api/analytics/ratings', { body: rating })
  expect(rated.status).toBe(204)
  // The first question starts the thread, which rolls up at once.
  await vi.waitFor(
    async () => {
      const { n, dataAsOfMs } = (await figure('overview')).base
      expect(n).toBe(4)
      // Days can be read as soon as they are written; this says that the people and the months are there as well.
      expect(dataAsOfMs).toBeGreaterThan(0)
    },
    { timeout: 30_000, interval: 200 },
  )
}, 60_000)
afterAll(async () => {
  await troupe.close()
  await ollama.close()
})

async function figure(name: string, query = ''): Promise<Figure> {
  const answer = await troupe.request('GET', `/troupe/api/analytics/${name}${query}`)
  expect(answer.status).toBe(200)
  return (await answer.json()) as Figure
}

test.each(FIGURES)('%s says what it counted, until when, and what each column means', async (name) => {
  const { base, columns, rows } = await figure(name)
  expect(base.dataAsOfMs).toBeGreaterThan(Date.now() - 60_000)
  expect(base.toMs).toBeGreaterThan(base.fromMs)
  expect(columns.every(({ means }) => means.length > 10)).toBe(true)
  for (const row of rows) expect(Object.keys(row).sort()).toEqual(columns.map(({ key }) => key).sort())
})

test('a chat is in the figures: calls, failures by class, ratings, and where the time went', async () => {
  const { total } = await figure('overview')
  expect(total).toMatchObject({ calls: 4, messages: 3, failed: 1, errorRate: 0.25, satisfaction: 1 })
  expect((await figure('errors')).rows).toMatchObject([
    { error: 'model_not_found', failures: 1, share: 0.25 },
  ])
  const speed = (await figure('speed')).total
  expect(Number(speed?.['firstTokenP50'])).toBeGreaterThan(0)
  expect(speed?.['timedCalls']).toBe(3)
  expect((await figure('usage', '?by=model')).rows.length).toBeGreaterThan(0)
})

test('a call counts for each group of who asked', async () => {
  const { rows } = await figure('usage', '?by=group')
  expect(rows).toMatchObject([
    { group: 'Club', messages: 3 },
    { group: 'Staff', messages: 3 },
  ])
})

test('an answer is rated by the id of its request, and the record tells it', async () => {
  const record = await troupe.request('GET', `/troupe/api/requests/${requestId}`)
  expect(await record.json()).toMatchObject({
    rating: 1,
    turn: 1,
    httpStatus: 200,
    queueMs: expect.any(Number),
  })
  const unknown = { request: 'never', value: -1 }
  expect((await troupe.request('POST', '/troupe/api/analytics/ratings', { body: unknown })).status).toBe(404)
})

test('as CSV it can be opened in a spreadsheet', async () => {
  const answer = await troupe.request('GET', '/troupe/api/analytics/usage?format=csv')
  expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8')
  expect(answer.headers.get('content-disposition')).toBe('attachment; filename="troupe-usage.csv"')
  const [head = '', ...lines] = (await answer.text()).trim().split('\r\n')
  expect(head.split(',').slice(-4)).toEqual(['n', 'from', 'to', 'data_as_of'])
  expect(lines).toHaveLength(2)
})

test.each([
  ['/troupe/api/analytics/overview?from=soon', 'from'],
  ['/troupe/api/analytics/overview?from=2026-02-01&to=2026-01-01', 'from'],
  ['/troupe/api/analytics/people?model=x', 'model'],
  ['/troupe/api/analytics/usage?by=colour', 'by'],
])('%s is refused with the name of what is wrong', async (path, param) => {
  const answer = await troupe.request('GET', path)
  expect(answer.status).toBe(400)
  expect(await answer.json()).toMatchObject({ error: { param } })
})

async function commandLine(...args: string[]): Promise<string> {
  let out = ''
  const screen = new Writable({
    write(chunk: Buffer, _encoding, done) {
      out += chunk.toString()
      done()
    },
  })
  const env = { TROUPE_URL: troupe.url, TROUPE_ADMIN_KEY: ADMIN_KEY }
  expect(await runCli(['analytics', ...args], { env, out: screen, err: screen })).toBe(0)
  return out
}

test('the command line shows the same', async () => {
  const out = await commandLine('errors')
  expect(out).toMatch(/model_not_found\s+1\s+25\.0%/)
  expect(out).toMatch(/n = 4; .* data as of /)
})

test('the command line leaves out days without a call and columns without a figure, and says so', async () => {
  const out = await commandLine('overview')
  const whole = await figure('overview')
  const [head = '', ...lines] = out.split('\n')
  // The test may run over midnight.
  const days = lines.slice(0, lines.indexOf('') - 1).length
  expect([1, 2]).toContain(days)
  const columns = head.trim().split(/\s+/)
  expect(columns).toContain('messages')
  expect(columns).not.toContain('cancelled')
  expect(out).toContain(`\n${String(whole.rows.length - days)} days without a call are not shown\n`)
  const left = String(whole.columns.length - columns.length)
  expect(out).toContain(`\n${left} columns without a figure are not shown; --csv has all\n`)
  expect(JSON.parse(await commandLine('overview', '--json'))).toMatchObject({
    columns: whole.columns,
    rows: whole.rows,
  })
})

test('the command line shows no table of a period without a call', async () => {
  expect(await commandLine('overview', '--from', '2020-01-01', '--to', '2020-01-03')).toMatch(
    /^\n\d days without a call are not shown\n\d+ columns without a figure .*\nn = 0; /,
  )
})
