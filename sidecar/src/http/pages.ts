/** The built pages under /troupe/, with headers that let nothing but our own files run. */
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'

import type { AppEnv } from './env.ts'

/** The pages share their host with Open WebUI, so a script smuggled in by a card could use its login: none may run. */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "connect-src 'self'",
  "font-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join('; ')

export function pageRoutes(webDir: string) {
  return new Hono<AppEnv>()
    .use(async (c, next) => {
      await next()
      c.header('content-security-policy', CONTENT_SECURITY_POLICY)
      c.header('x-content-type-options', 'nosniff')
      c.header('referrer-policy', 'no-referrer')
      c.header('cross-origin-opener-policy', 'same-origin')
      const fingerprinted = c.req.path.startsWith('/troupe/assets/')
      c.header('cache-control', fingerprinted ? 'public, max-age=31536000, immutable' : 'no-cache')
    })
    .use('*', serveStatic({ root: webDir, rewriteRequestPath: (path) => path.replace(/^\/troupe/, '') }))
}
