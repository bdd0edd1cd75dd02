/**
 * Rows 6 to 8: the outbox of a running sidecar whose PostgreSQL is away, on a disk that is full, that fails, and that was
 * damaged. What was answered is in PostgreSQL in the end, once.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, open, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'

import { afterEach, beforeEach, describe, expect, vi } from 'vitest'

import { openStore } from '#store/open.ts'

import { ADMIN_KEY, CONNECTION_KEY } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { findPostgres, startPostgres, type PostgresServer } from '../support/postgres.ts'
import { startSidecar, type SidecarProcess } from '../support/process.ts'
import { missing, reliabilityTest, type Tally } from '../support/reliability.ts'
import { sampleCard } from '../support/samples.ts'

const bin = await findPostgres()
const isRoot = process.getuid?.() === 0 && process.platform === 'linux'
const run = promisify(execFile)
const skip = missing({ PostgreSQL: bin !== undefined })

const KILOBYTE = 1_024
const DISK_KILOBYTES = 2_048
/** What the outbox finds free at first. */
const FREE_KILOBYTES = 500

describe('the outbox', () => {
  let ollama: FakeOllama
  let postgres: PostgresServer
  let dir: string
  let outbox: string
  let sidecar: SidecarProcess
  let isMounted = false
  beforeEach(async () => {
    ;[ollama, postgres] = await Promise.all([
      openFakeOllama({ answer: () => ({ chunks: ['Yes.'] }) }),
      startPostgres(bin ?? ''),
    ])
    dir = await mkdtemp(path.join(tmpdir(), 'troupe-outbox-'))
    outbox = path.join(dir, 'outbox')
    await mkdir(outbox)
  })
  afterEach(async () => {
    await sidecar.kill()
    if (isMounted) await run('umount', ['-l', outbox])
    isMounted = false
    await Promise.all([ollama.close(), postgres.stop()])
    await rm(dir, { recursive: true, force: true })
  })

  async function start(env: Record<string, string> = {}): Promise<void> {
    sidecar = await startSidecar({
      TROUPE_DATA_DIR: dir,
      TROUPE_ADMIN_KEY: ADMIN_KEY,
      TROUPE_CONNECTION_KEY: CONNECTION_KEY,
      TROUPE_CALLS_PER_SECOND: '0',
      TROUPE_WARM_CHARACTERS: '0',
      OLLAMA_BASE_URL: ollama.origin,
      ANALYTICS_DATABASE_URL: postgres.url,
      ANALYTICS_OUTBOX_DIR: outbox,
      ...env,
    })
  }

  async function importMira(): Promise<void> {
    const card = { spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name: 'Mira' }) }
    const form = new FormData()
    form.append('files', new Blob([JSON.stringify(card)]), 'mira.json')
    const headers = { authorization: `Bearer ${ADMIN_KEY}` }
    await fetch(`${sidecar.url}/troupe/api/characters/import`, { method: 'POST', headers, body: form })
  }

  const acknowledged = new Set<string>()
  beforeEach(() => acknowledged.clear())

  /** The status; an answer that came whole is acknowledged. */
  async function chat(): Promise<number> {
    const answer = await fetch(`${sidecar.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${CONNECTION_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'mira', messages: [{ role: 'user', content: 'Hello' }] }),
    })
    await answer.arrayBuffer()
    if (answer.ok) acknowledged.add(answer.headers.get('x-request-id') ?? '')
    return answer.status
  }

  const readiness = async () => {
    const answer = await fetch(`${sidecar.url}/readyz`)
    return (await answer.json()) as {
      status: string
      checks: Record<string, { ok: boolean; message?: string }>
    }
  }
  const drained = () =>
    vi.waitFor(async () => expect((await readiness()).checks['records']).toEqual({ ok: true }), {
      timeout: 30_000,
      interval: 100,
    })

  async function count(
    { counters, figures }: Tally,
    expected: ReadonlySet<string> = acknowledged,
  ): Promise<ReadonlySet<string>> {
    const store = await openStore(postgres.url)
    const rows = await store.db.select({ id: store.t.callRecords.id }).from(store.t.callRecords)
    await store.close()
    const stored = new Set(rows.map(({ id }) => id))
    counters.lost = [...expected].filter((id) => !stored.has(id)).length
    counters.duplicated = rows.length - stored.size
    figures['acknowledged'] = acknowledged.size
    return stored
  }

  /** A small disk, most of which something else takes. */
  async function mountDisk(): Promise<string> {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${String(DISK_KILOBYTES)}k`, 'tmpfs', outbox])
    isMounted = true
    const filler = path.join(outbox, 'something-else')
    await writeFile(filler, Buffer.alloc((DISK_KILOBYTES - FREE_KILOBYTES) * KILOBYTE, 1))
    return filler
  }

  async function fillUp(isFull: () => Promise<boolean>): Promise<void> {
    for (let tries = 0; !(await isFull()); tries++)
      if (tries > 3_000) throw new Error('The disk was never full')
  }

  reliabilityTest(
    6,
    'outbox-enospc: strict',
    async (tally) => {
      const filler = await mountDisk()
      await start()
      await importMira()
      await postgres.crash()
      await fillUp(async () => (await chat()) === 503)
      const before = ollama.chats().length
      const startedAtMs = performance.now()
      for (let at = 0; at < 5; at++) expect(await chat()).toBe(503)
      // Refused before a model works; one that it tries again by itself, each second, may have found room.
      const tries = 1 + Math.floor((performance.now() - startedAtMs) / 1_000)
      expect(ollama.chats().length - before).toBeLessThanOrEqual(tries)
      const { status, checks } = await readiness()
      expect(status).toBe('unavailable')
      expect(checks['records']?.message).toMatch(/neither the database nor the outbox/)
      await rm(filler)
      await vi.waitFor(async () => expect(await chat()).toBe(200), { timeout: 10_000, interval: 100 })
      tally.figures['answers before it was full'] = acknowledged.size
      for (let at = 0; at < 20; at++) expect(await chat()).toBe(200)
      await postgres.restart()
      await drained()
      await count(tally)
    },
    { skip: skip !== false ? skip : !isRoot && 'only root can mount a small disk' },
  )

  reliabilityTest(
    6,
    'outbox-enospc: lax',
    async (tally) => {
      await mountDisk()
      await start({ ANALYTICS_STRICT: 'false' })
      await importMira()
      await postgres.crash()
      const isFailing = async () => {
        expect(await chat()).toBe(200)
        const told = (await readiness()).checks['records']?.message ?? ''
        return told.includes('neither the database nor the outbox')
      }
      await fillUp(isFailing)
      // What is answered now is counted, and not promised.
      const promised = new Set([...acknowledged].slice(0, -1))
      const message = async () => (await readiness()).checks['records']?.message ?? ''
      const dropped = async () => Number(/(\d+) (?:are|records were) lost/.exec(await message())?.[1] ?? 0)
      // One that is tried again, each second, is not counted and may find room.
      for (let at = 0; at < 5 || (at < 50 && (await dropped()) < 5); at++) expect(await chat()).toBe(200)
      await postgres.restart()
      await vi.waitFor(async () => expect(await message()).toMatch(/^\d+ records were lost[^;]*$/), {
        timeout: 30_000,
        interval: 100,
      })
      const lost = await dropped()
      tally.figures['counted as without a record'] = lost
      expect(lost).toBeGreaterThanOrEqual(5)
      expect(await chat()).toBe(200)
      const stored = await count(tally, promised)
      expect(lost).toBe([...acknowledged].filter((id) => !stored.has(id)).length)
    },
    { skip: skip !== false ? skip : !isRoot && 'only root can mount a small disk' },
  )

  reliabilityTest(
    7,
    'outbox-eio',
    async (tally) => {
      await start()
      await importMira()
      await postgres.crash()
      expect(await chat()).toBe(200)
      const files = ['', '-wal', '-journal'].flatMap((end) => [
        '-P',
        path.join(outbox, `outbox-1.sqlite${end}`),
      ])
      const calls = 'fsync,fdatasync'
      const inject = ['-e', `trace=${calls}`, '-e', `inject=${calls}:error=EIO:when=3+3`]
      const pid = String(sidecar.child.pid)
      const log = path.join(dir, 'strace.txt')
      const strace = spawn('strace', ['-f', '-o', log, ...files, ...inject, '-p', pid], {
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const ended = once(strace, 'exit')
      // It says so when it has attached itself.
      await once(strace.stderr, 'data')
      const statuses = new Map<number, number>()
      const startedAtMs = performance.now()
      const isOver = () => {
        const ms = performance.now() - startedAtMs
        return ms > 30_000 || (ms > 3_000 && statuses.size > 1)
      }
      while (!isOver()) {
        const status = await chat()
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
      const lines = sidecar.output().split('\n').length
      strace.kill('SIGTERM')
      await ended
      tally.figures['answered'] = statuses.get(200) ?? 0
      tally.figures['refused'] = statuses.get(503) ?? 0
      expect([...statuses.keys()].sort()).toEqual([200, 503])
      // A line for each request, and few besides: it does not go round in circles.
      expect(lines).toBeLessThan(50 + 3 * [...statuses.values()].reduce((sum, count) => sum + count, 0))
      await vi.waitFor(async () => expect(await chat()).toBe(200), { timeout: 10_000, interval: 100 })
      await postgres.restart()
      await drained()
      await count(tally)
    },
    {
      skip:
        skip !== false
          ? skip
          : !(isRoot && existsSync('/usr/bin/strace')) && 'strace is missing, or may not look into a process',
    },
  )

  reliabilityTest(
    8,
    'outbox-corrupt',
    async (tally) => {
      await start()
      await importMira()
      await postgres.crash()
      for (let at = 0; at < 100; at++) expect(await chat()).toBe(200)
      await sidecar.kill()
      const name = (await readdir(outbox)).find((file) => file.endsWith('.sqlite')) ?? ''
      // Put together, so that what is damaged is the database and not a log beside it that is read over it.
      await run(process.execPath, [
        '-e',
        `new (require('better-sqlite3'))(process.argv[1]).pragma('wal_checkpoint(TRUNCATE)')`,
        path.join(outbox, name),
      ])
      const file = await open(path.join(outbox, name), 'r+')
      const { size } = await file.stat()
      await file.write(Buffer.alloc(8_192, 0xa5), 0, 8_192, Math.floor(size / 2 / 4_096) * 4_096)
      await file.close()
      await postgres.restart()
      const startedAtMs = performance.now()
      await start()
      tally.figures['ready after ms'] = Math.round(performance.now() - startedAtMs)
      const damaged = 'damaged files of the outbox were put aside'
      const message = async () => (await readiness()).checks['records']?.message ?? ''
      await vi.waitFor(async () => expect(await message()).toMatch(new RegExp(`^1 ${damaged}`)), 30_000)
      expect((await readdir(outbox)).some((each) => each.includes('.damaged-'))).toBe(true)
      expect(await chat()).toBe(200)
      // What stood in the damaged pages lies in the file that was put aside; the rest is in, once.
      const store = await openStore(postgres.url)
      const rows = await store.db.select({ id: store.t.callRecords.id }).from(store.t.callRecords)
      await store.close()
      tally.counters.duplicated = rows.length - new Set(rows.map(({ id }) => id)).size
      tally.counters.in = rows.filter(({ id }) => !acknowledged.has(id)).length
      Object.assign(tally.figures, { acknowledged: acknowledged.size, saved: rows.length })
      expect(rows.length).toBeGreaterThan(acknowledged.size / 2)
    },
    { skip },
  )
})
