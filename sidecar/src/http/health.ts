/** Process, dependencies, figures: for probes and Prometheus. */
import { isIP } from 'node:net'

import { Hono, type MiddlewareHandler } from 'hono'

import type { Health } from '#base/health.ts'

import { withKey, type AuthParts } from './auth.ts'
import type { AppEnv } from './env.ts'

export interface HealthParts extends AuthParts {
  health: () => Promise<Health>
  metrics: () => Promise<{ text: string; mediaType: string }>
}

export function healthRoutes(on: HealthParts) {
  const scrapers = withKey('metrics', on)
  return new Hono<AppEnv>()
    .get('/livez', (c) => c.json({ status: 'alive' }))
    .get('/readyz', async (c) => {
      const health = await on.health()
      return c.json(health, health.status === 'unavailable' ? 503 : 200)
    })
    .get('/metrics', onlyFor(scrapers), async (c) => {
      const { text, mediaType } = await on.metrics()
      c.header('content-type', mediaType)
      return c.body(text)
    })
}

/** Prometheus on this machine needs no key. */
function onlyFor(scrapers: MiddlewareHandler<AppEnv>): MiddlewareHandler<AppEnv> {
  return (c, next) => (isLoopback(c.env.incoming.socket.remoteAddress) ? next() : scrapers(c, next))
}

function isLoopback(address = ''): boolean {
  const plain = address.replace(/^::ffff:/, '')
  return plain === '::1' || (isIP(plain) === 4 && plain.startsWith('127.'))
}
