/** Beside the documents: loaders that plugins bring, and the index that can be built again. */
import { Hono } from 'hono'
import { z } from 'zod'

import type { Loading } from '#knowledge/loading.ts'
import type { Rebuilding } from '#knowledge/rebuilding.ts'

import { readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const Load = z.strictObject({ base: z.string().min(1) })
const Rebuild = z.strictObject({ base: z.string().min(1).optional() })

export const loaderOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The loaders that plugins bring', may: 'viewer' },
  {
    method: 'post',
    path: '/:name',
    summary: 'Fills a base with the documents of a loader',
    may: 'editor',
    body: Load,
    audit: ['loader_run', 'loader :name'],
  },
]
export const indexOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'How far the rebuilding of the index is', may: 'viewer' },
  {
    method: 'post',
    path: '/',
    summary: 'Builds the index of a base, or of all, again from the database',
    may: 'admin',
    body: Rebuild,
    status: 202,
    audit: ['index_rebuild', 'the index'],
  },
  {
    method: 'delete',
    path: '/',
    summary: 'Stops the rebuilding',
    may: 'admin',
    audit: ['index_rebuild_stop', 'the index'],
  },
]

export interface KnowledgeSourceParts {
  loading: Loading
  rebuilding: Rebuilding
}

export function loaderRoutes(on: KnowledgeSourceParts) {
  return new Hono<AppEnv>()
    .get('/', (c) => c.json({ loaders: on.loading.names }))
    .post('/:name', async (c) => {
      const { base } = await readJson(Load, c.env.incoming)
      const by = { actor: c.var.principal.name }
      return c.json({ results: await on.loading.load(base, c.req.param('name'), by) })
    })
}

export function indexRoutes(on: KnowledgeSourceParts) {
  return new Hono<AppEnv>()
    .get('/', (c) => c.json(on.rebuilding.state()))
    .post('/', async (c) =>
      c.json(await on.rebuilding.start((await readJson(Rebuild, c.env.incoming)).base), 202),
    )
    .delete('/', async (c) => c.json(await on.rebuilding.stop()))
}
