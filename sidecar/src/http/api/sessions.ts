/** The session of our pages: begun by the login of Open WebUI, ended by its owner or by an admin. */
import { Hono, type Context } from 'hono'
import { getCookie, setCookie } from 'hono/cookie'
import { z } from 'zod'

import { SESSION_MS, type PageSessions } from '#gateway/page-sessions.ts'

import { SESSION_COOKIE, signIn, type AuthParts } from '../auth.ts'
import { check } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const End = z.object({ everywhere: z.stringbool().default(false) })

export const sessionOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'Who asks, and in which role', may: 'viewer' },
  {
    method: 'post',
    path: '/',
    summary: 'Begins a session by the login of Open WebUI (its cookie), for whoever has a role',
    may: 'anyone',
  },
  {
    method: 'delete',
    path: '/',
    summary: 'Ends this session, or all of this person',
    may: 'viewer',
    query: End,
    status: 204,
  },
  {
    method: 'delete',
    path: '/of/:person',
    summary: 'Ends all sessions of a person, by their id in Open WebUI',
    may: 'admin',
    status: 204,
    audit: ['sessions_end', 'the sessions'],
  },
]

export interface SessionParts extends AuthParts {
  pageSessions: PageSessions
}

export function sessionRoutes(on: SessionParts) {
  const tell = ({ name, role }: AppEnv['Variables']['principal']) => ({
    user: { name, role },
    openWebUiUrl: on.openWebUiUrl,
  })
  return new Hono<AppEnv>()
    .get('/', (c) => c.json(tell(c.var.principal)))
    .post('/', async (c) => {
      const { principal, person } = await signIn(c, on)
      keepCookie(c, await on.pageSessions.begin(person, getCookie(c, SESSION_COOKIE)), SESSION_MS)
      return c.json(tell(principal))
    })
    .delete('/', async (c) => {
      const { everywhere } = check(End, c.req.query())
      const token = getCookie(c, SESSION_COOKIE)
      if (token !== undefined) {
        const person = everywhere ? await on.pageSessions.find(token) : undefined
        if (person !== undefined) await on.pageSessions.endAll(person)
        await on.pageSessions.end(token)
      }
      keepCookie(c, '', 0)
      return c.body(null, 204)
    })
    .delete('/of/:person', async (c) => {
      await on.pageSessions.endAll(on.pseudonym('person', c.req.param('person')))
      return c.body(null, 204)
    })
}

/** Sent to our paths only, read by no script, and not with requests of other sites. */
function keepCookie(c: Context<AppEnv>, token: string, lifeMs: number): void {
  const isSecure = c.req.url.startsWith('https:') || c.req.header('x-forwarded-proto') === 'https'
  setCookie(c, SESSION_COOKIE, token, {
    path: '/troupe',
    httpOnly: true,
    sameSite: 'Strict',
    secure: isSecure,
    maxAge: lifeMs / 1_000,
  })
}
