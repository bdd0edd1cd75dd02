/** Process, dependencies, figures: for probes and Prometheus. */
import { Hono } from 'hono'

import type { Health } from '#base/health.ts'

import type { AppEnv } from './env.ts'

export interface HealthParts {
  health: () => Promise<Health>
  metrics: () => Promise<{ text: string; mediaType: string }>
}

export function healthRoutes(on: HealthParts) {
  return new Hono<AppEnv>()
    .get('/livez', (c) => c.json({ status: 'alive' }))
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
