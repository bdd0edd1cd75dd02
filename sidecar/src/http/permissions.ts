/**
 * Lets pass what the table of operations declares, and nothing else: a route without a permission there is served to nobody.
 * The router is hono's own, so that both understand a path alike.
 */
import type { MiddlewareHandler } from 'hono'
import { TrieRouter } from 'hono/router/trie-router'

import { AppError } from '#base/errors.ts'
import { isRole, type Permission } from '#gateway/roles.ts'

import { withKey, withRole, type AuthParts } from './auth.ts'
import type { AppEnv } from './env.ts'
import { isNear } from './near.ts'
import { pathOf, type Area } from './openapi.ts'

/** Behind these nothing is served without a declaration; other paths are files of the pages. */
const DECLARED = /^\/(v1|troupe\/api)(\/|$)/

export function permissions(areas: readonly Area[], parts: AuthParts): MiddlewareHandler<AppEnv> {
  const router = new TrieRouter<MiddlewareHandler<AppEnv>>()
  for (const { prefix, operations } of areas)
    for (const operation of operations)
      router.add(operation.method.toUpperCase(), pathOf(prefix, operation.path), guard(operation.may, parts))
  return (c, next) => {
    // hono answers HEAD as GET.
    const method = c.req.method === 'HEAD' ? 'GET' : c.req.method
    const [matches] = router.match(method, c.req.path)
    if (matches.length === 0 && DECLARED.test(c.req.path))
      throw new AppError('not_found', `Nothing is served at ${c.req.method} ${c.req.path}`)
    // Where two declarations meet, both hold.
    return matches.reduceRight<() => Promise<void>>(
      (rest, [handler]) =>
        async () => {
          await handler(c, rest)
        },
      next,
    )()
  }
}

function guard(may: Permission, parts: AuthParts): MiddlewareHandler<AppEnv> {
  if (may === 'anyone') return (_c, next) => next()
  if (isRole(may)) return withRole(may, parts)
  if (may !== 'metrics') return withKey(may, parts)
  // Prometheus on this machine needs no key.
  const scrapers = withKey('metrics', parts)
  return (c, next) => (isNear(c.env.incoming) ? next() : scrapers(c, next))
}
