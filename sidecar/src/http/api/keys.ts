/** API keys: made, listed and revoked by admins; a secret is shown once. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { SCOPES, type Keys } from '#gateway/keys.ts'

import { CHAT_BODY_BYTES, parseJson, readBytes } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const NewKey = z.object({
  name: z.string().trim().min(1).max(100),
  scopes: z.array(z.enum(SCOPES)).min(1),
  expiresInDays: z.number().int().positive().max(3_650).nullish(),
})

export const keyOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The API keys, without their secrets' },
  {
    method: 'post',
    path: '/',
    summary: 'Makes an API key and shows its secret once',
    body: NewKey,
    status: 201,
  },
  { method: 'delete', path: '/:id', summary: 'Ends an API key', status: 204 },
]

const DAY_MS = 86_400_000

export function keyRoutes(on: { keys: Keys; now: () => number }) {
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ keys: await on.keys.list() }))
    .post('/', async (c) => {
      const parsed = NewKey.safeParse(parseJson(await readBytes(c.env.incoming, CHAT_BODY_BYTES)))
      if (!parsed.success) {
        throw new AppError('invalid', `Send {"name", "scopes": [${SCOPES.join(', ')}], "expiresInDays"?}`)
      }
      const { name, scopes, expiresInDays } = parsed.data
      const expiresAtMs = expiresInDays == null ? null : on.now() + expiresInDays * DAY_MS
      return c.json(await on.keys.create({ name, scopes, expiresAtMs }), 201)
    })
    .delete('/:id', async (c) => {
      await on.keys.revoke(c.req.param('id'))
      return c.body(null, 204)
    })
}
