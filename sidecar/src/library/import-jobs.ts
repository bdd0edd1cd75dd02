/**
 * Bulk imports: an archive of cards is kept on the disk and read in one by one, in the background. What became of each file
 * is committed together with its character, so a job that is stopped or killed goes on where it was: none is lost, none
 * comes twice.
 */
import { createWriteStream } from 'node:fs'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setImmediate as breathe } from 'node:timers/promises'

import { and, asc, count, desc, eq, gt, inArray, lt, ne } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Kv } from '#kv/kv.ts'
import { takeLease } from '#kv/lease.ts'
import type { Store } from '#store/store.ts'

import { unitsOf } from './archive-units.ts'
import type { ImportResult } from './library.ts'
import { openArchive } from './open-archive.ts'
import { createTakingIn, type TakingInParts } from './taking-in.ts'

/** More than any library seen; a disk that is filled by an upload stops everything else. */
const LARGEST_ARCHIVE_BYTES = 8 * 1024 * 1024 * 1024

/** How long the results of a finished job can be read. */
const KEPT_MS = 30 * 86_400_000

const PAGE = 100

/** Jobs whose process died are looked for this often, and those that are to stop. */
const LOOK_MS = 5_000
const STOPPED_MS = 1_000

/** An archive without a job that was not written to for so long was left by an upload that broke off. */
const LEFT_MS = 3_600_000

export type JobState = 'running' | 'stopped' | 'done' | 'failed'

export interface ImportJob {
  id: string
  name: string
  actor: string
  publishes: boolean
  state: JobState
  totalFiles: number
  /** How many files have come to their end, by what became of them. */
  counts: Record<ImportResult['status'], number>
  /** Why it failed as a whole; null otherwise. */
  failure: string | null
  createdAtMs: number
  finishedAtMs: number | null
}

export interface ImportJobs {
  /** Keeps the archive and begins. Throws AppError `invalid` for what is no archive or holds no card, `too_large`. */
  start(
    archive: AsyncIterable<Uint8Array>,
    wish: { name: string; actor: string; publishes: boolean },
  ): Promise<ImportJob>
  /** Newest first. */
  list(): Promise<ImportJob[]>
  /** Throws AppError `not_found`. */
  get(id: string): Promise<ImportJob>
  /** In the order of the archive. */
  results(
    id: string,
    find: { status?: ImportResult['status']; after?: number; limit?: number },
  ): Promise<{ results: (ImportResult & { position: number })[]; nextAfter: number | null }>
  /** After the file that is being read. */
  stop(id: string): Promise<ImportJob>
  resume(id: string): Promise<ImportJob>
  /** Forgets jobs that ended a month ago. */
  purge(): Promise<void>
  /** Waits for the file that is being read; the rest goes on at the next start. */
  close(): Promise<void>
}

interface JobParts extends TakingInParts {
  kv: Kv
  dataDir: string
  log: Log
}

/** Goes on with what was running when the process ended. */
export async function openImportJobs({ kv, dataDir, log, ...parts }: JobParts): Promise<ImportJobs> {
  const { store, now } = parts
  const folder = path.join(dataDir, 'imports')
  await mkdir(folder, { recursive: true })
  const { importJobs: jobs, importResults: outcomes } = store.t
  const fileOf = (id: string) => path.join(folder, `${id}.zip`)
  const takeIn = createTakingIn(parts)
  const running = new Map<string, { isStopped: boolean; ended: Promise<void> }>()

  async function read(id: string): Promise<ImportJob> {
    const [row] = await store.db.select().from(jobs).where(eq(jobs.id, id))
    if (row === undefined) throw new AppError('not_found', 'There is no import with this id')
    return withCounts(store, row)
  }

  async function end(id: string, state: JobState, failure: string | null = null): Promise<void> {
    const finishedAtMs = state === 'stopped' ? null : now()
    await store.db.update(jobs).set({ state, failure, finishedAtMs }).where(eq(jobs.id, id))
    if (state !== 'stopped') await rm(fileOf(id), { force: true })
    log.info({ importJob: id, state }, 'bulk import ended')
  }

  function run(job: Pick<ImportJob, 'id' | 'actor' | 'publishes'>): void {
    const control = { isStopped: false, ended: Promise.resolve() }
    running.set(job.id, control)
    control.ended = work(job, control)
      .catch(async (thrown: unknown) => {
        const error = toAppError(thrown)
        log.error({ importJob: job.id, errorCode: error.code, error: error.cause }, 'bulk import failed')
        await end(job.id, 'failed', error.message)
      })
      .finally(() => running.delete(job.id))
  }

  async function work(job: Pick<ImportJob, 'id' | 'actor' | 'publishes'>, control: { isStopped: boolean }) {
    // Another process reads it in; or nobody knows who does, while the kv does not answer: then it is looked for again.
    const lease = await takeLease(kv, `import ${job.id}`).catch(() => undefined)
    if (lease === undefined) return
    lease.signal.addEventListener('abort', () => (control.isStopped = true))
    try {
      if (await readAll(job, control)) await end(job.id, 'done')
    } finally {
      await lease.end()
    }
  }

  /** False when it was stopped. */
  async function readAll(
    job: Pick<ImportJob, 'id' | 'actor' | 'publishes'>,
    control: { isStopped: boolean },
  ) {
    const archive = await openArchive(fileOf(job.id))
    let lookedAtMs = now()
    try {
      const done = await donePositions(store, job.id)
      for (const [position, unit] of unitsOf(archive.names).entries()) {
        // Another process may have been told to stop it.
        if (now() - lookedAtMs > STOPPED_MS) {
          lookedAtMs = now()
          control.isStopped ||= (await read(job.id)).state !== 'running'
        }
        if (control.isStopped) return false
        if (done.has(position)) continue
        await takeIn(archive, unit, { jobId: job.id, position }, job)
        await breathe()
      }
      return true
    } finally {
      archive.close()
    }
  }

  const unfinished = () =>
    store.db
      .select()
      .from(jobs)
      .where(inArray(jobs.state, ['running', 'stopped']))

  async function dropLeftArchives(): Promise<void> {
    const needed = new Set((await unfinished()).map(({ id }) => path.basename(fileOf(id))))
    for (const name of await readdir(folder)) {
      const file = path.join(folder, name)
      if (needed.has(name) || now() - (await stat(file)).mtimeMs < LEFT_MS) continue
      await rm(file, { force: true })
    }
  }

  /** Whose process died, here or elsewhere, as far as their archives are here; the others are under a lease. */
  async function goOn(): Promise<void> {
    const here = new Set(await readdir(folder))
    for (const job of await unfinished())
      if (job.state === 'running' && !running.has(job.id) && here.has(path.basename(fileOf(job.id)))) run(job)
  }

  await dropLeftArchives()
  await goOn()
  const looking = setInterval(() => {
    goOn().catch((thrown: unknown) => {
      log.warn({ errorCode: toAppError(thrown).code }, 'bulk imports that wait could not be read')
    })
  }, LOOK_MS).unref()

  return {
    async start(bytes, { name, actor, publishes }) {
      const id = createId(now())
      try {
        await pipeline(
          bytes,
          bounded,
          createWriteStream(fileOf(id), { flags: 'wx', mode: 0o600, flush: true }),
        )
        const archive = await openArchive(fileOf(id))
        const totalFiles = unitsOf(archive.names).length
        archive.close()
        if (totalFiles === 0)
          throw new AppError('invalid', 'The archive holds no file that could be a card', { param: 'body' })
        const row = { id, name, actor, publishes, state: 'running', totalFiles, createdAtMs: now() }
        await store.db.insert(jobs).values(row)
      } catch (error) {
        await rm(fileOf(id), { force: true })
        throw error
      }
      run({ id, actor, publishes })
      return read(id)
    },
    async list() {
      const rows = await store.db.select().from(jobs).orderBy(desc(jobs.id)).limit(PAGE)
      return Promise.all(rows.map((row) => withCounts(store, row)))
    },
    get: read,
    async results(id, { status, after = -1, limit = PAGE }) {
      await read(id)
      const rows = await store.db
        .select()
        .from(outcomes)
        .where(
          and(
            eq(outcomes.jobId, id),
            gt(outcomes.position, after),
            status === undefined ? undefined : eq(outcomes.status, status),
          ),
        )
        .orderBy(asc(outcomes.position))
        .limit(limit + 1)
      const results = rows.slice(0, limit).map(({ position, file, status: became, characterId, notes }) => ({
        ...{ position, file, notes },
        status: became as ImportResult['status'],
        ...(characterId === null ? {} : { id: characterId }),
      }))
      return { results, nextAfter: rows.length > limit ? (results.at(-1)?.position ?? null) : null }
    },
    async stop(id) {
      const control = running.get(id)
      if (control !== undefined) {
        control.isStopped = true
        await control.ended
      }
      if ((await read(id)).state === 'running') await end(id, 'stopped')
      return read(id)
    },
    async resume(id) {
      const job = await read(id)
      if (job.state === 'stopped') {
        await store.db.update(jobs).set({ state: 'running' }).where(eq(jobs.id, id))
        run(job)
      }
      return read(id)
    },
    async purge() {
      await store.db
        .delete(jobs)
        .where(and(ne(jobs.state, 'running'), lt(jobs.finishedAtMs, now() - KEPT_MS)))
    },
    async close() {
      clearInterval(looking)
      for (const control of running.values()) control.isStopped = true
      await Promise.all([...running.values()].map(({ ended }) => ended))
    },
  }
}

async function withCounts(store: Store, row: Omit<ImportJob, 'counts' | 'state'> & { state: string }) {
  const { importResults: outcomes } = store.t
  const groups = await store.db
    .select({ status: outcomes.status, files: count() })
    .from(outcomes)
    .where(eq(outcomes.jobId, row.id))
    .groupBy(outcomes.status)
  const counts = { created: 0, updated: 0, skipped: 0, failed: 0 }
  for (const { status, files } of groups) counts[status as ImportResult['status']] = files
  return { ...row, state: row.state as JobState, counts }
}

async function donePositions(store: Store, id: string): Promise<Set<number>> {
  const { importResults: outcomes } = store.t
  const rows = await store.db
    .select({ position: outcomes.position })
    .from(outcomes)
    .where(eq(outcomes.jobId, id))
  return new Set(rows.map(({ position }) => position))
}

async function* bounded(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let sizeBytes = 0
  for await (const chunk of chunks) {
    sizeBytes += chunk.length
    if (sizeBytes > LARGEST_ARCHIVE_BYTES)
      throw new AppError('too_large', 'The archive is larger than 8 GB; send it in parts')
    yield chunk
  }
}
