import { request as httpRequest } from 'node:http'

import { afterAll, beforeAll, describe, expect } from 'vitest'

import { isRole, reaches, type Permission, type Role } from '#gateway/roles.ts'
import { SCOPES } from '#gateway/keys.ts'

import { AREAS } from '../../sidecar/src/http/areas.ts'
import { pathOf } from '../../sidecar/src/http/openapi.ts'
import { ADMIN_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { signInAt } from '../support/asking.ts'
import { openFakeOpenWebUi, type FakeOpenWebUi } from '../support/fake-open-webui.ts'
import { reliabilityTest } from '../support/reliability.ts'

interface Asker {
  name: string
  /** What the browser or the client sends; made anew for each request, since some requests end a session. */
  headers: () => Promise<Record<string, string>>
  role?: Role
  scopes?: readonly string[]
}

let openWebUi: FakeOpenWebUi
let troupe: TestApp
let askers: Asker[]

beforeAll(async () => {
  openWebUi = await openFakeOpenWebUi()
  troupe = await openTestApp({ OPENWEBUI_URL: openWebUi.url, OLLAMA_BASE_URL: 'http://127.0.0.1:9' })
  askers = [
    { name: 'nobody', headers: () => Promise.resolve({}) },
    ...(await keyHolders()),
    ...(await visitors()),
  ]
})

afterAll(async () => {
  await troupe.close()
  await openWebUi.close()
})

async function keyHolders(): Promise<Asker[]> {
  const bearer = (key: string) => () => Promise.resolve({ authorization: `Bearer ${key}` })
  const made = SCOPES.map(async (scope): Promise<Asker> => {
    const answer = await troupe.request('POST', '/troupe/api/keys', {
      body: { name: scope, scopes: [scope] },
    })
    const { secret } = (await answer.json()) as { secret: string }
    return {
      name: `key ${scope}`,
      headers: bearer(secret),
      scopes: [scope],
      ...(scope === 'admin' && { role: 'admin' as const }),
    }
  })
  return [
    ...(await Promise.all(made)),
    { name: 'owner key', headers: bearer(ADMIN_KEY), scopes: ['admin'], role: 'owner' },
    { name: 'wrong key', headers: bearer('troupe_wrong') },
  ]
}

async function visitors(): Promise<Asker[]> {
  const visitor = async (role: Role): Promise<Asker> => {
    const { id, token } = openWebUi.addPerson(role, 'user')
    await troupe.request('PUT', `/troupe/api/roles/${id}`, { body: { role } })
    return { name: `visitor ${role}`, headers: () => signInAt(troupe, token), role }
  }
  const stranger = { cookie: `token=${openWebUi.userToken}`, 'x-troupe-request': '1' }
  return [
    ...(await Promise.all((['viewer', 'editor', 'owner'] as const).map(visitor))),
    { name: 'admin of Open WebUI', headers: () => signInAt(troupe, openWebUi.adminToken), role: 'admin' },
    { name: 'user without a role', headers: () => Promise.resolve(stranger) },
  ]
}

/** From loopback the figures are open; the routes' own handlers see to the session that begins there. */
const mayEnter = (may: Permission, { role, scopes = [] }: Asker): boolean => {
  if (may === 'anyone' || may === 'metrics') return true
  return isRole(may) ? reaches(role, may) : scopes.includes(may)
}

/** The status of a request whose path is sent as it stands. */
function statusOf(method: string, path: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(troupe.url)
    const body = ['GET', 'HEAD', 'OPTIONS'].includes(method) ? undefined : '{}'
    const all = {
      ...headers,
      ...(body !== undefined && { 'content-type': 'application/json', 'content-length': 2 }),
    }
    const sent = httpRequest({ hostname, port, method, path, headers: all }, (answer) => {
      answer.resume()
      answer.once('end', () => resolve(answer.statusCode ?? 0))
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

const operations = AREAS.flatMap(({ prefix, operations }) =>
  operations.map(({ method, path, may }) => ({
    method: method.toUpperCase(),
    path: pathOf(prefix, path).replace(/:\w+(\{[^}]*\})?/g, 'none'),
    may,
  })),
)

const isIn = (status: number) => status >= 200 && status < 300

describe('who may what', () => {
  reliabilityTest(30, 'route-matrix', async ({ counters, figures }) => {
    const wrong: string[] = []
    let cells = 0
    for (const { method, path, may } of operations)
      for (const asker of askers) {
        const status = await statusOf(method, path, await asker.headers())
        cells += 1
        const isTurnedAway = [401, 403, 429].includes(status)
        // Beginning a session is open to all, and asks Open WebUI who it is.
        const isLogin = method === 'POST' && path === '/troupe/api/session'
        if (isLogin ? isIn(status) && asker.role === undefined : isTurnedAway === mayEnter(may, asker))
          wrong.push(`${asker.name}: ${method} ${path} (${may}) answered ${String(status)}`)
        if (!isLogin && isIn(status) && !mayEnter(may, asker)) counters.in += 1
      }
    expect(wrong).toEqual([])
    figures['routes'] = operations.length
    figures['askers'] = askers.length
    figures['routes × askers'] = cells
  })

  reliabilityTest(30, 'route-matrix (other spellings)', async ({ counters, figures }) => {
    const headersOf = (name: string) => askers.find((asker) => asker.name === name)?.headers()
    const nobody = await headersOf('nobody')
    const viewer = await headersOf('visitor viewer')
    const secret = operations.filter(({ may }) => may !== 'anyone' && may !== 'metrics')
    const above = secret.filter(({ may }) => !(isRole(may) && reaches('viewer', may)))
    let tries = 0
    const tryOut = async (method: string, path: string, headers: Record<string, string> = {}) => {
      tries += 1
      const status = await statusOf(method, path, headers)
      if (isIn(status)) {
        counters.in += 1
        expect.soft(`${method} ${path}`).toBe('turned away')
      }
    }
    for (const [headers, closed] of [
      [nobody, secret],
      [viewer, above],
    ] as const)
      for (const { method, path } of closed) {
        // HEAD is a GET without a body: where that is allowed, so is this.
        const isOpen = (other: string) =>
          secret.some(
            (one) =>
              one.path === path && one.method === other.replace('HEAD', 'GET') && !closed.includes(one),
          )
        for (const other of ['HEAD', 'OPTIONS', 'PUT', 'TRACE'])
          if (!isOpen(other)) await tryOut(other, path, headers)
        await Promise.all(spellings(path).map((spelling) => tryOut(method, spelling, headers)))
        for (const name of ['x-http-method-override', 'x-original-url', 'x-rewrite-url', 'x-forwarded-user'])
          await tryOut(method, path, { ...headers, [name]: name.includes('method') ? 'GET' : '/livez' })
      }
    figures['other spellings'] = tries
  })
})

function spellings(path: string): string[] {
  const last = path.at(-1) ?? ''
  const encoded = `${path.slice(0, -1)}%${last.charCodeAt(0).toString(16)}`
  return [
    encoded,
    `${path}/`,
    `${path}//`,
    `/${path}`,
    path.replace('/', '//'),
    path.toUpperCase(),
    path.replace('/api/', '/api/./'),
    path.replace('/api/', '/%61pi/'),
    path.replace('/api/', '%2fapi%2f'),
    path.replace('/troupe/api', '/troupe/x/../api'),
    path.replace('/troupe/api', '/troupe/assets/..%2fapi'),
    `${path}%00`,
    `${path};a=b`,
    `${path}?x=/livez`,
    `${path}%3f`,
    `${path}.json`,
  ].filter((spelling) => spelling !== path)
}
