/**
 * Long documents and bombs while people chat: answers flow as before, the memory stays flat, a kill in the middle loses
 * nothing. With the built sidecar, since the process that reads is started from the bundle too.
 */
import { spawn } from 'node:child_process'
import { setMaxListeners } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { constants, setPriority, tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import type {
  Added,
  KnowledgeBase,
  KnowledgeChunk,
  KnowledgeDocument,
} from '../../sidecar/src/knowledge/knowledge.ts'
import { ADMIN_KEY, CONNECTION_KEY } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { hasPolicyManual, policyManual } from '../support/policy-manual.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { docxWith, pdfWith } from '../support/sample-documents.ts'
import { sampleCard } from '../support/samples.ts'

const STREAMS = 20
const CHUNK_EVERY_MS = 50

let ollama: FakeOllama
let dataDir: string
let sidecar: SidecarProcess

const start = () =>
  startSidecar({
    TROUPE_DATA_DIR: dataDir,
    TROUPE_ADMIN_KEY: ADMIN_KEY,
    TROUPE_CONNECTION_KEY: CONNECTION_KEY,
    TROUPE_PARALLEL_CALLS: String(STREAMS),
    TROUPE_WARM_CHARACTERS: '0',
    OLLAMA_BASE_URL: ollama.origin,
  })

beforeAll(async () => {
  const beat = {
    open: () => undefined,
    pass: () => new Promise<void>((resolve) => setTimeout(resolve, CHUNK_EVERY_MS)),
  }
  ollama = await openFakeOllama({
    answer: () => ({ chunks: Array.from({ length: 100 }, () => 'word '), beforeChunk: beat }),
  })
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-reading-'))
  sidecar = await start()
  const card = { spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name: 'Mira' }) }
  const form = new FormData()
  form.append('files', new Blob([JSON.stringify(card)]), 'mira.json')
  const answer = await fetch(`${sidecar.url}/troupe/api/characters/import`, {
    method: 'POST',
    body: form,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  })
  expect(answer.ok).toBe(true)
})
afterAll(async () => {
  await sidecar.stop()
  await ollama.close()
  await rm(dataDir, { recursive: true, force: true })
})

async function call<T>(method: string, route: string, body?: object): Promise<T> {
  const isForm = body instanceof FormData
  const answer = await fetch(`${sidecar.url}/troupe/api/knowledge${route}`, {
    method,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
    ...(body !== undefined && { body: isForm ? body : JSON.stringify(body) }),
  })
  const value = (await answer.json()) as T
  expect(answer.ok, JSON.stringify(value)).toBe(true)
  return value
}

async function add(base: string, files: Readonly<Record<string, Buffer>>): Promise<string[]> {
  const form = new FormData()
  for (const [name, bytes] of Object.entries(files))
    form.append('files', new Blob([new Uint8Array(bytes)]), name)
  const { results } = await call<{ results: Added[] }>('POST', `/bases/${base}/documents`, form)
  return results.map(({ id, status, notes }) => {
    if (id === undefined || status === 'failed') throw new Error(JSON.stringify(notes))
    return id
  })
}

async function ended(id: string): Promise<KnowledgeDocument> {
  for (;;) {
    const document = await call<KnowledgeDocument>('GET', `/documents/${id}`)
    if (!['waiting', 'parsing', 'embedding'].includes(document.state)) return document
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A figure of `/metrics`; those of the event loop begin anew with each call. */
async function figure(name: string): Promise<number> {
  const text = await (await fetch(`${sidecar.url}/metrics`)).text()
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN)
}

async function residentMb(): Promise<number> {
  const status = await readFile(`/proc/${String(sidecar.child.pid)}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? NaN) / 1_024
}

const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? NaN

interface Measured {
  gapP50Ms: number
  gapP99Ms: number
  lagP99Ms: number
  /** Share of a processor that the main thread of the sidecar took. */
  mainShare: number
  /** Share of the time for which it could run, and others did. */
  waitShare: number
}

/** Nanoseconds that the main thread ran, and that it waited for a processor. */
async function schedule(): Promise<{ ranMs: number; waitedMs: number; atMs: number }> {
  const pid = String(sidecar.child.pid)
  const [ran = NaN, waited = NaN] = (await readFile(`/proc/${pid}/task/${pid}/schedstat`, 'utf8'))
    .split(' ')
    .map((nanoseconds) => Number(nanoseconds) / 1e6)
  return { ranMs: ran, waitedMs: waited, atMs: performance.now() }
}

/** One processor, with the priority that the reading of documents has. */
async function burnProcessor(ms: number): Promise<void> {
  const burning = spawn(process.execPath, ['-e', 'for (;;);'])
  setPriority(burning.pid ?? 0, constants.priority.PRIORITY_LOW)
  await new Promise((resolve) => setTimeout(resolve, ms))
  burning.kill('SIGKILL')
}

/** Twenty people read answers while `work` is done. */
async function whileStreaming(work: () => Promise<unknown>): Promise<Measured> {
  const controller = new AbortController()
  setMaxListeners(2 * STREAMS, controller.signal)
  const gaps: number[] = []
  const streams = Array.from({ length: STREAMS }, () =>
    readAnswers(controller.signal, (gap) => gaps.push(gap)),
  )
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (gaps.length < STREAMS * 5) return
      clearInterval(timer)
      resolve()
    }, 20)
  })
  gaps.length = 0
  await figure('nodejs_eventloop_lag_p99_seconds')
  const before = await schedule()
  await work()
  const after = await schedule()
  const lagP99Ms = (await figure('nodejs_eventloop_lag_p99_seconds')) * 1_000
  const tookMs = after.atMs - before.atMs
  const measured = {
    ...{ gapP50Ms: percentile(gaps, 0.5), gapP99Ms: percentile(gaps, 0.99), lagP99Ms },
    mainShare: (after.ranMs - before.ranMs) / tookMs,
    waitShare: (after.waitedMs - before.waitedMs) / tookMs,
  }
  controller.abort()
  await Promise.all(streams)
  return measured
}

async function readAnswers(signal: AbortSignal, onGap: (ms: number) => void): Promise<void> {
  const body = JSON.stringify({ model: 'mira', stream: true, messages: [{ role: 'user', content: 'Hello' }] })
  while (!signal.aborted)
    await new Promise<void>((resolve) => {
      const asking = request(`${sidecar.url}/v1/chat/completions`, {
        method: 'POST',
        signal,
        headers: { authorization: `Bearer ${CONNECTION_KEY}`, 'content-type': 'application/json' },
      })
      let lastAtMs: number | undefined
      asking.once('response', (answer) => {
        answer.on('data', () => {
          const atMs = performance.now()
          if (lastAtMs !== undefined) onGap(atMs - lastAtMs)
          lastAtMs = atMs
        })
        answer.once('close', resolve)
      })
      asking.once('error', () => resolve())
      asking.end(body)
    })
}

describe.skipIf(!hasPolicyManual())('long documents (needs the Debian package debian-policy)', () => {
  test('a PDF of 193 pages, a DOCX, an EPUB and a large page are read while 20 answers flow undisturbed', async () => {
    const manual = await policyManual()
    expect(manual['policy.html']?.length).toBeGreaterThan(790_000)
    const rounds: Round[] = []
    // On a shared machine one measurement says little; what is read must be right each time.
    for (let round = 0; round < 3; round++) {
      const base = await call<KnowledgeBase>('POST', '/bases', { name: `Policy ${round}` })
      let seconds = 0
      const beside = await whileStreaming(() => burnProcessor(6_000))
      const reading = await whileStreaming(async () => {
        const startedAt = performance.now()
        const documents = await Promise.all((await add(base.id, manual)).map(ended))
        seconds = (performance.now() - startedAt) / 1_000
        for (const { file, state, failure } of documents)
          expect([file, state, failure]).toEqual([file, 'ready', null])
        expect(documents[0]?.progress).toMatchObject({ pagesRead: 193, pagesTotal: 193 })
        for (const { progress } of documents) expect(progress.chunksTotal).toBeGreaterThan(500)
      })
      process.stdout.write(
        `${told('beside a busy loop', beside)}\n${told('reading', reading)}; four documents in ${seconds.toFixed(1)} s\n`,
      )
      rounds.push({ beside, reading })
      if (isUndisturbed({ beside, reading })) break
    }
    // What is read costs the thread that answers next to nothing; this holds however busy the machine is.
    expect(
      Math.min(...rounds.map(({ beside, reading }) => reading.mainShare - beside.mainShare)),
    ).toBeLessThan(0.3)
    const isShown = rounds.some(isUndisturbed)
    if (!isShown && rounds.every(({ reading }) => reading.waitShare >= MOST_WAITING))
      process.stdout.write(
        'The machine is too busy to say anything about single gaps: see the shares of waiting\n',
      )
    else expect(isShown).toBe(true)
  })

  const told = (what: string, { gapP50Ms, gapP99Ms, lagP99Ms, mainShare, waitShare }: Measured): string =>
    `${what}: gaps p50 ${gapP50Ms.toFixed(1)} ms, p99 ${gapP99Ms.toFixed(1)} ms; event loop p99 ${lagP99Ms.toFixed(1)} ms; ` +
    `main thread ran ${(100 * mainShare).toFixed(0)} %, waited for a processor ${(100 * waitShare).toFixed(0)} %`

  /** Where the thread that answers waits for a processor more often, its delays are those of the machine. */
  const MOST_WAITING = 0.05

  /** The same load from a process that has nothing to do with ours: what is worse than beside it is our doing. */
  interface Round {
    beside: Measured
    reading: Measured
  }

  /** The figure of the event loop contains the 10 ms after which it looks; on a quiet machine less than 20 is asked for. */
  const isUndisturbed = ({ beside, reading }: Round): boolean =>
    reading.lagP99Ms < Math.max(20, beside.lagP99Ms * 1.5) &&
    reading.gapP50Ms < beside.gapP50Ms * 1.1 &&
    reading.gapP99Ms < Math.max(beside.gapP99Ms * 1.5, beside.gapP99Ms + 20)

  test('a kill in the middle of a document loses nothing, and nothing comes twice', async () => {
    const { 'policy.pdf': pdf } = await policyManual()
    const base = await call<KnowledgeBase>('POST', '/bases', { name: 'Killed' })
    const [id = ''] = await add(base.id, { 'policy.pdf': pdf ?? Buffer.alloc(0) })
    await expect
      .poll(async () => (await call<KnowledgeDocument>('GET', `/documents/${id}`)).progress.pagesRead, {
        timeout: 30_000,
        interval: 20,
      })
      .toBeGreaterThan(10)
    await sidecar.kill()
    sidecar = await start()
    const document = await ended(id)
    expect(document).toMatchObject({ state: 'ready', failure: null })
    const numbers: number[] = []
    for (let after: number | null = -1; after !== null;) {
      const page: { chunks: KnowledgeChunk[]; nextAfter: number | null } = await call(
        'GET',
        `/documents/${id}/chunks?limit=500&after=${after}`,
      )
      numbers.push(...page.chunks.map(({ number }) => number))
      after = page.nextAfter
    }
    expect(numbers).toEqual(Array.from({ length: document.progress.chunksTotal ?? 0 }, (_, at) => at))
  })
})

describe('bombs', () => {
  const paragraph = `<w:p><w:r><w:t>${'A'.repeat(1_000)}</w:t></w:r></w:p>`
  const instructions = Buffer.alloc(280_000_000, 'BT /F1 12 Tf (Hello) Tj ET\n')

  test.each([
    [
      'a DOCX that inflates to 400 MB',
      'bomb.docx',
      () => docxWith(paragraph.repeat(400_000_000 / paragraph.length)),
    ],
    [
      'a DOCX that inflates to 400 MB and says 1 MB',
      'liar.docx',
      () => docxWith(paragraph.repeat(400_000_000 / paragraph.length), 'A document', 1_000_000),
    ],
    ['a PDF with a page of 280 MB', 'bomb.pdf', () => pdfWith([instructions])],
    ['a page of 200,000 nested elements', 'bomb.html', () => Buffer.from('<div>'.repeat(200_000))],
  ])('%s is refused in two seconds, in the memory of another process', async (_what, name, make) => {
    const bomb = make()
    const base = await call<KnowledgeBase>('POST', '/bases', { name: 'Bombs' })
    const tries: { ms: number; grewMb: number; message: string }[] = []
    do {
      const [beforeMb, startedAt] = [await residentMb(), performance.now()]
      const [id = ''] = await add(base.id, { [`${tries.length}-${name}`]: bomb })
      const { state, failure } = await ended(id)
      expect(state).toBe('failed')
      const ms = performance.now() - startedAt
      tries.push({ ms, grewMb: (await residentMb()) - beforeMb, message: failure?.message ?? '' })
    } while ((tries.at(-1)?.ms ?? 0) >= 2_000 && tries.length < 3)
    const { ms, grewMb, message } = tries.at(-1) ?? { ms: NaN, grewMb: NaN, message: '' }
    process.stdout.write(`${name}: ${ms.toFixed(0)} ms, +${grewMb.toFixed(0)} MB; ${message}\n`)
    expect(message).toMatch(/save it|take the original|print it/)
    expect(ms).toBeLessThan(2_000)
    expect(grewMb).toBeLessThan(64)
  })
})
