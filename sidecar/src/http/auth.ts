/** Who asks: a bearer key, Open WebUI speaking for one of its users, or an admin signed in at Open WebUI. */
import type { IncomingMessage } from 'node:http'

import type { Context, MiddlewareHandler } from 'hono'
import { getCookie } from 'hono/cookie'

import { AppError, toAppError } from '#base/errors.ts'
import type { Guesses } from '#gateway/guesses.ts'
import type { Keys, Principal, Scope } from '#gateway/keys.ts'
import type { Sessions } from '#openwebui/session.ts'

import type { AppEnv } from './env.ts'

/** The header that our pages send with every change: a foreign site cannot add it without our consent. */
const REQUEST_MARK = 'x-troupe-request'

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

export interface KeyParts {
  keys: Pick<Keys, 'verify'>
  guesses: Guesses
}

export interface AuthParts extends KeyParts {
  /** Undefined when no Open WebUI is configured: then only keys open the admin API. */
  sessions: Sessions | undefined
  /** Where a visitor signs in; told with a refusal. */
  openWebUiUrl: string | null
}

function bearer({ headers }: IncomingMessage): string | undefined {
  const match = /^Bearer\s+(\S+)$/i.exec(headers.authorization ?? '')
  const other = headers['x-api-key']
  return match?.[1] ?? (typeof other === 'string' ? other : undefined)
}

/** Whose key this is. Throws AppError `unauthenticated`, `forbidden` without the scope, `limited` for who guesses. */
export async function authenticate(
  incoming: IncomingMessage,
  scope: Scope,
  parts: KeyParts,
): Promise<Principal> {
  const secret = bearer(incoming)
  if (secret === undefined)
    throw new AppError('unauthenticated', 'Send an API key: Authorization: Bearer <key>')
  const principal = await verify(secret, incoming.socket.remoteAddress ?? '', parts)
  if (!principal.scopes.includes(scope))
    throw new AppError('forbidden', `This key lacks the scope "${scope}"`)
  return principal
}

/** Lets a key with the scope pass. Throws as `authenticate`. */
export function withKey(scope: Scope, parts: AuthParts): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    c.set('principal', await authenticate(c.env.incoming, scope, parts))
    await next()
  }
}

/** A right key always works: behind a proxy all clients share one address, and a guesser must not shut them out. */
async function verify(secret: string, address: string, { keys, guesses }: KeyParts): Promise<Principal> {
  try {
    return await keys.verify(secret)
  } catch (error) {
    await guesses.refuse(address)
    await guesses.failed(address)
    throw error
  }
}

/** Lets an admin key pass, or an admin's Open WebUI login (cookie of the same host). */
export function withAdmin(parts: AuthParts): MiddlewareHandler<AppEnv> {
  const byKey = withKey('admin', parts)
  return async (c, next) => {
    if (bearer(c.env.incoming) !== undefined) return byKey(c, next)
    const token = getCookie(c, 'token')
    if (token === undefined || parts.sessions === undefined) throw signInFirst(parts)
    refuseForeignOrigin(c)
    const person = await parts.sessions.check(token).catch((error: unknown) => {
      throw toAppError(error).code === 'unauthenticated' ? signInFirst(parts, error) : error
    })
    if (person.role !== 'admin')
      throw new AppError('forbidden', 'Only admins of Open WebUI may open these pages')
    c.set('principal', { keyId: 'open-webui-login', name: person.name ?? 'admin', scopes: ['admin'] })
    await next()
  }
}

/** Who is turned away learns where to sign in. */
function signInFirst({ openWebUiUrl }: AuthParts, cause?: unknown): AppError {
  return new AppError(
    'unauthenticated',
    'Sign in at Open WebUI as an admin, or send an API key with the scope "admin"',
    { cause, ...(openWebUiUrl === null ? {} : { facts: { openWebUiUrl } }) },
  )
}

/** The cookie travels by itself, so a change must prove that it comes from our own page. */
function refuseForeignOrigin(c: Context<AppEnv>): void {
  if (READING.has(c.req.method)) return
  const origin = c.req.header('origin')
  const sameHost =
    origin === undefined || (URL.canParse(origin) && new URL(origin).host === c.req.header('host'))
  if (sameHost && c.req.header(REQUEST_MARK) !== undefined) return
  throw new AppError(
    'forbidden',
    `Changes by login need the header ${REQUEST_MARK} and must come from this page`,
  )
}
