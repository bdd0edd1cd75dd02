/** Who may ask in tests: users whom Open WebUI vouches for, and people signed in at the pages. */
import { SignJWT } from 'jose'

import { JWT_SECRET, type TestApp } from './app.ts'

/** The token that Open WebUI signs for its user. */
export function userToken(id: string, over: { name?: string; secret?: string; lifeSeconds?: number } = {}) {
  const { name = id, secret = JWT_SECRET, lifeSeconds = 60 } = over
  return new SignJWT({ email: `${id}@example.org`, name, role: 'user' })
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(id)
    .setIssuer('open-webui')
    .setIssuedAt()
    .setExpirationTime(`${String(lifeSeconds)} s`)
    .sign(new TextEncoder().encode(secret))
}

/** What the browser of somebody signed in at Open WebUI sends with a change, after it has begun a session with us. */
export async function signInAt(troupe: TestApp, loginToken: string): Promise<Record<string, string>> {
  const login = `token=${loginToken}`
  const mark = { 'x-troupe-request': '1' }
  const answer = await troupe.request('POST', '/troupe/api/session', {
    key: null,
    headers: { cookie: login, ...mark },
  })
  const [session] = answer.headers.getSetCookie()
  if (session === undefined) throw new Error(`No session: ${String(answer.status)} ${await answer.text()}`)
  return { cookie: `${login}; ${session.split(';', 1)[0] ?? ''}`, ...mark }
}
