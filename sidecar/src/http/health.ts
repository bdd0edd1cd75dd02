/** Process, dependencies, figures: for probes and Prometheus. */
import { Hono, type Context } from 'hono'

import type { Health } from '#base/health.ts'

import { authenticate, bearer, type KeyParts } from './auth.ts'
import type { AppEnv } from './env.ts'
import { isNear } from './near.ts'

export interface HealthParts extends KeyParts {
  health: () => Promise<Health>
  metrics: () => Promise<{ text: string; mediaType: string }>
}

/** For monitors of uptime: whether it can be used, and nothing else. */
async function shortly(c: Context<AppEnv>, on: HealthParts): Promise<Response> {
  const { status } = await on.health()
  const isUp = status !== 'unavailable'
  return c.json({ status: isUp ? 'ok' : 'unavailable' }, isUp ? 200 : 503)
}

/** Names of model servers and faults are for who runs this: on this machine, or with the key that reads the figures. */
async function maySeeDetails({ env: { incoming } }: Context<AppEnv>, on: HealthParts): Promise<boolean> {
  if (isNear(incoming)) return true
  if (bearer(incoming) === undefined) return false
  await authenticate(incoming, 'metrics', on)
  return true
}

export function healthRoutes(on: HealthParts) {
  return new Hono<AppEnv>()
    .get('/livez', (c) => c.json({ status: 'alive' }))
    .get('/health', (c) => shortly(c, on))
    .get('/v1/health', (c) => shortly(c, on))
    .get('/readyz', async (c) => {
      const isDetailed = await maySeeDetails(c, on)
      const health = await on.health()
      const { status } = health
      return c.json(isDetailed ? health : { status }, status === 'unavailable' ? 503 : 200)
    })
    .get('/metrics', async (c) => {
      const { text, mediaType } = await on.metrics()
      c.header('content-type', mediaType)
      return c.body(text)
    })
}
