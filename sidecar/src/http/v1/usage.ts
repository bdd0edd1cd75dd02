/** GET /v1/usage: what a key has used of its quotas, for whoever holds it. */
import { Hono } from 'hono'

import type { QuotasOf } from '#gateway/key-quotas.ts'

import type { AppEnv } from '../env.ts'

export interface UsageParts {
  quotasOf: QuotasOf
}

export function usageRoutes({ quotasOf }: UsageParts) {
  return new Hono<AppEnv>().get('/', async (c) => {
    const { keyId: id, name, scopes, limits = null } = c.var.principal
    const quotas = await quotasOf([{ id, scopes, limits }])
    return c.json({ object: 'usage', key: { id, name, limits }, quotas: quotas.get(id) ?? [] })
  })
}
