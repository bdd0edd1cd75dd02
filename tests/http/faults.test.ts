/** Model servers and clients that misbehave, against the whole app: nothing is lost, nothing leaks, and everybody is told. */
import { once } from 'node:events'
import { request, type ClientRequest, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'

import { afterEach, expect, test } from 'vitest'

import { openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { LINES_HEAD, openWireServer, sseEvent, STREAM_HEAD, whole } from '../support/wire-server.ts'

const closing: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  for (const each of closing.splice(0).reverse()) await each.close()
})
const kept = <T extends { close(): Promise<unknown> }>(each: T): T => {
  closing.push(each)
  return each
}

const UNLIMITED = { TROUPE_CALLS_PER_SECOND: '0', TROUPE_PARALLEL_CALLS: '1000' }

async function openApp(
  env: Record<string, string>,
  clock: Parameters<typeof openTestApp>[1] = {},
): Promise<{ troupe: TestApp; key: string }> {
  const troupe = kept(await openTestApp({ ...UNLIMITED, ...env }, clock))
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'test', scopes: ['chat', 'base-models'] },
  })
  return { troupe, key: ((await made.json()) as { secret: string }).secret }
}

const bodyFor = (model: string, stream: boolean, text = 'Hi') => ({
  model,
  stream,
  messages: [{ role: 'user', content: text }],
})

async function inTurns<T>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

const recordOf = async (troupe: TestApp, answer: Response): Promise<unknown> =>
  (await troupe.request('GET', `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`)).json()

const WORDS = ['Über dem ', 'Hafen ', 'さよ', 'うなら ', '🌊']
const STREAM = Buffer.from(
  `${WORDS.map((content) => sseEvent({ content })).join('')}${sseEvent({}, 'stop')}data: [DONE]\n\n`,
)
const LINES = Buffer.from(
  [...WORDS.map((content) => ({ message: { content } })), { done: true, done_reason: 'stop' }]
    .map((line) => `${JSON.stringify(line)}\n`)
    .join(''),
)

/** What each dialect says, and where its last word begins. */
const DIALECTS = [
  { dialect: '/v1', bytes: STREAM, head: STREAM_HEAD, last: '"stop"', setting: 'OPENAI_API_BASE_URLS' },
  { dialect: 'Ollama', bytes: LINES, head: LINES_HEAD, last: '"done":true', setting: 'OLLAMA_BASE_URL' },
] as const

test.each(DIALECTS)(
  'a model server ($dialect) that resets at any byte leaves what it said, an error and one failed record with its length',
  async ({ dialect, bytes, head, last, setting }) => {
    const cuts = Array.from({ length: bytes.length }, (_, at) => at)
    const models = cuts.map((cut) => `cut-${String(cut)}`)
    const server = kept(
      await openWireServer(models, (body, socket) => {
        const cut = Number(/"model":"cut-(\d+)"/.exec(body)?.[1])
        // What was sent arrives before the reset does.
        socket.write(Buffer.concat([Buffer.from(head), bytes.subarray(0, cut)]), () =>
          setTimeout(() => socket.resetAndDestroy(), 5),
        )
      }),
    )
    const { troupe, key } = await openApp({ [setting]: dialect === 'Ollama' ? server.origin : server.url })
    const lastWord = bytes.indexOf(last)
    const seen = { statuses: 0, broken: 0, whole: 0 }
    await inTurns(models, 25, async (model) => {
      const answer = await troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor(model, true) })
      const cut = Number(model.slice(4))
      if (!answer.ok) {
        seen.statuses += 1
        expect(await answer.json()).toMatchObject({ error: { code: 'upstream_error' } })
        expect(await recordOf(troupe, answer)).toMatchObject({ status: 'failed' })
        return
      }
      const events = (await readEvents(answer)) as {
        choices?: { delta: { content?: string } }[]
        error?: object
      }[]
      expect(events.at(-1)).toBe('[DONE]')
      const said = events.flatMap(({ choices }) => choices?.[0]?.delta.content ?? []).join('')
      expect(WORDS.join('').startsWith(said)).toBe(true)
      const isWhole = events.at(-2)?.error === undefined
      seen[isWhole ? 'whole' : 'broken'] += 1
      if (cut < lastWord) expect(isWhole).toBe(false)
      expect(await recordOf(troupe, answer)).toMatchObject({
        status: isWhole ? 'ok' : 'failed',
        errorCode: isWhole ? null : 'upstream',
        ...(!isWhole && { anatomy: { saidCharacters: said.length } }),
      })
    })
    process.stdout.write(`${dialect}: resets at ${String(cuts.length)} bytes: ${JSON.stringify(seen)}\n`)
    expect(seen.statuses + seen.broken + seen.whole).toBe(cuts.length)
    expect(seen.broken).toBeGreaterThan(100)
    // None was asked twice.
    expect(server.chats).toHaveLength(cuts.length)
  },
  60_000,
)

/** The machine itself may be busy for longer; a server that is really asked is slow every time. */
const TIMED = { retry: 2, timeout: 60_000 }

test(
  'a model server that refuses is left alone, tried by one call, and used again when it is back',
  TIMED,
  async () => {
    let isUp = false
    // Told to close, or a call that comes meanwhile would be sent anew without having been heard.
    const down = whole('503 Service Unavailable', '{"error":"down"}', 'connection: close\r\n')
    const server = kept(
      await openWireServer(['m'], (_body, socket) => {
        const answer = `${STREAM_HEAD}${sseEvent({ content: 'Hi' })}${sseEvent({}, 'stop')}data: [DONE]\n\n`
        // Late enough for several calls to be on their way when one of them tries it.
        setTimeout(() => socket.end(isUp ? answer : down), 30)
      }),
    )
    let skippedMs = 0
    const { troupe, key } = await openApp(
      { OPENAI_API_BASE_URLS: server.url },
      { now: () => Date.now() + skippedMs },
    )
    const ask = async (at: number) => {
      const startedAtMs = performance.now()
      const body = bodyFor('m', true, `call ${String(at)}.`)
      const answer = await troupe.request('POST', '/v1/chat/completions', { key, body })
      const { status } = answer
      await answer.text()
      return { status, ms: performance.now() - startedAtMs }
    }
    const numbers = (count: number) => Array.from({ length: count }, (_, at) => at)
    const outcomes: Awaited<ReturnType<typeof ask>>[] = []
    await inTurns(numbers(200), 10, async (at) => void outcomes.push(await ask(at)))
    const reached = server.chats.length
    const callsThatReached = new Set(server.chats.map((body) => /call \d+\./.exec(body)?.[0])).size
    const retries = reached - callsThatReached
    expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set([503]))
    expect(reached).toBeLessThanOrEqual(20)
    expect(retries).toBeLessThanOrEqual(Math.max(3, reached * 0.2))
    const refusals: number[] = []
    for (const at of numbers(21)) refusals.push((await ask(at)).ms)
    const medianMs = refusals.sort((one, other) => one - other)[10] ?? Infinity
    expect(medianMs).toBeLessThan(50)
    expect(server.chats).toHaveLength(reached)

    isUp = true
    skippedMs += 5_000
    const trying = await Promise.all(numbers(5).map(ask))
    expect(trying.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(server.chats).toHaveLength(reached + 1)
    const after = await Promise.all(numbers(5).map(ask))
    expect(after.filter(({ status }) => status === 200)).toHaveLength(5)
    process.stdout.write(
      `200 calls to a server that refuses: ${String(reached)} reached it, ${String(retries)} of them repeated; ` +
        `then 503 in ${medianMs.toFixed(0)} ms (median), 1 call tries it, 5 of 5 are answered\n`,
    )
  },
)

test('a model server that never answers, or stops in the middle, gives its place back; other models go on', async () => {
  const server = kept(
    await openWireServer(['mute', 'stuck', 'well'], (body, socket) => {
      if (body.includes('"mute"')) return
      socket.write(STREAM_HEAD + sseEvent({ content: 'One ' }))
      if (body.includes('"well"')) socket.end(`${sseEvent({}, 'stop')}data: [DONE]\n\n`)
    }),
  )
  const limits = { TROUPE_FIRST_TOKEN_SECONDS: '1', TROUPE_IDLE_SECONDS: '1', TROUPE_PARALLEL_CALLS: '2' }
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url, ...limits })
  const ask = (model: string, stream: boolean) =>
    troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor(model, stream) })
  const startedAtMs = performance.now()
  const mute = [ask('mute', true), ask('mute', false)]
  const stuck = [ask('stuck', true), ask('stuck', true)]
  expect((await ask('well', true)).status).toBe(200)
  const otherMs = performance.now() - startedAtMs
  for (const answer of await Promise.all(mute)) {
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
    const told = isStream ? JSON.stringify(await readEvents(answer)) : await answer.text()
    expect(told).toContain('upstream_timeout')
  }
  for (const answer of await Promise.all(stuck)) {
    const events = await readEvents(answer)
    expect(events.slice(-2)).toMatchObject([{ error: { code: 'upstream_timeout' } }, '[DONE]'])
  }
  expect(await gauge(troupe, 'troupe_calls_running')).toBe(0)
  process.stdout.write(
    `4 silent calls ended after ${(performance.now() - startedAtMs).toFixed(0)} ms with limits of 1,000 ms; ` +
      `another model answered meanwhile in ${otherMs.toFixed(0)} ms; 0 places are left taken\n`,
  )
})

/** The sum over all servers and models. */
async function gauge(troupe: TestApp, name: string): Promise<number> {
  const text = await (await troupe.request('GET', '/metrics')).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

function send(url: string, key: string, body: object, reads = true): ClientRequest {
  const client = request(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  })
  client.on('error', () => undefined)
  client.on('response', (answer: IncomingMessage) => {
    answer.on('error', () => undefined)
    if (reads) answer.resume()
    else answer.pause()
  })
  client.end(JSON.stringify(body))
  return client
}

test.each([
  ['a line of 10 MB', `${STREAM_HEAD}data: ${'x'.repeat(10 * 1_048_576)}\n\n`, 'upstream_error'],
  ['what is no JSON', `${STREAM_HEAD}data: {"choices": [}\n\n`, 'upstream_error'],
  [
    'a redirect to a metadata address',
    whole('302 Found', '', 'location: http://169.254.169.254/latest\r\n'),
    'upstream_error',
  ],
  [
    'a page of a proxy',
    'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>',
    'upstream_error',
  ],
])('a model server that sends %s: one clear error', async (_name, bytes, code) => {
  const server = kept(
    await openWireServer(['m'], (_body, socket) => {
      socket.end(bytes)
    }),
  )
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url })
  const before = process.memoryUsage().rss
  const answer = await troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor('m', true) })
  expect(answer.status).toBe(502)
  // This process holds the hostile server with its 10 MB as well.
  expect((process.memoryUsage().rss - before) / 1_048_576).toBeLessThan(64)
  expect(await answer.json()).toMatchObject({ error: { code } })
  expect(server.chats).toHaveLength(1)
})

test('a model server that sends single bytes and cookies: the answer is whole, and its headers are not ours', async () => {
  const server = kept(
    await openWireServer(['m'], (_body, socket) => {
      void (async () => {
        const head = STREAM_HEAD.replace('\r\n\r\n', '\r\nset-cookie: spy=1\r\nx-secret: 1\r\n\r\n')
        for (const byte of Buffer.concat([Buffer.from(head), STREAM])) {
          socket.write(Buffer.from([byte]))
          await new Promise(setImmediate)
        }
        socket.end()
      })()
    }),
  )
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url })
  const client = send(troupe.url, key, bodyFor('m', true), false)
  const [answer] = (await once(client, 'response')) as [IncomingMessage]
  const said = wordsOf(answer)
  expect(Object.keys(answer.headers)).not.toContain('set-cookie')
  expect(Object.keys(answer.headers)).not.toContain('x-secret')
  expect(await said).toBe(WORDS.join(''))
})

async function wordsOf(answer: IncomingMessage): Promise<string> {
  const events = (await readEvents(new Response(await text(answer)))) as {
    choices?: { delta: { content?: string } }[]
  }[]
  expect(events.at(-1)).toBe('[DONE]')
  return events.flatMap(({ choices }) => choices?.[0]?.delta.content ?? []).join('')
}

test('a client that reads nothing holds the model server back, in flat memory', async () => {
  const chunk = sseEvent({ content: 'word '.repeat(2_000) })
  let sentBytes = 0
  const server = kept(
    await openWireServer(['m'], (_body, socket) => {
      socket.write(STREAM_HEAD)
      const pour = () => {
        while (sentBytes < 48 * 1_048_576) {
          sentBytes += chunk.length
          if (socket.write(chunk)) continue
          socket.once('drain', pour)
          return
        }
      }
      pour()
    }),
  )
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url })
  const client = send(troupe.url, key, bodyFor('m', true), false)
  await once(client, 'response')
  const settles = async () => {
    const before = sentBytes
    await new Promise((resolve) => setTimeout(resolve, 50))
    return sentBytes === before
  }
  const rests = async () => (await settles()) && (await settles()) && (await settles())
  await expect.poll(rests, { timeout: 10_000 }).toBe(true)
  const heldAtBytes = sentBytes
  const before = process.memoryUsage().rss
  for (let look = 0; look < 10; look++) expect(await settles()).toBe(true)
  const grownMb = (process.memoryUsage().rss - before) / 1_048_576
  process.stdout.write(
    `a client that reads nothing: held after ${(heldAtBytes / 1_048_576).toFixed(1)} of 48 MB, then ${grownMb.toFixed(1)} MB grown\n`,
  )
  expect(heldAtBytes).toBeLessThan(24 * 1_048_576)
  expect(grownMb).toBeLessThan(8)
  client.destroy()
  await expect.poll(() => gauge(troupe, 'troupe_calls_running')).toBe(0)
}, 30_000)
