/** Row 19: a client that leaves, at whatever moment, takes its call to the model server with it, and leaves nothing behind. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { expect } from 'vitest'

import { ADMIN_KEY, CONNECTION_KEY } from '../support/app.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { reliabilityTest } from '../support/reliability.ts'
import { openWireServer, STREAM_HEAD, whole } from '../support/wire-server.ts'

const CLIENTS = 1_000
const AT_ONCE = 12
/** Fewer than clients at the same time: some leave while they wait for their turn. */
const PLACES = 8
/** Turns of one key at the same time; the clients of the test and one more. */
const LEASES = AT_ONCE + 1
/** Asks in a stream, and gets no answer. */
const SILENT = 1_000_000
const LONGEST_STAY_MS = 150

const LIMIT_MS = 500
/** Of the time that a plain proxy needs on the same machine in the same second. */
const MOST_TIMES_CONTROL = 3

const SERVERS = ['troupe', 'control'] as const
type Server = (typeof SERVERS)[number]

/** What Troupe is asked for; the plain proxy knows one path. */
const ASKED = [
  { path: '/v1/chat/completions', body: { stream: true } },
  { path: '/v1/chat/completions', body: { stream: false } },
  { path: '/v1/responses', body: { stream: true } },
  { path: '/v1/completions', body: { stream: true } },
  { path: '/v1/embeddings', body: {} },
] as const

const wordsOf = (server: Server, at: number) => `${server} client ${String(at)}.`

function requestOf(server: Server, at: number, key: string): Buffer {
  const { path: where, body } =
    server === 'control' ? ASKED[0] : (ASKED[(at >> 2) % ASKED.length] ?? ASKED[0])
  const words = wordsOf(server, at)
  const asked = where.endsWith('chat/completions')
    ? { messages: [{ role: 'user', content: words }] }
    : where.endsWith('/completions')
      ? { prompt: words }
      : { input: words }
  const text = JSON.stringify({ model: 'm', ...body, ...asked })
  const head = `POST ${where} HTTP/1.1\r\nhost: troupe\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n`
  return Buffer.from(`${head}content-length: ${String(Buffer.byteLength(text))}\r\n\r\n${text}`)
}

/** `performance.now()` of each call by its words: when the client left, and when the model server saw its socket closed. */
interface Seen {
  leftAtMs: Map<string, number>
  closedAtMs: Map<string, number | undefined>
  /** How long the same server let somebody wait who came as the client left. */
  inLineMs: Map<string, number>
}

/** For a chat, a text to go on with, and texts to be embedded. */
const choice = (content: string, finish: string | null) => ({
  index: 0,
  delta: { content },
  message: { content },
  text: content,
  finish_reason: finish,
})
const ANSWER = { choices: [choice('One two', 'stop')], data: [{ index: 0, embedding: [1, 0] }] }
const event = (content: string, finish: string | null) =>
  `data: ${JSON.stringify({ choices: [choice(content, finish)] })}\n\n`

/** Says nothing, begins and says nothing more, stops in the middle, or answers. */
const openModelServer = (seen: Seen) =>
  openWireServer(['m'], (body, socket) => {
    const [words = '', at = '0'] = /(?:troupe|control) client (\d+)\./.exec(body) ?? []
    seen.closedAtMs.set(words, undefined)
    socket.once('close', () => seen.closedAtMs.set(words, performance.now()))
    const kind = Number(at) % 4
    if (!body.includes('"stream":true')) {
      if (kind > 2) socket.end(whole('200 OK', JSON.stringify(ANSWER), 'connection: close\r\n'))
      return
    }
    if (kind > 0) socket.write(STREAM_HEAD)
    if (kind > 1) socket.write(event('One ', null) + event('two ', null))
    if (kind > 2) socket.end(`${event('', 'stop')}data: [DONE]\n\n`)
  })

interface Client {
  leave(): void
  /** What it has read so far. */
  heard(): string
}

function send(port: number, bytes: Buffer): Client {
  const socket = connect(port, '127.0.0.1')
  let heard = ''
  socket.on('error', () => undefined).on('data', (chunk: Buffer) => (heard += chunk.toString('latin1')))
  socket.write(bytes)
  return { leave: () => socket.destroy(), heard: () => heard }
}

async function startControl(origin: string): Promise<{ port: number; child: ChildProcess }> {
  const file = path.join(import.meta.dirname, '../bench/gateway/control.ts')
  const child = fork(file, [origin], { execArgv: ['--import', 'tsx'] })
  const [{ port }] = (await once(child, 'message')) as [AddressInfo]
  return { port, child }
}

/** Milliseconds until it was served. */
const standInLine = async (url: string): Promise<number> => {
  const startedAtMs = performance.now()
  await (await fetch(url, { headers: { connection: 'close' } })).text()
  return performance.now() - startedAtMs
}

const at = (values: readonly number[], share: number) =>
  [...values].sort((a, b) => a - b)[Math.ceil((values.length - 1) * share)] ?? Number.NaN

async function gauge(url: string, name: string): Promise<number> {
  const headers = { authorization: `Bearer ${ADMIN_KEY}`, connection: 'close' }
  const text = await (await fetch(`${url}/metrics`, { headers })).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`))
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

/** What keeps the process busy or will wake it up. */
async function held(sidecar: SidecarProcess): Promise<{ sockets: number; timers: number }> {
  const resources = await sidecar.resources()
  const count = (kind: string) => resources.filter((each) => each === kind).length
  return { sockets: count('TCPSocketWrap'), timers: count('Timeout') }
}

reliabilityTest(
  19,
  'client-leaves',
  async ({ figures }) => {
    const seen: Seen = { leftAtMs: new Map(), closedAtMs: new Map(), inLineMs: new Map() }
    const model = await openModelServer(seen)
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-leaves-'))
    const sidecar = await startSidecar({
      TROUPE_DATA_DIR: dataDir,
      TROUPE_ADMIN_KEY: ADMIN_KEY,
      TROUPE_CONNECTION_KEY: CONNECTION_KEY,
      OLLAMA_BASE_URL: '',
      OPENAI_API_BASE_URLS: model.url,
      TROUPE_CALLS_PER_SECOND: '0',
      TROUPE_PARALLEL_CALLS: String(PLACES),
      TROUPE_PARALLEL_TURNS: String(LEASES),
    })
    const control = await startControl(model.origin)
    const ports = { troupe: Number(new URL(sidecar.url).port), control: control.port }
    const made = await fetch(`${sidecar.url}/troupe/api/keys`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${ADMIN_KEY}`,
        'content-type': 'application/json',
        connection: 'close',
      },
      body: JSON.stringify({ name: 'test', scopes: ['chat', 'embeddings', 'base-models'] }),
    })
    const { secret: key } = (await made.json()) as { secret: string }

    const visit = async (number: number): Promise<void> => {
      const clients = SERVERS.map((server) => ({
        server,
        ...send(ports[server], requestOf(server, number, key)),
      }))
      await sleep((number * 37) % LONGEST_STAY_MS)
      for (const { server, leave } of clients) {
        seen.leftAtMs.set(wordsOf(server, number), performance.now())
        leave()
      }
      // Through the same doors: nobody comes while those who came before are not served, however slow the machine is.
      const [troupeMs] = await Promise.all([
        standInLine(`${sidecar.url}/livez`),
        standInLine(`http://127.0.0.1:${String(control.port)}/`),
      ])
      seen.inLineMs.set(wordsOf('troupe', number), troupeMs)
    }
    const numbers = Array.from({ length: CLIENTS }, (_, number) => number)
    const inTurns = async (queue: number[]) => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) await visit(next)
    }
    const rest = async () => {
      await expect.poll(() => gauge(sidecar.url, 'troupe_calls_running')).toBe(0)
      expect(await gauge(sidecar.url, 'troupe_calls_waiting')).toBe(0)
    }
    // Whatever is made once and kept is made here.
    await inTurns(numbers.slice(0, AT_ONCE))
    await rest()
    // One is kept for the lists of models.
    await expect.poll(async () => (await held(sidecar)).sockets).toBeLessThanOrEqual(1)
    const before = await held(sidecar)
    seen.closedAtMs.clear()

    const queue = [...numbers]
    await Promise.all(Array.from({ length: AT_ONCE }, () => inTurns(queue)))
    await rest()
    const open = () => [...seen.closedAtMs].flatMap(([words, atMs]) => (atMs === undefined ? [words] : []))
    await expect.poll(open).toEqual([])
    const delays = (server: Server) =>
      [...seen.closedAtMs].flatMap(([words, closedAtMs = 0]) => {
        const ms = closedAtMs - (seen.leftAtMs.get(words) ?? Infinity)
        return words.startsWith(server) && ms > 0 ? [{ ms, inLineMs: seen.inLineMs.get(words) ?? 0 }] : []
      })
    const [ours, plain] = [delays('troupe').map(({ ms }) => ms), delays('control').map(({ ms }) => ms)]
    for (const [name, values] of [
      ['', ours],
      [' (plain proxy)', plain],
    ] as const) {
      figures[`closed after ms${name}`] = [0.5, 0.99, 1]
        .map((share) => at(values, share).toFixed(0))
        .join(' / ')
      figures[`calls closed${name}`] = values.length
    }
    expect(Math.min(ours.length, plain.length)).toBeGreaterThan(CLIENTS / 4)
    const limitMs = Math.max(LIMIT_MS, at(plain, 1) * MOST_TIMES_CONTROL)
    expect(at(ours, 0.99)).toBeLessThan(limitMs)
    // A stall of the machine can fall on one alone; whoever came in that instant stood in line for as long.
    expect(Math.max(...delays('troupe').map(({ ms, inLineMs }) => ms - inLineMs))).toBeLessThan(limitMs)

    // All places and all turns can be had, and no more of them: none was kept by somebody who left.
    const stay = Array.from({ length: LEASES }, (_, number) =>
      send(ports.troupe, requestOf('troupe', SILENT + number * 20, key)),
    )
    await expect.poll(() => gauge(sidecar.url, 'troupe_calls_running')).toBe(PLACES)
    await expect.poll(() => gauge(sidecar.url, 'troupe_calls_waiting')).toBe(LEASES - PLACES)
    const tooMany = send(ports.troupe, requestOf('troupe', SILENT, key))
    await expect.poll(() => tooMany.heard()).toContain('HTTP/1.1 429')
    for (const { leave } of [...stay, tooMany]) leave()
    await rest()
    await expect.poll(() => held(sidecar), { timeout: 20_000 }).toEqual(before)
    figures['left at the end'] =
      `0 of ${String(PLACES)} places, 0 of ${String(LEASES)} turns, 0 sockets, 0 timers`

    control.child.disconnect()
    await sidecar.stop()
    await model.close()
    await rm(dataDir, { recursive: true, force: true })
  },
  { timeoutMs: 120_000 },
)
