/** The promise "finished means recorded", held against a process that is killed in the middle of everything. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

import { openStore } from '../../sidecar/src/store/open.ts'
import { ADMIN_KEY, CONNECTION_KEY } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { sampleCard } from '../support/samples.ts'

const ROUNDS = 20
const STREAMS = 10

let ollama: FakeOllama
let dataDir: string

beforeAll(async () => {
  ollama = await openFakeOllama({
    answer: () => ({ chunks: Array.from({ length: 1 + Math.floor(Math.random() * 40) }, () => 'word ') }),
  })
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-kill-'))
})
afterAll(async () => {
  await ollama.close()
  await rm(dataDir, { recursive: true, force: true })
})

const start = () =>
  startSidecar({
    TROUPE_DATA_DIR: dataDir,
    TROUPE_ADMIN_KEY: ADMIN_KEY,
    TROUPE_CONNECTION_KEY: CONNECTION_KEY,
    OLLAMA_BASE_URL: ollama.origin,
  })

async function importMira(url: string): Promise<void> {
  const form = new FormData()
  form.append(
    'files',
    new Blob([
      JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name: 'Mira' }) }),
    ]),
    'mira.json',
  )
  const answer = await fetch(`${url}/troupe/api/characters/import`, {
    method: 'POST',
    body: form,
    headers: { authorization: `Bearer ${ADMIN_KEY}` },
  })
  expect(answer.ok).toBe(true)
}

/**
 * Streams answers one after the other until the process dies. An answer is finished in the instant in which its `[DONE]`
 * is read, not when the connection has rested: what the process promised has to be true right then.
 */
async function keepAsking({ url }: SidecarProcess, onFinished: (id: string) => void): Promise<void> {
  const body = JSON.stringify({ model: 'mira', stream: true, messages: [{ role: 'user', content: 'Hello' }] })
  try {
    for (;;) {
      const asking = request(`${url}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${CONNECTION_KEY}`, 'content-type': 'application/json' },
      })
      asking.end(body)
      const [answer] = (await once(asking, 'response')) as [IncomingMessage]
      answer.on('data', (chunk: Buffer) => {
        if (chunk.includes('data: [DONE]')) onFinished(String(answer.headers['x-request-id']))
      })
      await once(answer, 'end')
    }
  } catch {
    // The connection broke: the process was killed.
  }
}

test(`after ${String(ROUNDS)} kills during ${String(STREAMS)} streams every finished answer has its row, once, and the restart is quick`, async () => {
  const finished: string[] = []
  const restartsMs: number[] = []
  let sidecar = await start()
  await importMira(sidecar.url)
  for (let round = 0; round < ROUNDS; round++) {
    const enough = finished.length + STREAMS + Math.floor(Math.random() * STREAMS)
    const streams = Array.from({ length: STREAMS }, () =>
      keepAsking(sidecar, (id) => {
        finished.push(id)
        if (finished.length >= enough) sidecar.child.kill('SIGKILL')
      }),
    )
    await Promise.all(streams)
    await sidecar.kill()
    sidecar = await start()
    restartsMs.push(sidecar.startMs)
  }
  await sidecar.stop()

  const store = await openStore(`file:${path.join(dataDir, 'analytics.sqlite')}`)
  const rows = await store.db
    .select({ id: store.t.callRecords.id, status: store.t.callRecords.status })
    .from(store.t.callRecords)
  await store.close()
  const ok = rows.filter((row) => row.status === 'ok').map((row) => row.id)
  const recorded = new Set(ok)
  expect(finished.length).toBeGreaterThan(ROUNDS * STREAMS)
  expect(finished.filter((id) => !recorded.has(id))).toEqual([])
  expect(new Set(rows.map((row) => row.id)).size).toBe(rows.length)
  expect(new Set(finished).size).toBe(finished.length)
  expect(Math.max(...restartsMs)).toBeLessThan(3_000)
}, 300_000)
