/** What concerns the Open WebUI beside us: the cast shown there, its functions and their events. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const SyncOptions = z.object({ dryRun: z.boolean().default(false), force: z.boolean().default(false) })

const Reconcile = z.object({ force: z.boolean().default(false) })

const NewFunction = z.object({ id: z.string().regex(/^[a-z][a-z0-9_]{0,63}$/), content: z.string() })

export interface SyncReport {
  changes: { id: string; action: string; reason: string; difference: readonly string[] }[]
}

export interface OpenWebUiParts {
  openWebUiUrl: string | null
  /** Undefined when no Open WebUI with an admin's key is configured. */
  openWebUi:
    | {
        sync(options: { dryRun: boolean; force: boolean }): Promise<SyncReport>
        /** Those of these names that no group there has; none while it does not answer. */
        missingGroups(names: readonly string[]): Promise<string[]>
        installFunction(id: string, content: string): Promise<{ action: string }>
        /** Takes note of a rating, before Open WebUI is asked for details; a deletion is done when this resolves. */
        event(event: OpenWebUiEvent): Promise<void>
        /** Forgets the people who are not there any more. */
        reconcile(options: { force: boolean }): Promise<{ erased: number; refused: boolean }>
      }
    | undefined
}

export const OpenWebUiEvent = z.object({
  name: z.string().max(100),
  id: z.string().max(200),
})
export type OpenWebUiEvent = z.infer<typeof OpenWebUiEvent>

export const openWebUiOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/sync',
    summary: 'Brings the cast to Open WebUI; a dry run says what it would do',
    may: 'admin',
    body: SyncOptions,
    audit: ['sync', 'Open WebUI'],
  },
  {
    method: 'post',
    path: '/people/reconcile',
    summary: 'Forgets people who are not in Open WebUI any more; refuses when too many are missing',
    may: 'owner',
    body: Reconcile,
    audit: ['people_reconcile', 'Open WebUI'],
  },
  {
    method: 'post',
    path: '/functions',
    summary: 'Installs a function of ours there',
    may: 'admin',
    body: NewFunction,
    audit: ['function_install', 'Open WebUI'],
  },
]
export const eventOperations: readonly Operation[] = [
  {
    method: 'post',
    path: '/',
    summary: 'Takes note of a rating or a deletion there',
    may: 'events',
    body: OpenWebUiEvent,
    status: 202,
  },
]

function configured(on: OpenWebUiParts) {
  if (on.openWebUi !== undefined) return on.openWebUi
  throw new AppError(
    'invalid',
    'No Open WebUI is connected; set OPENWEBUI_URL and OPENWEBUI_API_KEY (the key of an admin there)',
  )
}

export function openWebUiRoutes(on: OpenWebUiParts) {
  return new Hono<AppEnv>()
    .post('/sync', async (c) => {
      const options = await readJson(SyncOptions, c.env.incoming)
      c.set('auditDetail', options)
      return c.json(await configured(on).sync(options))
    })
    .post('/people/reconcile', async (c) => {
      const options = await readJson(Reconcile, c.env.incoming)
      c.set('auditDetail', options)
      return c.json(await configured(on).reconcile(options))
    })
    .post('/functions', async (c) => {
      const { id, content } = await readJson(NewFunction, c.env.incoming)
      c.set('auditDetail', { function: id })
      return c.json(await configured(on).installFunction(id, content))
    })
}

export function eventRoutes(on: OpenWebUiParts) {
  return new Hono<AppEnv>().post('/', async (c) => {
    await configured(on).event(await readJson(OpenWebUiEvent, c.env.incoming))
    return c.body(null, 202)
  })
}
