/** Process, dependencies, figures: for probes and Prometheus. */
import { Hono, type Context } from 'hono'

import type { Health } from '#base/health.ts'

import type { AppEnv } from './env.ts'

export interface HealthParts {
  health: () => Promise<Health>
  metrics: () => Promise<{ text: string; mediaType: string }>
}

/** For monitors of uptime: whether it can be used, and nothing else. */
async function shortly(c: Context<AppEnv>, on: HealthParts): Promise<Response> {
  const { status } = await on.health()
  const isUp = status !== 'unavailable'
  return c.json({ status: isUp ? 'ok' : 'unavailable' }, isUp ? 200 : 503)
}

export function healthRoutes(on: HealthParts) {
  return new Hono<AppEnv>()
    .get('/livez', (c) => c.json({ status: 'alive' }))
    .get('/health', (c) => shortly(c, on))
    .get('/v1/health', (c) => shortly(c, on))
    .get('/readyz', async (c) => {
      const health = await on.health()
      return c.json(health, health.status === 'unavailable' ? 503 : 200)
    })
    .get('/metrics', async (c) => {
      const { text, mediaType } = await on.metrics()
      c.header('content-type', mediaType)
      return c.body(text)
    })
}
