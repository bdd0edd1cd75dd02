/** Row 1: the promise "finished means recorded", held against a process that is killed in the middle of everything. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request, type IncomingMessage } from 'node:http'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'

import { expect } from 'vitest'

import { openStore } from '#store/open.ts'

import { median } from '../bench/gateway/statistics.ts'
import { ADMIN_KEY, CONNECTION_KEY, importCard } from '../support/app.ts'
import { cpuOfMs } from '../support/cpu-time.ts'
import { openFakeOllama } from '../support/fake-ollama.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { reliabilityTest, roundsOr } from '../support/reliability.ts'

const ROUNDS = roundsOr(20)
const STREAMS = 10
const LONGEST_START_MS = 3_000

/** How often the processor time of a process that does nothing fits into the time that it takes. */
async function stretchOfBareStart(): Promise<number> {
  const startedAtMs = performance.now()
  const program = 'const { user, system } = process.cpuUsage(); console.log(user + system)'
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [usedUs] = await Promise.all([text(child.stdout), once(child, 'exit')])
  return (performance.now() - startedAtMs) / (Number(usedUs) / 1_000)
}

/** More programs want to run than twice the cores, or one that does nothing waits longer than it runs. */
const isCrowded = (stretch: number) => (loadavg()[0] ?? 0) > 2 * availableParallelism() || stretch > 2

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

reliabilityTest(
  1,
  'kill-sidecar',
  async ({ counters, figures }) => {
    const ollama = await openFakeOllama({
      answer: () => ({ chunks: Array.from({ length: 1 + Math.floor(Math.random() * 40) }, () => 'word ') }),
    })
    const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-kill-'))
    const start = () =>
      startSidecar({
        TROUPE_DATA_DIR: dataDir,
        TROUPE_ADMIN_KEY: ADMIN_KEY,
        TROUPE_CONNECTION_KEY: CONNECTION_KEY,
        OLLAMA_BASE_URL: ollama.origin,
      })
    const finished: string[] = []
    const startsMs: number[] = []
    const startsCpuMs: number[] = []
    const stretches: number[] = []
    let sidecar = await start()
    await importCard(sidecar.url, { name: 'Mira' })
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
      stretches.push(await stretchOfBareStart())
      sidecar = await start()
      startsMs.push(sidecar.startMs)
      startsCpuMs.push(await cpuOfMs(sidecar.child.pid ?? 0))
    }
    await sidecar.stop()
    await ollama.close()

    const store = await openStore(`file:${path.join(dataDir, 'analytics.sqlite')}`)
    const { id, status } = store.t.callRecords
    const rows = await store.db.select({ id, status }).from(store.t.callRecords)
    await store.close()
    await rm(dataDir, { recursive: true, force: true })
    const ok = rows.filter((row) => row.status === 'ok').map((row) => row.id)
    const recorded = new Set(ok)
    counters.lost = finished.filter((each) => !recorded.has(each)).length
    counters.duplicated = rows.length - new Set(rows.map((row) => row.id)).size
    Object.assign(figures, {
      rounds: ROUNDS,
      acknowledged: finished.length,
      'recorded, end not read': recorded.size - finished.length,
      'next start ms': Math.round(median(startsMs)),
      'slowest ms': Math.round(Math.max(...startsMs)),
      'slowest by its processor time ms': Math.max(...startsCpuMs),
      'a bare process takes its processor time': Number(median(stretches).toFixed(1)),
    })
    expect(finished.length).toBeGreaterThan(ROUNDS * STREAMS)
    expect(new Set(finished).size).toBe(finished.length)
    // What a start does itself is bounded for each; how long it waits says something of Troupe only where nobody else is at work.
    expect(Math.max(...startsCpuMs)).toBeLessThan(LONGEST_START_MS)
    if (isCrowded(median(stretches))) figures['judged by'] = 'processor time alone, the machine is crowded'
    else expect(median(startsMs)).toBeLessThan(LONGEST_START_MS)
  },
  { timeoutMs: ROUNDS * 15_000 },
)
