/**
 * Writes the audit for what the table of operations says, after it was done. Whatever changes rows of ours writes its own row of the
 * audit in the same transaction; here is the rest: what is begun, stopped, sent or read out as a whole.
 */
import type { MiddlewareHandler } from 'hono'
import { TrieRouter } from 'hono/router/trie-router'

import type { AuditAction } from '#library/audit.ts'

import type { AppEnv } from './env.ts'
import { pathOf, type Area, type Operation } from './openapi.ts'

export type NoteAction = (event: {
  actor: string
  action: AuditAction
  target: string
  detail?: Record<string, unknown>
}) => Promise<void>

/** What was refused or failed leaves no row. */
export function audited(areas: readonly Area[], note: NoteAction): MiddlewareHandler<AppEnv> {
  const router = new TrieRouter<NonNullable<Operation['audit']>>()
  for (const { prefix, operations } of areas)
    for (const { method, path, audit } of operations)
      if (audit !== undefined) router.add(method.toUpperCase(), pathOf(prefix, path), audit)
  return async (c, next) => {
    await next()
    const [[found] = []] = router.match(c.req.method, c.req.path)
    if (found === undefined || !c.res.ok) return
    const [[action, target], params] = found
    // The trie gives the names of a path with what stands there.
    const values: ReadonlyMap<string, unknown> = new Map(Object.entries(params))
    const named = target.replace(/:(\w+)/g, (_all, name: string) => String(values.get(name)))
    const { principal, auditDetail: detail } = c.var
    await note({ actor: principal.name, action, target: named, ...(detail && { detail }) })
  }
}
