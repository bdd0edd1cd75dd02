/** What people can ask of the house, by the hand of an admin: their data, to be forgotten, not to be known. */
import { pipeline } from 'node:stream/promises'

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { z } from 'zod'

import type { Privacy } from '#privacy/privacy.ts'

import { check } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const Find = z.object({ limit: z.coerce.number().int().positive().max(1_000).default(100) })
const FindSamples = Find.extend({ character: z.string().optional() })

/** `:id` is the id that Open WebUI gives the person. */
export const privacyOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/people/:id',
    summary: 'How much is kept of a person, and what they asked for',
    may: 'admin',
  },
  {
    method: 'get',
    path: '/people/:id/export',
    summary: 'Everything that is kept of a person, as JSON and CSV in a zip archive',
    may: 'admin',
    answer: 'application/zip',
    audit: ['person_export', 'the people'],
  },
  {
    method: 'delete',
    path: '/people/:id',
    summary: 'Forgets a person for good; answers a signed receipt',
    may: 'admin',
  },
  {
    method: 'post',
    path: '/people/:id/objection',
    summary: 'From now on the person is counted, but not known',
    may: 'admin',
    status: 204,
    audit: ['objection_set', 'the people'],
  },
  {
    method: 'delete',
    path: '/people/:id/objection',
    summary: 'Takes the objection back',
    may: 'admin',
    status: 204,
    audit: ['objection_take_back', 'the people'],
  },
  {
    method: 'get',
    path: '/erasures',
    summary: 'Who was forgotten when: receipts, no names',
    may: 'admin',
    query: Find,
  },
  {
    method: 'get',
    path: '/receipt-key',
    summary: 'The public key that receipts are checked with',
    may: 'admin',
  },
  {
    method: 'get',
    path: '/samples',
    summary: 'Sampled turns, redacted, newest first',
    may: 'admin',
    query: FindSamples,
  },
  {
    method: 'post',
    path: '/pseudonyms/rotate',
    summary: 'Begins new pseudonyms',
    may: 'admin',
    status: 204,
    audit: ['pseudonyms_rotate', 'the people'],
  },
  {
    method: 'post',
    path: '/fields/reseal',
    summary: 'Encrypts fields of older keys with the newest one',
    may: 'admin',
    audit: ['fields_reseal', 'the people'],
  },
]

export interface PrivacyParts {
  privacy: Omit<Privacy, 'pseudonyms' | 'samples' | 'close'>
}

export function privacyRoutes({ privacy }: PrivacyParts) {
  return new Hono<AppEnv>()
    .get('/people/:id', async (c) => c.json(await privacy.state(c.req.param('id'))))
    .get('/people/:id/export', async (c) => {
      const { outgoing } = c.env
      const archive = await privacy.export(c.req.param('id'))
      outgoing.writeHead(200, {
        'content-type': 'application/zip',
        'content-disposition': 'attachment; filename="troupe-person.zip"',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
        'x-request-id': c.var.requestId,
      })
      await pipeline(archive, outgoing).catch(() => outgoing.destroy())
      return RESPONSE_ALREADY_SENT
    })
    .delete('/people/:id', async (c) => c.json(await privacy.erase(c.req.param('id'), c.var.principal.name)))
    .post('/people/:id/objection', async (c) => {
      await privacy.setObjection(c.req.param('id'), true)
      return c.body(null, 204)
    })
    .delete('/people/:id/objection', async (c) => {
      await privacy.setObjection(c.req.param('id'), false)
      return c.body(null, 204)
    })
    .get('/erasures', async (c) => {
      const { limit } = check(Find, c.req.query())
      return c.json({ erasures: await privacy.erasures(limit) })
    })
    .get('/receipt-key', (c) => c.json({ publicKey: privacy.publicKey }))
    .get('/samples', async (c) => {
      const { limit, character } = check(FindSamples, c.req.query())
      const find = { limit, ...(character !== undefined && { characterId: character }) }
      return c.json({ samples: await privacy.listSamples(find) })
    })
    .post('/pseudonyms/rotate', async (c) => {
      await privacy.rotatePseudonyms()
      return c.body(null, 204)
    })
    .post('/fields/reseal', async (c) => c.json({ fields: await privacy.reseal() }))
}
