/** The library over HTTP. */
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { EXPORT_FORMATS, type CharacterSummary, type Library } from '#library/library.ts'
import { prefixParts } from '#prompt/prefix.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'

/** One card; several files share a request only from scripts, so the bound is per request. */
const UPLOAD_BYTES = 64 * 1024 * 1024 + 64 * 1024

const Version = z.object({ version: z.number().int().positive() })
const Format = z.enum(EXPORT_FORMATS)

export interface CharacterParts {
  library: Library
}

export function characterRoutes({ library }: CharacterParts) {
  const present = async (character: CharacterSummary) => ({
    ...character,
    promptTokens: await promptTokens(library, character.id),
  })
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ characters: await Promise.all((await library.list()).map(present)) }))
    .post('/import', uploadLimit(), async (c) => {
      const form = await c.req.parseBody({ all: true })
      const files = [form['files']].flat().filter((file) => file instanceof File)
      if (files.length === 0) {
        throw new AppError('invalid', 'No file arrived; send card files in the multipart field "files"', {
          param: 'files',
        })
      }
      const results = []
      for (const file of files) {
        results.push(
          await library.importFile({ name: file.name, bytes: new Uint8Array(await file.arrayBuffer()) }),
        )
      }
      return c.json({ results })
    })
    .get('/:id', async (c) => c.json(await present(await library.get(c.req.param('id')))))
    .delete('/:id', async (c) => {
      await library.delete(c.req.param('id'))
      return c.body(null, 204)
    })
    .get('/:id/versions', async (c) => {
      const versions = await library.versions(c.req.param('id'))
      return c.json({
        versions: versions.map(({ number, createdAtMs, originalName, notes }) => ({
          number,
          createdAtMs,
          originalName,
          notes,
        })),
      })
    })
    .post('/:id/publish', async (c) =>
      c.json(await present(await library.publish(c.req.param('id'), await readVersion(c.env.incoming)))),
    )
    .post('/:id/rollback', async (c) =>
      c.json(await present(await library.publish(c.req.param('id'), await readVersion(c.env.incoming)))),
    )
    .get('/:id/export', async (c) => {
      const format = Format.safeParse(c.req.query('format') ?? 'json')
      if (!format.success)
        throw new AppError('invalid', `format must be one of ${EXPORT_FORMATS.join(', ')}`, {
          param: 'format',
        })
      const file = await library.exportFile(c.req.param('id'), format.data)
      c.header('content-disposition', `attachment; filename*=UTF-8''${encodeURIComponent(file.name)}`)
      c.header('content-type', file.mediaType)
      return c.body(new Uint8Array(file.bytes))
    })
}

export function pictureRoutes({ library }: CharacterParts) {
  const Width = z.coerce.number().pipe(z.union([z.literal(96), z.literal(256), z.literal(512)]))
  return new Hono<AppEnv>().get('/:hash', async (c) => {
    const width = Width.safeParse(c.req.query('width') ?? '256')
    if (!width.success) throw new AppError('invalid', 'width must be 96, 256 or 512', { param: 'width' })
    const bytes = await library.picture(c.req.param('hash'), width.data)
    c.header('content-type', 'image/webp')
    c.header('cache-control', 'private, max-age=31536000, immutable')
    return c.body(new Uint8Array(bytes))
  })
}

function uploadLimit() {
  return bodyLimit({
    maxSize: UPLOAD_BYTES,
    onError: () => {
      throw new AppError('too_large', 'The upload is larger than 64 MB; send fewer files at a time')
    },
  })
}

async function readVersion(incoming: Parameters<typeof readBytes>[0]): Promise<number> {
  const parsed = Version.safeParse(parseJson(await readBytes(incoming, CHAT_BODY_BYTES)))
  if (!parsed.success) throw new AppError('invalid', 'Send {"version": <number>}', { param: 'version' })
  return parsed.data.version
}

/** What the persona costs in every request, before anybody says a word. */
async function promptTokens(library: Library, id: string): Promise<number | null> {
  const version = await library.published(id)
  if (version === undefined) return null
  const speaker = { characterId: id, version: version.number, card: version.card }
  return prefixParts({ speaker, userName: 'User' }, '').reduce((sum, part) => sum + part.tokens, 0)
}
