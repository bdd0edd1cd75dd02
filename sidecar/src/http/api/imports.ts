/** Many cards at once: an archive goes in and is read in the background; the whole library comes out as one. */
import { pipeline } from 'node:stream/promises'

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { z } from 'zod'

import type { LibraryArchive } from '#library/export-archive.ts'
import type { ImportJobs } from '#library/import-jobs.ts'

import { check } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const Start = z.object({
  name: z.string().trim().min(1).max(200).default('cards.zip'),
  publish: z.stringbool().default(true),
})
const Results = z.object({
  status: z.enum(['created', 'updated', 'skipped', 'failed']).optional(),
  after: z.coerce.number().int().optional(),
  limit: z.coerce.number().int().positive().max(1_000).default(100),
})

export const importOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The imports of archives, newest first', may: 'viewer' },
  {
    method: 'post',
    path: '/',
    summary: 'Begins an import of a zip archive of cards',
    may: 'editor',
    query: Start,
    body: 'zip',
    status: 202,
    audit: ['import_start', 'the imports'],
  },
  { method: 'get', path: '/:id', summary: 'How far an import is', may: 'viewer' },
  { method: 'get', path: '/:id/results', summary: 'What became of each file', may: 'viewer', query: Results },
  {
    method: 'post',
    path: '/:id/stop',
    summary: 'Stops it after the file that it reads',
    may: 'editor',
    audit: ['import_stop', 'import :id'],
  },
  {
    method: 'post',
    path: '/:id/resume',
    summary: 'Goes on with a stopped import',
    may: 'editor',
    audit: ['import_resume', 'import :id'],
  },
]
export const archiveOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/',
    summary:
      'The whole library, with its lorebooks, as a zip archive; x-troupe-missing-files counts what the data folder lacks',
    may: 'viewer',
    answer: 'application/zip',
    audit: ['archive_export', 'the library'],
  },
]

export interface ImportParts {
  imports: ImportJobs
  /** The whole library as a zip archive. */
  exportArchive: () => Promise<LibraryArchive>
}

export function importRoutes({ imports }: ImportParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ imports: await imports.list() }))
    .post('/', async (c) => {
      const { name, publish } = check(Start, c.req.query())
      const wish = { name, publishes: publish, actor: c.var.principal.name }
      const job = await imports.start(c.env.incoming, wish)
      c.set('auditDetail', { import: job.id, files: job.totalFiles })
      return c.json(job, 202)
    })
    .get('/:id', async (c) => c.json(await imports.get(c.req.param('id'))))
    .get('/:id/results', async (c) => {
      const { limit, status, after } = check(Results, c.req.query())
      const find = { limit, ...(status && { status }), ...(after !== undefined && { after }) }
      return c.json(await imports.results(c.req.param('id'), find))
    })
    .post('/:id/stop', async (c) => c.json(await imports.stop(c.req.param('id'))))
    .post('/:id/resume', async (c) => c.json(await imports.resume(c.req.param('id'))))
}

/** Straight into the socket: an archive may be larger than the memory, and the client may leave in the middle. */
export function archiveRoutes({ exportArchive }: ImportParts) {
  return new Hono<AppEnv>().get('/', async (c) => {
    const { outgoing } = c.env
    const { stream, missing } = await exportArchive()
    outgoing.writeHead(200, {
      'content-type': 'application/zip',
      'content-disposition': 'attachment; filename="troupe-library.zip"',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      'x-request-id': c.var.requestId,
      'x-troupe-missing-files': String(missing),
    })
    // A reset socket says that the archive is not whole; there is no other way to say it after the first byte.
    await pipeline(stream, outgoing).catch(() => outgoing.destroy())
    return RESPONSE_ALREADY_SENT
  })
}
