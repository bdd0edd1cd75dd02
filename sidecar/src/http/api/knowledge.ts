/** Knowledge over HTTP: bases, their documents on the way to being found, and the passages of those. */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream/promises'

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Added, By, Knowledge } from '#knowledge/knowledge.ts'

import { check, readJson, withoutGaps } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { arrivingFiles } from '../multipart.ts'
import type { Operation } from '../openapi.ts'

/** A folder of a few hundred documents; larger ones are sent in several requests. */
const UPLOAD_LIMITS = { files: 1_000, bytes: 2 * 1024 * 1024 * 1024 }

const name = z.string().trim().min(1).max(200)
const note = z.string().trim().max(2_000).nullable()
const ids = z.array(z.string().min(1).max(100)).max(1_000)
const Settings = z
  .strictObject({
    chunkCharacters: z.number().int().min(200).max(4_000).nullable().optional(),
    overlapCharacters: z.number().int().min(0).max(1_000).nullable().optional(),
    wholeBase: z.enum(['auto', 'never']).nullable().optional(),
  })
  .transform(withoutGaps)

const New = z.strictObject({
  name,
  note: note.optional(),
  /** What is not named stays; null takes the default again. */
  settings: Settings.optional(),
  characterIds: ids.optional(),
})
const Patch = New.partial()
const List = z.object({ state: z.enum(['kept', 'trash']).default('kept') })
const Delete = z.object({ forever: z.stringbool().default(false) })
const Chunks = z.object({
  after: z.coerce.number().int().optional(),
  limit: z.coerce.number().int().positive().max(500).default(100),
})
const PatchChunk = z.strictObject({
  /** Null takes an edit back. */
  text: z.string().max(20_000).nullable().optional(),
  isDisabled: z.boolean().optional(),
})

export const baseOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The knowledge bases', may: 'viewer', query: List },
  { method: 'post', path: '/', summary: 'Makes a knowledge base', may: 'editor', body: New, status: 201 },
  { method: 'get', path: '/:id', summary: 'A knowledge base, and how far its documents are', may: 'viewer' },
  {
    method: 'patch',
    path: '/:id',
    summary: 'Changes a base, or who may look into it; other sizes of passages cut it anew',
    may: 'editor',
    body: Patch,
  },
  {
    method: 'delete',
    path: '/:id',
    summary: 'Puts a base into the trash, or deletes it for good',
    may: 'editor',
    query: Delete,
    status: 204,
  },
  { method: 'post', path: '/:id/restore', summary: 'Takes a base out of the trash', may: 'editor' },
  {
    method: 'post',
    path: '/:id/rebuild',
    summary: 'Reads all documents again and cuts them anew; what is there answers until all are done',
    may: 'editor',
    status: 202,
  },
  {
    method: 'get',
    path: '/:id/documents',
    summary: 'The documents of a base with their progress',
    may: 'viewer',
  },
  {
    method: 'post',
    path: '/:id/documents',
    summary: 'Adds documents; one result for each, read in the background',
    may: 'editor',
    body: 'files',
    status: 202,
  },
]
export const documentOperations: readonly Operation[] = [
  { method: 'get', path: '/:id', summary: 'How far a document is, and what was found in it', may: 'viewer' },
  { method: 'delete', path: '/:id', summary: 'Deletes a document', may: 'editor', status: 204 },
  {
    method: 'post',
    path: '/:id/stop',
    summary: 'Stops the reading of a document',
    may: 'editor',
    audit: ['document_stop', 'document :id'],
  },
  { method: 'post', path: '/:id/retry', summary: 'Goes on with a stopped or failed document', may: 'editor' },
  { method: 'get', path: '/:id/chunks', summary: 'The passages of a document', may: 'viewer', query: Chunks },
  {
    method: 'get',
    path: '/:id/original',
    summary: 'The file that was added',
    may: 'viewer',
    answer: 'application/octet-stream',
  },
]
export const chunkOperations: readonly Operation[] = [
  { method: 'get', path: '/:id', summary: 'A passage', may: 'viewer' },
  {
    method: 'patch',
    path: '/:id',
    summary: 'Corrects or disables a passage; the text null takes corrections back',
    may: 'editor',
    body: PatchChunk,
  },
]
export const ownKnowledgeOperations: readonly Operation[] = [
  { method: 'get', path: '/:id', summary: 'The bases that a character may look into', may: 'viewer' },
  {
    method: 'post',
    path: '/:id/documents',
    summary: 'Adds documents to the base of this character alone, which is made when needed',
    may: 'editor',
    body: 'files',
    status: 202,
  },
]

export interface KnowledgeRouteParts {
  knowledge: Knowledge
}

export function baseRoutes({ knowledge }: KnowledgeRouteParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => {
      const { state } = check(List, c.req.query())
      return c.json({ bases: await knowledge.bases.list({ isDeleted: state === 'trash' }) })
    })
    .post('/', async (c) =>
      c.json(await knowledge.bases.create(withoutGaps(await readJson(New, c.env.incoming)), by(c)), 201),
    )
    .get('/:id', async (c) => c.json(await knowledge.bases.get(c.req.param('id'))))
    .patch('/:id', async (c) => {
      const changes = withoutGaps(await readJson(Patch, c.env.incoming))
      return c.json(await knowledge.bases.edit(c.req.param('id'), changes, by(c)))
    })
    .delete('/:id', async (c) => {
      const { forever } = check(Delete, c.req.query())
      await (forever ? knowledge.bases.deleteForGood : knowledge.bases.delete)(c.req.param('id'), by(c))
      return c.body(null, 204)
    })
    .post('/:id/restore', async (c) => c.json(await knowledge.bases.restore(c.req.param('id'), by(c))))
    .post('/:id/rebuild', async (c) => c.json(await knowledge.bases.rebuild(c.req.param('id'), by(c)), 202))
    .get('/:id/documents', async (c) => {
      const { id } = await knowledge.bases.get(c.req.param('id'))
      return c.json({ documents: await knowledge.documents.list(id) })
    })
    .post('/:id/documents', async (c) => {
      const { id } = await knowledge.bases.kept(c.req.param('id'))
      return c.json({ results: await addAll(c.env.incoming, knowledge.documents, id, by(c)) }, 202)
    })
}

export function documentRoutes({ knowledge }: KnowledgeRouteParts) {
  return new Hono<AppEnv>()
    .get('/:id', async (c) => c.json(await knowledge.documents.get(c.req.param('id'))))
    .delete('/:id', async (c) => {
      await knowledge.documents.delete(c.req.param('id'), by(c))
      return c.body(null, 204)
    })
    .post('/:id/stop', async (c) => c.json(await knowledge.documents.stop(c.req.param('id'))))
    .post('/:id/retry', async (c) => c.json(await knowledge.documents.retry(c.req.param('id'), by(c))))
    .get('/:id/chunks', async (c) => {
      const { after, limit } = check(Chunks, c.req.query())
      const find = { limit, ...(after !== undefined && { after }) }
      return c.json(await knowledge.documents.chunks(c.req.param('id'), find))
    })
    .get('/:id/original', async (c) => {
      const { outgoing } = c.env
      const { name: file, file: where } = await knowledge.documents.original(c.req.param('id'))
      outgoing.writeHead(200, {
        // Never shown by a browser: a page among the documents would run as one of ours.
        'content-type': 'application/octet-stream',
        'content-disposition': `attachment; filename*=UTF-8''${encodeURIComponent(file.split('/').at(-1) ?? file)}`,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-request-id': c.var.requestId,
      })
      await pipeline(createReadStream(where), outgoing).catch(() => outgoing.destroy())
      return RESPONSE_ALREADY_SENT
    })
}

export function chunkRoutes({ knowledge }: KnowledgeRouteParts) {
  const Id = z.object({ id: z.coerce.number().int().positive() })
  return new Hono<AppEnv>()
    .get('/:id', async (c) => c.json(await knowledge.documents.chunk(check(Id, c.req.param()).id)))
    .patch('/:id', async (c) => {
      const changes = withoutGaps(await readJson(PatchChunk, c.env.incoming))
      return c.json(await knowledge.documents.editChunk(check(Id, c.req.param()).id, changes, by(c)))
    })
}

export function ownKnowledgeRoutes({ knowledge }: KnowledgeRouteParts) {
  return new Hono<AppEnv>()
    .get('/:id', async (c) => c.json({ bases: await knowledge.bases.ofCharacter(c.req.param('id')) }))
    .post('/:id/documents', async (c) => {
      const base = await knowledge.bases.ownOf(c.req.param('id'), by(c))
      return c.json(
        { base: base.id, results: await addAll(c.env.incoming, knowledge.documents, base.id, by(c)) },
        202,
      )
    })
}

async function addAll(
  incoming: AppEnv['Bindings']['incoming'],
  documents: Knowledge['documents'],
  baseId: string,
  actor: By,
): Promise<Added[]> {
  const results: Added[] = []
  for await (const file of arrivingFiles(incoming, UPLOAD_LIMITS))
    results.push(await documents.add(baseId, file, actor))
  if (results.length > 0) return results
  throw new AppError('invalid', 'No file arrived; send documents in the multipart field "files"', {
    param: 'files',
  })
}

const by = (c: { var: AppEnv['Variables'] }): By => ({ actor: c.var.principal.name })
