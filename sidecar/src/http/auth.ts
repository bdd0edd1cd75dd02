/** Who asks: a bearer key, Open WebUI speaking for one of its users, or somebody signed in at Open WebUI. */
import type { IncomingMessage } from 'node:http'

import type { Context, MiddlewareHandler } from 'hono'
import { getCookie } from 'hono/cookie'

import { AppError, toAppError } from '#base/errors.ts'
import type { Guesses } from '#gateway/guesses.ts'
import type { Keys, Principal, Scope } from '#gateway/keys.ts'
import type { PageSessions } from '#gateway/page-sessions.ts'
import { reaches, type Role, type Roles } from '#gateway/roles.ts'
import type { Sessions } from '#openwebui/session.ts'
import type { Person } from '#prompt/ask.ts'

import { allowOrigin } from './cors.ts'
import type { AppEnv } from './env.ts'

/** The header that our pages send with every change: a foreign site cannot add it without our consent. */
const REQUEST_MARK = 'x-troupe-request'

export const SESSION_COOKIE = 'troupe_session'

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

export interface KeyParts {
  keys: Pick<Keys, 'verify'>
  guesses: Guesses
}

export interface AuthParts extends KeyParts {
  /** Undefined when no Open WebUI is configured: then only keys open the admin API. */
  sessions: Sessions | undefined
  pageSessions: PageSessions
  roles: Pick<Roles, 'of'>
  /** The lasting one: sessions go on when those of the records are rotated. */
  pseudonym: (kind: 'person', id: string) => string
  /** Where a visitor signs in; told with a refusal. */
  openWebUiUrl: string | null
}

/** The key that came along, unproven. */
export function bearer({ headers }: IncomingMessage): string | undefined {
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
  const principal = await holder(incoming, parts)
  if (!principal.scopes.includes(scope))
    throw new AppError('forbidden', `This key lacks the scope "${scope}"`)
  return principal
}

async function holder(incoming: IncomingMessage, parts: KeyParts): Promise<Principal> {
  const secret = bearer(incoming)
  if (secret === undefined)
    throw new AppError('unauthenticated', 'Send an API key: Authorization: Bearer <key>')
  return verify(secret, incoming.socket.remoteAddress ?? '', parts)
}

/** Lets a key with the scope pass. Throws as `authenticate`. */
export function withKey(scope: Scope, parts: KeyParts): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const { incoming, outgoing } = c.env
    const principal = await authenticate(incoming, scope, parts)
    allowOrigin(incoming, outgoing, principal)
    c.set('principal', principal)
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

/** Lets pass who has the role, by a key or by the session of our pages. */
export function withRole(role: Role, parts: AuthParts): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const isByKey = bearer(c.env.incoming) !== undefined
    const principal = isByKey ? await holder(c.env.incoming, parts) : await visitor(c, parts)
    if (!reaches(principal.role, role)) {
      const who = isByKey ? 'This key has' : 'You have'
      throw new AppError('forbidden', `${who} not the role "${role}", which this needs`)
    }
    c.set('principal', principal)
    await next()
  }
}

/** Our session, and Open WebUI's login of the same person: who signs out there, or loses a role, is out here. */
async function visitor(c: Context<AppEnv>, parts: AuthParts): Promise<Principal> {
  const token = getCookie(c, SESSION_COOKIE)
  const login = getCookie(c, 'token')
  if (token === undefined || login === undefined) throw signInFirst(parts)
  refuseForeignOrigin(c)
  const person = await parts.pageSessions.find(token)
  if (person === undefined) throw signInFirst(parts)
  const known = await personAt(login, parts)
  if (parts.pseudonym('person', known.id) !== person) throw signInFirst(parts)
  return principalOf(known, await parts.roles.of(known))
}

/**
 * Who is signed in at Open WebUI and has a role here. Throws AppError `unauthenticated`, or `forbidden` for who has none and for
 * a foreign page.
 */
export async function signIn(
  c: Context<AppEnv>,
  parts: AuthParts,
): Promise<{ principal: Principal; person: string }> {
  const login = getCookie(c, 'token')
  if (login === undefined) throw signInFirst(parts)
  refuseForeignOrigin(c)
  const known = await personAt(login, parts)
  const principal = principalOf(known, await parts.roles.of(known))
  if (principal.role === undefined)
    throw new AppError('forbidden', 'These pages are for admins of Open WebUI, and for whom they gave a role')
  return { principal, person: parts.pseudonym('person', known.id) }
}

const principalOf = ({ id, name }: Person, role: Role | undefined): Principal => ({
  keyId: 'open-webui-login',
  name: name ?? id,
  scopes: [],
  ...(role === undefined ? {} : { role }),
})

async function personAt(login: string, parts: AuthParts): Promise<Person & { role: string }> {
  if (parts.sessions === undefined) throw signInFirst(parts)
  return parts.sessions.check(login).catch((error: unknown) => {
    throw toAppError(error).code === 'unauthenticated' ? signInFirst(parts, error) : error
  })
}

/** Who is turned away learns where to sign in. */
function signInFirst({ openWebUiUrl }: AuthParts, cause?: unknown): AppError {
  return new AppError('unauthenticated', 'Sign in at Open WebUI, or send an API key with the scope "admin"', {
    cause,
    ...(openWebUiUrl === null ? {} : { facts: { openWebUiUrl } }),
  })
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
