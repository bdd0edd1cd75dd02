/** Rows 16 to 18 and 20, and the slow reader of row 24: model servers and clients that misbehave, against the whole app. */
import { once } from 'node:events'
import { request, type IncomingMessage } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'

import { expect } from 'vitest'

import { openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { createGate } from '../support/fake-server.ts'
import { kept } from '../support/kept.ts'
import { reliabilityTest } from '../support/reliability.ts'
import { LINES_HEAD, openWireServer, sseEvent, STREAM_HEAD, whole } from '../support/wire-server.ts'

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

interface Recorded {
  status: string
  errorCode: string | null
  anatomy?: { saidCharacters?: number }
}

const recordOf = async (troupe: TestApp, answer: Response): Promise<Recorded> => {
  const id = answer.headers.get('x-request-id') ?? ''
  return (await (await troupe.request('GET', `/troupe/api/requests/${id}`)).json()) as Recorded
}

interface Event {
  choices?: { delta: { content?: string } }[]
  error?: { code: string }
}

const saidIn = (events: readonly Event[]) =>
  events.flatMap(({ choices }) => choices?.[0]?.delta.content ?? []).join('')

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

for (const { dialect, bytes, head, last, setting } of DIALECTS) {
  reliabilityTest(16, `upstream-reset-mid: ${dialect}`, async ({ counters, figures }) => {
    const models = Array.from({ length: bytes.length }, (_, cut) => `cut-${String(cut)}`)
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
    const seen = { refused: 0, 'broken off': 0, whole: 0 }
    await inTurns(models, 25, async (model) => {
      const answer = await troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor(model, true) })
      if (!answer.ok) {
        seen.refused += 1
        expect(await answer.json()).toMatchObject({ error: { code: 'upstream_error' } })
        if ((await recordOf(troupe, answer)).status !== 'failed') counters.lost += 1
        return
      }
      const events = (await readEvents(answer)) as Event[]
      expect(events.at(-1)).toBe('[DONE]')
      const said = saidIn(events)
      expect(WORDS.join('').startsWith(said)).toBe(true)
      const isWhole = events.at(-2)?.error === undefined
      if (Number(model.slice(4)) < lastWord) expect(isWhole).toBe(false)
      seen[isWhole ? 'whole' : 'broken off'] += 1
      const { status, errorCode, anatomy } = await recordOf(troupe, answer)
      const isTold = isWhole
        ? status === 'ok' && errorCode === null
        : status === 'failed' && errorCode === 'upstream' && anatomy?.saidCharacters === said.length
      if (!isTold) counters.lost += 1
    })
    counters.duplicated = server.chats.length - models.length
    Object.assign(figures, { 'resets, one at each byte': models.length, ...seen })
    expect(seen.refused + seen.whole + seen['broken off']).toBe(models.length)
    expect(seen['broken off']).toBeGreaterThan(100)
  })
}

/** Of a refusal while a server is left alone, in milliseconds. */
const LONGEST_REFUSAL_MS = 50

reliabilityTest(17, 'upstream-dead-then-back', async ({ figures }) => {
  let isUp = false
  const trial = createGate()
  // Told to close, or a call that comes meanwhile would be sent anew without having been heard.
  const down = whole('503 Service Unavailable', '{"error":"down"}', 'connection: close\r\n')
  const server = kept(
    await openWireServer(['m'], (_body, socket) => {
      const answer = `${STREAM_HEAD}${sseEvent({ content: 'Hi' })}${sseEvent({}, 'stop')}data: [DONE]\n\n`
      if (isUp) void trial.pass().then(() => socket.end(answer))
      // Late enough for several calls to be on their way when one of them tries it.
      else setTimeout(() => socket.end(down), 30)
    }),
  )
  // Turned by hand: on a busy machine the calls take longer than the server is left alone.
  let nowMs = Date.now()
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url }, { now: () => nowMs })
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
  const repeated = reached - callsThatReached
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set([503]))
  expect(reached).toBeLessThanOrEqual(20)
  expect(repeated).toBeLessThanOrEqual(Math.max(3, reached * 0.2))

  const measure = async () => {
    const refusalsMs: number[] = []
    for (const at of numbers(21)) refusalsMs.push((await ask(at)).ms)
    return refusalsMs.sort((one, other) => one - other)[10] ?? Infinity
  }
  let medianMs = await measure()
  for (let again = 0; again < 2 && medianMs >= LONGEST_REFUSAL_MS; again++) medianMs = await measure()
  expect(medianMs).toBeLessThan(LONGEST_REFUSAL_MS)
  expect(server.chats).toHaveLength(reached)

  isUp = true
  nowMs += 5_000
  let refused = 0
  const asked = numbers(5).map(async (at) => {
    const outcome = await ask(at)
    if (outcome.status === 503) refused += 1
    return outcome
  })
  // The one that tries it is not through before the others were turned away.
  await expect.poll(() => refused).toBe(4)
  trial.open()
  const trying = (await Promise.all(asked)).filter(({ status }) => status === 200)
  expect(trying).toHaveLength(1)
  expect(server.chats).toHaveLength(reached + 1)
  const after = (await Promise.all(numbers(5).map(ask))).filter(({ status }) => status === 200)
  expect(after).toHaveLength(5)
  Object.assign(figures, { calls: outcomes.length, 'reached it': reached, repeated })
  figures['refused in ms (median)'] = medianMs.toFixed(0)
  figures['tried by'] = trying.length
  figures['answered when it is back'] = `${String(after.length)} of 5`
})

reliabilityTest(18, 'upstream-silent', async ({ figures }) => {
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
  figures['another model answers after ms'] = (performance.now() - startedAtMs).toFixed(0)
  for (const answer of await Promise.all(mute)) {
    const isStream = answer.headers.get('content-type')?.startsWith('text/event-stream') === true
    const told = isStream ? JSON.stringify(await readEvents(answer)) : await answer.text()
    expect(told).toContain('upstream_timeout')
  }
  for (const answer of await Promise.all(stuck)) {
    const events = await readEvents(answer)
    expect(events.slice(-2)).toMatchObject([{ error: { code: 'upstream_timeout' } }, '[DONE]'])
  }
  figures['silent calls'] = mute.length + stuck.length
  figures['ended after ms (limit 1,000)'] = (performance.now() - startedAtMs).toFixed(0)
  figures['places left taken'] = await gauge(troupe, 'troupe_calls_running')
  expect(figures['places left taken']).toBe(0)
})

/** The sum over all servers and models. */
async function gauge(troupe: TestApp, name: string): Promise<number> {
  const text = await (await troupe.request('GET', '/metrics')).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** What has no place in the memory of one answer, in megabytes. This process holds the hostile server with its 10 MB as well. */
const MOST_GROWN_MB = 64

/** Where a server has no business to send us; counts who comes. */
async function openTrap(): Promise<{ url: string; visits: () => number; close: () => Promise<void> }> {
  let visits = 0
  const trap = createServer((socket) => {
    visits += 1
    socket.destroy()
  })
  await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${String((trap.address() as AddressInfo).port)}/latest`,
    visits: () => visits,
    close: () => new Promise((resolve) => trap.close(() => resolve())),
  }
}

const HOSTILE: readonly (readonly [name: string, bytes: (trap: string) => string])[] = [
  ['a line of 10 MB', () => `${STREAM_HEAD}data: ${'x'.repeat(10 * 1_048_576)}\n\n`],
  ['no JSON', () => `${STREAM_HEAD}data: {"choices": [}\n\n`],
  ['a redirect', (trap) => whole('302 Found', '', `location: ${trap}\r\n`)],
  [
    'a redirect that keeps the method',
    (trap) => whole('307 Temporary Redirect', '', `location: ${trap}\r\n`),
  ],
  [
    'a page of a proxy',
    () => 'HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n\r\n<html>',
  ],
]

reliabilityTest(20, 'hostile-upstream: one clear error each', async ({ counters, figures }) => {
  const trap = kept(await openTrap())
  const sends = new Map(HOSTILE.map(([, bytes], at) => [`m${String(at)}`, bytes(trap.url)]))
  const server = kept(
    await openWireServer([...sends.keys()], (body, socket) => {
      socket.end(sends.get(/"model":"(m\d+)"/.exec(body)?.[1] ?? '') ?? '')
    }),
  )
  const { troupe, key } = await openApp({ OPENAI_API_BASE_URLS: server.url })
  let mostGrownMb = 0
  for (const model of sends.keys()) {
    const before = process.memoryUsage().rss
    const answer = await troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor(model, true) })
    expect(answer.status).toBe(502)
    mostGrownMb = Math.max(mostGrownMb, (process.memoryUsage().rss - before) / 1_048_576)
    expect(await answer.json()).toMatchObject({ error: { code: 'upstream_error' } })
  }
  counters.duplicated = server.chats.length - sends.size
  counters.in = trap.visits()
  figures['seen through'] = HOSTILE.map(([name]) => name).join('; ')
  figures['MB grown at most'] = mostGrownMb.toFixed(0)
  expect(mostGrownMb).toBeLessThan(MOST_GROWN_MB)
})

reliabilityTest(
  20,
  'hostile-upstream: single bytes, and headers of its own',
  async ({ counters, figures }) => {
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
    const answer = await troupe.request('POST', '/v1/chat/completions', { key, body: bodyFor('m', true) })
    const passedOn = ['set-cookie', 'x-secret'].filter((name) => answer.headers.has(name))
    const events = (await readEvents(answer)) as Event[]
    expect(events.at(-1)).toBe('[DONE]')
    expect(saidIn(events)).toBe(WORDS.join(''))
    counters.leaked = passedOn.length
    figures['bytes, one at a time'] = STREAM.length
    figures['headers passed on'] = passedOn.length
  },
)

const POURED_BYTES = 48 * 1_048_576

reliabilityTest(24, 'slow-everything: a client that reads nothing', async ({ figures }) => {
  const chunk = sseEvent({ content: 'word '.repeat(2_000) })
  let sentBytes = 0
  const server = kept(
    await openWireServer(['m'], (_body, socket) => {
      socket.write(STREAM_HEAD)
      const pour = () => {
        while (sentBytes < POURED_BYTES) {
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
  const client = request(`${troupe.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
  })
  client.on('error', () => undefined).end(JSON.stringify(bodyFor('m', true)))
  const [answer] = (await once(client, 'response')) as [IncomingMessage]
  answer.on('error', () => undefined).pause()
  const settles = async () => {
    const before = sentBytes
    await new Promise((resolve) => setTimeout(resolve, 50))
    return sentBytes === before
  }
  const rests = async () => (await settles()) && (await settles()) && (await settles())
  await expect.poll(rests).toBe(true)
  const heldAtBytes = sentBytes
  const before = process.memoryUsage().rss
  for (let look = 0; look < 10; look++) expect(await settles()).toBe(true)
  const grownMb = (process.memoryUsage().rss - before) / 1_048_576
  figures['held back after MB (of 48)'] = (heldAtBytes / 1_048_576).toFixed(1)
  figures['MB grown while it waits'] = grownMb.toFixed(1)
  expect(heldAtBytes).toBeLessThan(POURED_BYTES / 2)
  expect(grownMb).toBeLessThan(8)
  client.destroy()
  await expect.poll(() => gauge(troupe, 'troupe_calls_running')).toBe(0)
})
