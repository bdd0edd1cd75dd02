/**
 * The way to the routes that ask a model. They stand before hono: its context of a request costs as much as everything that
 * Troupe does between client and model server (docs/performance.md).
 */
import type { IncomingMessage, ServerResponse } from 'node:http'

import { toAppError } from '#base/errors.ts'
import type { Principal, Scope } from '#gateway/keys.ts'

import { authenticate, type KeyParts } from '../auth.ts'
import { allowOrigin } from '../cors.ts'
import { writeError } from '../errors.ts'
import { beginVisit, type Visit, type VisitParts } from '../visit.ts'

export interface Caller extends Visit {
  principal: Principal
  /** Who asks and what is known. */
  admitted: () => void
}

/** Writes the answer. What it throws before the first byte becomes a status. */
export type Serve = (caller: Caller) => Promise<void>

export interface Door {
  /** What it serves, by POST. */
  paths: readonly string[]
  /** Undefined when the request is for none of them. Resolves when the answer is written; never rejects. */
  serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> | undefined
}

/** A path without a declared scope is served to nobody: the program does not start. */
export function createDoor(
  routes: Readonly<Record<string, Serve>>,
  scopes: ReadonlyMap<string, Scope>,
  on: KeyParts & VisitParts,
): Door {
  const known = new Map(
    Object.entries(routes).map(([path, serve]) => {
      const scope = scopes.get(path)
      if (scope === undefined) throw new Error(`${path} declares no scope; see http/areas.ts`)
      return [path, { scope, serve }]
    }),
  )
  return {
    paths: [...known.keys()],
    serve(incoming, outgoing) {
      const path = incoming.url?.split('?', 1)[0] ?? ''
      const route = incoming.method === 'POST' ? known.get(path) : undefined
      return route && admit(route, path, beginVisit(incoming, outgoing, on), on)
    },
  }
}

/** Never rejects. */
async function admit(
  route: { scope: Scope; serve: Serve },
  path: string,
  visit: Visit,
  on: KeyParts & VisitParts,
): Promise<void> {
  const { incoming, outgoing, requestId, logged } = visit
  const admitting = visit.span.child('admit')
  try {
    outgoing.setHeader('x-request-id', requestId)
    const principal = await authenticate(incoming, route.scope, on)
    logged['keyId'] = principal.keyId
    allowOrigin(incoming, outgoing, principal)
    await route.serve({ principal, admitted: () => admitting.end(), ...visit })
  } catch (thrown) {
    const error = toAppError(thrown)
    logged['errorCode'] = error.code
    if (error.code === 'internal') on.log.error({ requestId, error: error.cause }, 'unexpected failure')
    if (outgoing.headersSent) outgoing.destroy()
    else writeError(outgoing, error)
  } finally {
    admitting.end()
    visit.finish(path)
  }
}
