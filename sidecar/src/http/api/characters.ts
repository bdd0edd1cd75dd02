/** The library over HTTP. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { EXPORT_FORMATS, STATES, type Library } from '#library/library.ts'

import { check, readJson, withoutGaps } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { uploadedFiles } from '../multipart.ts'
import type { Operation } from '../openapi.ts'
import type { OpenWebUiParts } from './openwebui.ts'

/** One card; several files share a request only from scripts, so the bound is per request. */
const UPLOAD_BYTES = 64 * 1024 * 1024 + 64 * 1024

const NOTE_CHARACTERS = 2_000

const note = z.string().trim().max(NOTE_CHARACTERS).optional()
const number = z.coerce.number().int().positive()

const List = z.object({
  search: z.string().max(200).optional(),
  tag: z.string().max(200).optional(),
  state: z.enum(STATES).optional(),
  cursor: z.string().max(2_000).optional(),
  limit: number.max(500).optional(),
})
const Import = z.object({
  publish: z.stringbool().default(true),
  into: z.string().optional(),
  note,
})
const Publish = z.object({ version: number, note })
const Rollback = z.object({ version: number.optional(), note })
const Patch = z.strictObject({
  card: z.record(z.string(), z.unknown()).optional(),
  groups: z.array(z.string().trim().min(1).max(200)).max(100).nullable().optional(),
  baseVersion: number.optional(),
  publish: z.boolean().optional(),
  note,
})
const Export = z.object({ format: z.enum(EXPORT_FORMATS).default('json'), version: number.optional() })
const Diff = z.object({ from: number, to: number })
const Delete = z.object({ forever: z.stringbool().default(false) })
const Audit = z.object({
  target: z.string().optional(),
  cursor: z
    .string()
    .regex(/^[0-9A-HJKMNP-TV-Z]{26}$/, 'must be the nextCursor of an earlier answer')
    .optional(),
  limit: number.max(500).optional(),
})

export const characterOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'A page of the characters', may: 'viewer', query: List },
  {
    method: 'post',
    path: '/import',
    summary: 'Imports card files; one result for each',
    may: 'editor',
    query: Import,
    body: 'files',
  },
  { method: 'get', path: '/:id', summary: 'A character with its card', may: 'viewer' },
  {
    method: 'patch',
    path: '/:id',
    summary:
      'Changes the card as a new version, or the groups; notes tell of groups that Open WebUI does not have',
    may: 'editor',
    body: Patch,
  },
  {
    method: 'delete',
    path: '/:id',
    summary: 'Puts it into the trash, or deletes it for good',
    may: 'editor',
    query: Delete,
    status: 204,
  },
  { method: 'post', path: '/:id/restore', summary: 'Takes it out of the trash', may: 'editor' },
  { method: 'post', path: '/:id/publish', summary: 'Lets a version answer', may: 'editor', body: Publish },
  { method: 'post', path: '/:id/unpublish', summary: 'Makes a draft of it', may: 'editor' },
  {
    method: 'post',
    path: '/:id/rollback',
    summary: 'Lets the version before answer again, or the one named',
    may: 'editor',
    body: Rollback,
  },
  { method: 'get', path: '/:id/versions', summary: 'Its versions, without their cards', may: 'viewer' },
  { method: 'get', path: '/:id/versions/:number', summary: 'A version with its card', may: 'viewer' },
  { method: 'get', path: '/:id/diff', summary: 'How two versions differ', may: 'viewer', query: Diff },
  {
    method: 'get',
    path: '/:id/export',
    summary: 'A version as a card file',
    may: 'viewer',
    query: Export,
    answer: 'application/octet-stream',
  },
]
export const auditOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'Who did what, newest first', may: 'admin', query: Audit },
]
export const pictureOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/:hash',
    summary: 'A portrait as WebP, or as AVIF where the client takes it',
    may: 'viewer',
    query: z.object({ width: z.enum(['96', '256', '512']).default('256') }),
    answer: 'image/webp',
  },
]

export interface CharacterParts extends Pick<OpenWebUiParts, 'openWebUi'> {
  library: Library
}

/** It may be made later. */
const noSuchGroup = (name: string) => ({
  code: 'no_such_group',
  path: 'groups',
  message: `Open WebUI has no group "${name}"; make it there, or take it out here`,
})

export function characterRoutes({ library, openWebUi }: CharacterParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json(await library.find(withoutGaps(check(List, c.req.query())))))
    .post('/import', async (c) => {
      const { publish, ...wish } = withoutGaps(check(Import, c.req.query()))
      const results = []
      for await (const file of uploadedFiles(c.env.incoming, UPLOAD_BYTES))
        results.push(
          await library.importFile(file, { ...wish, publishes: publish, actor: c.var.principal.name }),
        )
      return c.json({ results })
    })
    .get('/:id', async (c) => {
      const character = await library.get(c.req.param('id'))
      const { id, publishedVersion, latestVersion } = character
      const { card } = await library.version(id, publishedVersion ?? latestVersion)
      return c.json({ ...character, card })
    })
    .patch('/:id', async (c) => {
      const { publish, ...edit } = withoutGaps(await readJson(Patch, c.env.incoming))
      const by = { actor: c.var.principal.name, publishes: publish ?? false }
      const character = await library.edit(c.req.param('id'), { ...edit, ...by })
      const missing = (await openWebUi?.missingGroups(edit.groups ?? [])) ?? []
      return c.json({ ...character, notes: missing.map(noSuchGroup) })
    })
    .delete('/:id', async (c) => {
      const { forever } = check(Delete, c.req.query())
      await library.delete(c.req.param('id'), { actor: c.var.principal.name, forGood: forever })
      return c.body(null, 204)
    })
    .post('/:id/restore', async (c) =>
      c.json(await library.restore(c.req.param('id'), { actor: c.var.principal.name })),
    )
    .post('/:id/publish', async (c) => {
      const { version, ...why } = withoutGaps(await readJson(Publish, c.env.incoming))
      return c.json(
        await library.publish(c.req.param('id'), version, { ...why, actor: c.var.principal.name }),
      )
    })
    .post('/:id/unpublish', async (c) =>
      c.json(await library.unpublish(c.req.param('id'), { actor: c.var.principal.name })),
    )
    .post('/:id/rollback', async (c) => {
      const { version, ...why } = withoutGaps(await readJson(Rollback, c.env.incoming))
      return c.json(
        await library.rollback(c.req.param('id'), version, { ...why, actor: c.var.principal.name }),
      )
    })
    .get('/:id/versions', async (c) => c.json({ versions: await library.versions(c.req.param('id')) }))
    .get('/:id/versions/:number', async (c) =>
      c.json(await library.version(c.req.param('id'), check(number, c.req.param('number')))),
    )
    .get('/:id/diff', async (c) => {
      const { from, to } = check(Diff, c.req.query())
      return c.json({ from, to, differences: await library.diff(c.req.param('id'), from, to) })
    })
    .get('/:id/export', async (c) => {
      const { format, version } = check(Export, c.req.query())
      const file = await library.exportFile(c.req.param('id'), format, version)
      c.header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`)
      c.header('content-type', file.mediaType)
      return c.body(new Uint8Array(file.bytes))
    })
}

export function auditRoutes({ library }: CharacterParts) {
  return new Hono<AppEnv>().get('/', async (c) =>
    c.json(await library.audit(withoutGaps(check(Audit, c.req.query())))),
  )
}

export function pictureRoutes({ library }: CharacterParts) {
  const Width = z.coerce.number().pipe(z.union([z.literal(96), z.literal(256), z.literal(512)]))
  return new Hono<AppEnv>().get('/:hash', async (c) => {
    const width = Width.safeParse(c.req.query('width') ?? '256')
    if (!width.success) throw new AppError('invalid', 'width must be 96, 256 or 512', { param: 'width' })
    const format = c.req.header('accept')?.includes('image/avif') ? 'avif' : 'webp'
    const bytes = await library.picture(c.req.param('hash'), width.data, format)
    c.header('content-type', isWebp(bytes) ? 'image/webp' : 'image/avif')
    c.header('vary', 'Accept')
    c.header('cache-control', 'private, max-age=31536000, immutable')
    return c.body(new Uint8Array(bytes))
  })
}

const isWebp = (bytes: Uint8Array): boolean =>
  Buffer.from(bytes.subarray(8, 12)).toString('latin1') === 'WEBP'
