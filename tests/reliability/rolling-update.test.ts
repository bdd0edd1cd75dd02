/** Row 11: three replicas behind a real nginx are replaced one by one, and nobody notices. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { expect } from 'vitest'

import { openStore } from '#store/open.ts'

import { ADMIN_KEY, CONNECTION_KEY, importCard, readEvents } from '../support/app.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { hasNginx, startNginx } from '../support/nginx.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { startSidecar } from '../support/process.ts'
import { hasRedis, startRedis } from '../support/redis.ts'
import { missing, reliabilityTest } from '../support/reliability.ts'

const REPLICAS = 3
const CLIENTS = 24
const WORDS = 30
const BETWEEN_WORDS_MS = 25

const bin = await findPostgres()

interface Seen {
  acknowledged: string[]
  /** Why a request failed, or a stream broke. */
  faults: string[]
  streams: number
  whole: number
  lists: number
  /** Streams that run now. */
  running: number
}

/** Asks as clients do, one after the other, until told to stop. What is not as it should be is written down. */
async function keepAsking(url: string, seen: Seen, isOver: () => boolean): Promise<void> {
  const headers = { authorization: `Bearer ${CONNECTION_KEY}`, 'content-type': 'application/json' }
  const chat = (stream: boolean) =>
    fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers,
      body: JSON.stringify({ model: 'mira', stream, messages: [{ role: 'user', content: 'Hello' }] }),
    })
  const note = (answer: Response) => seen.acknowledged.push(answer.headers.get('x-request-id') ?? '')
  for (let turn = 0; !isOver(); turn++) {
    seen.running += 1
    try {
      const answer = await chat(true)
      const events = await readEvents(answer)
      const text = JSON.stringify(events)
      if (answer.status !== 200) seen.faults.push(`stream: ${String(answer.status)} ${text}`)
      else if (events.at(-1) !== '[DONE]' || !text.includes('"finish_reason":"stop"'))
        seen.faults.push(`stream: ${JSON.stringify(events.slice(-2))}`)
      else note(answer)
      seen.streams += 1
    } catch (error) {
      seen.faults.push(`stream: ${String(error)} ${String((error as Error).cause)}`)
    }
    seen.running -= 1
    try {
      const [list, whole] = [await fetch(`${url}/v1/models`, { headers }), await chat(false)]
      if (list.status !== 200 || whole.status !== 200)
        seen.faults.push(`list ${String(list.status)}, whole ${String(whole.status)}`)
      else note(whole)
      await Promise.all([list.arrayBuffer(), whole.arrayBuffer()])
      seen.lists += 1
      seen.whole += 1
    } catch (error) {
      seen.faults.push(`whole: ${String(error)} ${String((error as Error).cause)}`)
    }
  }
}

reliabilityTest(
  11,
  'rolling-update',
  async ({ counters, figures }) => {
    const slowly = { open: () => undefined, pass: () => sleep(BETWEEN_WORDS_MS) }
    const words = Array.from({ length: WORDS }, (_, at) => `word ${String(at)} `)
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-rolling-'))
    const [postgres, redis, ollama] = await Promise.all([
      startPostgres(bin ?? ''),
      startRedis(),
      openFakeOllama({ answer: () => ({ chunks: words, beforeChunk: slowly }) }),
    ])
    const env = {
      TROUPE_ADMIN_KEY: ADMIN_KEY,
      TROUPE_CONNECTION_KEY: CONNECTION_KEY,
      TROUPE_REPLICAS: String(REPLICAS),
      TROUPE_PSEUDONYM_SECRET: 'pseudonym-secret-of-the-test-0123456789',
      TROUPE_WARM_CHARACTERS: '0',
      TROUPE_PARALLEL_CALLS: '100',
      TROUPE_CALLS_PER_SECOND: '0',
      DATABASE_URL: postgres.url,
      ANALYTICS_DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      OLLAMA_BASE_URL: ollama.origin,
    }
    const start = (at: number, port?: string) =>
      startSidecar({
        ...env,
        TROUPE_DATA_DIR: path.join(dataDir, String(at)),
        ...(port !== undefined && { TROUPE_PORT: port }),
      })
    // One after the first: tables are made by one process, and Mira is known to all from their start.
    const first = await start(0)
    await importCard(first.url, { name: 'Mira' })
    const replicas = [first, ...(await Promise.all([1, 2].map((at) => start(at))))]
    const nginx = await startNginx(replicas.map(({ url }) => url))

    const seen: Seen = { acknowledged: [], faults: [], streams: 0, whole: 0, lists: 0, running: 0 }
    let isOver = false
    const clients = Array.from({ length: CLIENTS }, async (_, at) => {
      await sleep(at * 50)
      await keepAsking(nginx.url, seen, () => isOver)
    })
    await sleep(1_500)
    const runningAtSignals: number[] = []
    for (const [at, replica] of [...replicas.entries()]) {
      runningAtSignals.push(seen.running)
      const ended = once(replica.child, 'exit')
      replica.child.kill('SIGTERM')
      expect(await ended).toEqual([0, null])
      replicas[at] = await start(at, new URL(replica.url).port)
    }
    await sleep(500)
    isOver = true
    await Promise.all(clients)

    const store = await openStore(postgres.url)
    const { id, status } = store.t.callRecords
    const rows = await store.db.select({ id, status }).from(store.t.callRecords)
    await store.close()
    await nginx.stop()
    await Promise.all(replicas.map((replica) => replica.stop()))
    await Promise.all([ollama.close(), redis.stop(), postgres.stop()])
    await rm(dataDir, { recursive: true, force: true })

    const ok = new Set(rows.filter((row) => row.status === 'ok').map((row) => row.id))
    counters.lost += seen.acknowledged.filter((each) => !ok.has(each)).length
    counters.duplicated += rows.length - new Set(rows.map((row) => row.id)).size
    Object.assign(figures, {
      'replicas replaced': REPLICAS,
      ...{ streams: seen.streams, 'whole answers': seen.whole, lists: seen.lists },
      'failed or broken': seen.faults.length,
      'streams at each SIGTERM': runningAtSignals.join(' '),
    })
    expect(seen.faults).toEqual([])
    expect(Math.min(...runningAtSignals)).toBeGreaterThan(0)
  },
  { skip: missing({ PostgreSQL: bin !== undefined, Redis: hasRedis, nginx: hasNginx }) },
)
