import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as readText } from 'node:stream/consumers'

import { afterEach, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { writeStream, type Streaming } from '#http/v1/stream.ts'
import type { Delta } from '#providers/provider.ts'

const chunks: Streaming['chunks'] = {
  delta: (delta) => (delta.type === 'text' ? `<${delta.text}>` : ''),
  done: () => '<end>',
  error: (error) => `<error ${error.code}>`,
}
const text = (words: string): Delta => ({ type: 'text', text: words })
const DONE: Delta = { type: 'done', reason: 'stop' }

const closers: (() => void)[] = []
afterEach(() => {
  for (const close of closers.splice(0)) close()
})

interface Outcome {
  answer: IncomingMessage
  /** What `writeStream` resolved or rejected with. */
  outcome: Promise<unknown>
}

/** Serves one stream to a client on a real socket. What is thrown before the first byte is answered with 503. */
async function serve(deltas: AsyncIterable<Delta>, times: Partial<Streaming> = {}): Promise<Outcome> {
  let settle: (outcome: Promise<unknown>) => void = () => undefined
  const outcome = new Promise((resolve) => (settle = resolve))
  const server = createServer((_incoming, outgoing: ServerResponse) => {
    const written = writeStream({ outgoing, deltas, chunks, ...times })
    settle(written.catch((error: unknown) => error))
    written.catch(() => outgoing.writeHead(503).end())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closers.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const request = get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  const [answer] = (await once(request, 'response')) as [IncomingMessage]
  return { answer, outcome }
}

// eslint-disable-next-line @typescript-eslint/require-await -- a stream of things that are there
async function* of(...deltas: readonly Delta[]) {
  yield* deltas
}

test('writes what comes and ends', async () => {
  const { answer, outcome } = await serve(of(text('one'), text('two'), DONE))
  expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
  expect(await readText(answer)).toBe('<one><two><end>')
  expect(await outcome).toBeUndefined()
})

test('a failure before the first word is thrown, one behind it is written', async () => {
  const failing = async function* (before: readonly Delta[]) {
    yield* before
    await Promise.resolve()
    throw new AppError('upstream', 'gone')
  }
  const early = await serve(failing([]))
  expect(early.answer.statusCode).toBe(503)
  expect(await early.outcome).toMatchObject({ code: 'upstream' })
  const late = await serve(failing([text('one')]))
  expect(await readText(late.answer)).toBe('<one><error upstream>')
  expect(await late.outcome).toBe('upstream')
})

test.each([
  ['comment', ': keep-alive\n'],
  ['chunk', '<alive>'],
  ['off', ''],
] as const)('who is silent for long is kept open as the key wants it: %s', async (keepAlive, beat) => {
  const silent = (async function* () {
    await new Promise((resolve) => setTimeout(resolve, 45))
    yield text('one')
    yield DONE
  })()
  const alive = { ...chunks, beat: () => '<alive>' }
  const { answer } = await serve(silent, { chunks: alive, keepAlive, beatMs: 10 })
  const said = await readText(answer)
  expect(said.endsWith('<one><end>')).toBe(true)
  expect(said.startsWith(beat)).toBe(true)
  expect(said.replaceAll(beat === '' ? /^$/g : beat, '')).toBe('<one><end>')
})

test('a failure becomes a status for as long as nobody was told that it is alive', async () => {
  const { outcome } = await serve(
    (async function* () {
      await new Promise((resolve) => setTimeout(resolve, 30))
      throw new AppError('unavailable', 'It does not answer')
      yield DONE
    })(),
    { beatMs: 1_000 },
  )
  expect(await outcome).toMatchObject({ code: 'unavailable' })
})

test('says that it is alive while a model thinks, and does not once it speaks', async () => {
  let speak: () => void = () => undefined
  const thought = new Promise<void>((resolve) => (speak = resolve))
  const slow = (async function* () {
    await thought
    yield* [text('one'), DONE]
  })()
  const { answer } = await serve(slow, { beatMs: 15 })
  answer.setEncoding('utf8')
  const [first] = (await once(answer, 'data')) as [string]
  expect(first).toMatch(/^(: keep-alive\n)+$/)
  speak()
  expect(await readText(answer)).toMatch(/^(: keep-alive\n)*<one><end>$/)
})

test('a client that takes nothing stops the source, and is given up after a while', async () => {
  let taken = 0
  const endless = (async function* () {
    for (;;) {
      taken += 1
      yield text('x'.repeat(65_536))
      await Promise.resolve()
    }
  })()
  const { answer, outcome } = await serve(endless, { stallMs: 40 })
  answer.pause()
  await outcome
  expect(taken).toBeLessThan(1_000)
  expect(answer.socket.destroyed || answer.readableEnded).toBe(false)
})
