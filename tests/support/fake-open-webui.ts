/**
 * An Open WebUI without pages: the part of its REST interface that we use, as picky and as forgetful as the real one (0.12.4).
 * `tests/contract/open-webui.ts` holds both to the same suite.
 */
import { randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface FakeRow {
  id: string
  name: string
  base_model_id: string | null
  params: Record<string, unknown>
  meta: Record<string, unknown>
  access_grants: Grant[]
  is_active: boolean
  [key: string]: unknown
}

interface Grant {
  principal_type: string
  principal_id: string
  permission: string
}

interface FakeFunction {
  id: string
  name: string
  content: string
  meta: Record<string, unknown>
  is_active: boolean
}

interface Person {
  id: string
  name: string
  role: 'admin' | 'user' | 'pending'
}

export interface FakeOpenWebUi {
  url: string
  /** The API key and the session token of an admin, and the session token of an ordinary user. */
  adminKey: string
  adminToken: string
  userToken: string
  rows: Map<string, FakeRow>
  /** `METHOD /path`, oldest first, without queries. */
  calls: string[]
  /** The same, changes only: what a sync sent. */
  changes(): string[]
  /** From now on everything is answered with this, or as usual again with undefined. */
  answerEverythingWith(answer: { status: number; body: string } | undefined): void
  /** Somebody who is signed in. */
  addPerson(name: string, role: Person['role']): { id: string; token: string }
  /** Ids of people who never sign in during the test. */
  others: Set<string>
  /** Gives somebody another role. */
  setRole(token: string, role: Person['role']): void
  close(): Promise<void>
}

const EXPIRED = 'Your session has expired or the token is invalid. Please sign in again.'
const NOT_ADMIN =
  'You do not have permission to access this resource. Please contact your administrator for assistance.'
const MISSING = "We could not find what you're looking for :/"

/** What Open WebUI keeps as a picture; anything else becomes null without a word. */
const PICTURE =
  /^$|^https?:\/\/.|^\/(?:user|favicon|static\/favicon)\.png$|^data:image\/(?:png|jpe?g|gif|webp);base64,/

/** Always there, and null when nobody filled it. */
const EMPTY_META = {
  profile_image_url: null,
  background_image_url: null,
  description: null,
  capabilities: null,
}

class Refusal extends Error {
  readonly status: number
  constructor(status: number, detail: string) {
    super(detail)
    this.status = status
  }
}

interface Request {
  query: URLSearchParams
  body: Record<string, unknown>
  person: Person
  /** By an API key, not by a session. */
  isKey: boolean
}

type Route = [pattern: RegExp, who: 'admin' | 'anybody', handle: (request: Request, id: string) => unknown]

export async function openFakeOpenWebUi(): Promise<FakeOpenWebUi> {
  const rows = new Map<string, FakeRow>()
  const calls: string[] = []
  const boss: Person = { id: randomUUID(), name: 'Admin', role: 'admin' }
  const adminKey = `sk-${randomUUID()}`
  const adminToken = `admin.${randomUUID()}`
  const userToken = `user.${randomUUID()}`
  const people = new Map<string, Person>([
    [adminKey, boss],
    [adminToken, boss],
    [userToken, { id: randomUUID(), name: 'Tom', role: 'user' }],
  ])
  const others = new Set<string>()
  const groups = new Map<string, FakeGroup>()
  const routes = [
    ...modelRoutes(rows, groups),
    ...groupRoutes(groups),
    ...functionRoutes(new Map()),
    ...feedbackRoutes(),
    ...loginRoutes(),
    ...userRoutes(() => [...new Set([...people.values()].map(({ id }) => id)), ...others]),
  ]
  let override: { status: number; body: string } | undefined

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(incoming.url ?? '/', 'http://fake')
    const method = incoming.method ?? 'GET'
    calls.push(`${method} ${url.pathname}`)
    const token = incoming.headers.authorization?.replace(/^Bearer /, '') ?? ''
    const text = await readText(incoming)
    if (override !== undefined) {
      response.writeHead(override.status, { 'content-type': 'text/html' }).end(override.body)
      return
    }
    try {
      const [who, handle] = findRoute(routes, `${method} ${url.pathname}`)
      const person = people.get(token)
      if (person === undefined) throw new Refusal(401, token === '' ? 'Not authenticated' : EXPIRED)
      if (who === 'admin' && person.role !== 'admin') throw new Refusal(401, NOT_ADMIN)
      const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>
      send(response, 200, handle({ query: url.searchParams, body, person, isKey: token.startsWith('sk-') }))
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.status === 200) response.writeHead(200, { 'content-type': 'text/html' }).end(error.message)
      else send(response, error.status, { detail: error.message })
    }
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch(() => response.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    adminKey,
    adminToken,
    userToken,
    rows,
    others,
    calls,
    changes: () => calls.filter((call) => call.startsWith('POST')),
    answerEverythingWith: (answer) => (override = answer),
    addPerson(name, role) {
      const token = `${name}.${randomUUID()}`
      const person = { id: randomUUID(), name, role }
      people.set(token, person)
      return { id: person.id, token }
    },
    setRole(token, role) {
      const person = people.get(token)
      if (person !== undefined) people.set(token, { ...person, role })
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function findRoute(routes: Route[], call: string): [Route[1], (request: Request) => unknown] {
  for (const [pattern, who, handle] of routes) {
    const match = pattern.exec(call)
    if (match !== null) return [who, (request) => handle(request, decodeURIComponent(match[1] ?? ''))]
  }
  // Every address that is not part of the interface is a page of the single-page app.
  throw new Refusal(200, '<!doctype html><title>Open WebUI</title>')
}

function userRoutes(ids: () => string[]): Route[] {
  const present = (id: string) => ({ id, name: 'Somebody', email: 'somebody@example.org', role: 'user' })
  return [
    [/^GET \/api\/v1\/users\/all$/, 'admin', () => ({ users: ids().map(present), total: ids().length })],
  ]
}

interface FakeGroup {
  id: string
  name: string
  members: Set<string>
}

function groupRoutes(groups: Map<string, FakeGroup>): Route[] {
  const present = ({ id, name, members }: FakeGroup) => ({ id, name, member_count: members.size })
  return [
    [/^GET \/api\/v1\/groups\/$/, 'anybody', () => [...groups.values()].map(present)],
    [
      /^POST \/api\/v1\/groups\/create$/,
      'admin',
      ({ body }) => {
        const group = { id: randomUUID(), name: String(body['name']), members: new Set<string>() }
        groups.set(group.id, group)
        return present(group)
      },
    ],
    [
      /^POST \/api\/v1\/groups\/id\/([^/]+)\/users\/add$/,
      'admin',
      ({ body }, id) => {
        const group = groups.get(id)
        if (group === undefined) throw new Refusal(400, MISSING)
        for (const userId of body['user_ids'] as string[]) group.members.add(userId)
        return present(group)
      },
    ],
  ]
}

function modelRoutes(rows: Map<string, FakeRow>, groups: Map<string, FakeGroup>): Route[] {
  const canRead = (person: Person, row: FakeRow) =>
    person.role === 'admin' ||
    row.access_grants.some(
      ({ principal_id: id }) => id === '*' || id === person.id || groups.get(id)?.members.has(person.id),
    )

  function find(id: unknown, status: number): FakeRow {
    const row = rows.get(String(id))
    if (row === undefined) throw new Refusal(status, MISSING)
    return row
  }

  function importRow(sent: Partial<FakeRow>): void {
    const { id = '', meta = {}, params = {} } = sent
    if (/\s/.test(id) || id === '') return
    const known = rows.get(id)
    if (known === undefined && sent.name === undefined) {
      throw new Refusal(400, '1 validation error for ModelForm\nname\n  Field required [type=missing]')
    }
    rows.set(id, {
      base_model_id: null,
      is_active: true,
      name: '',
      ...known,
      ...sent,
      id,
      params,
      meta: readMeta({ ...EMPTY_META, ...known?.meta, ...meta }),
      access_grants: known?.access_grants ?? sent.access_grants ?? [],
    })
  }

  return [
    [
      /^GET \/api\/v1\/models\/base$/,
      'admin',
      () => [...rows.values()].filter((row) => row.base_model_id === null),
    ],
    [
      /^GET \/api\/v1\/models\/model$/,
      'anybody',
      ({ person, query }) => {
        const row = find(query.get('id'), 404)
        if (!canRead(person, row)) throw new Refusal(401, NOT_ADMIN)
        return row
      },
    ],
    [
      /^POST \/api\/v1\/models\/import$/,
      'admin',
      ({ body }) => {
        for (const row of body.models as Partial<FakeRow>[]) importRow(row)
        return true
      },
    ],
    [
      /^POST \/api\/v1\/models\/model\/access\/update$/,
      'admin',
      ({ body }) => {
        const id = String(body.id)
        if (!rows.has(id)) importRow({ id, name: id })
        const row = { ...find(id, 404), access_grants: body.access_grants as Grant[] }
        rows.set(id, row)
        return row
      },
    ],
    [/^POST \/api\/v1\/models\/model\/delete$/, 'admin', ({ body }) => rows.delete(find(body.id, 401).id)],
    [
      /^GET \/api\/models$/,
      'anybody',
      ({ person }) => {
        const listed = [...rows.values()].filter((row) => row.is_active && canRead(person, row))
        return { data: listed.map((row) => ({ id: row.id, name: row.name, object: 'model', info: row })) }
      },
    ],
  ]
}

function readMeta(meta: Record<string, unknown>): Record<string, unknown> {
  const picture = meta.profile_image_url
  const isKept = typeof picture === 'string' && PICTURE.test(picture)
  return { ...meta, profile_image_url: isKept ? picture : null }
}

function functionRoutes(functions: Map<string, FakeFunction>): Route[] {
  const valves = new Map<string, Record<string, unknown>>()

  function find(id: string): FakeFunction {
    const found = functions.get(id)
    if (found === undefined) throw new Refusal(401, MISSING)
    return found
  }

  function load({ id, name, content, meta }: Record<string, unknown>): Omit<FakeFunction, 'is_active'> {
    if (!/^class (?:Pipe|Filter|Action|Event)\b/m.test(String(content))) {
      throw new Refusal(400, '[ERROR: Error creating function]')
    }
    return {
      id: String(id),
      name: String(name),
      content: String(content),
      meta: meta as Record<string, unknown>,
    }
  }

  return [
    [
      /^GET \/api\/v1\/functions\/list$/,
      'admin',
      () => [...functions.values()].map(({ content: _content, ...entry }) => entry),
    ],
    [
      /^POST \/api\/v1\/functions\/create$/,
      'admin',
      ({ body }) => {
        const made = load(body)
        if (functions.has(made.id))
          throw new Refusal(400, 'Uh-oh! This id is already registered. Please choose another id string.')
        functions.set(made.id, { ...made, is_active: false })
        return functions.get(made.id)
      },
    ],
    [/^GET \/api\/v1\/functions\/id\/([^/]+)$/, 'admin', (_request, id) => find(id)],
    [
      /^POST \/api\/v1\/functions\/id\/([^/]+)\/update$/,
      'admin',
      ({ body }, id) => {
        functions.set(id, { ...find(id), ...load(body) })
        return find(id)
      },
    ],
    [
      /^POST \/api\/v1\/functions\/id\/([^/]+)\/toggle$/,
      'admin',
      (_request, id) => {
        functions.set(id, { ...find(id), is_active: !find(id).is_active })
        return find(id)
      },
    ],
    [
      /^GET \/api\/v1\/functions\/id\/([^/]+)\/valves$/,
      'admin',
      (_request, id) => valves.get(find(id).id) ?? {},
    ],
    [
      /^POST \/api\/v1\/functions\/id\/([^/]+)\/valves\/update$/,
      'admin',
      ({ body }, id) => {
        const { content } = find(id)
        const known = Object.entries(body).filter(([name]) => new RegExp(`^ +${name}: `, 'm').test(content))
        const isWrong = known.some(
          ([name, value]) =>
            new RegExp(`^ +${name}: float`, 'm').test(content) && Number.isNaN(Number(value)),
        )
        if (isWrong) throw new Refusal(400, '[ERROR: Error updating function valves]')
        valves.set(id, Object.fromEntries(known))
        return valves.get(id)
      },
    ],
  ]
}

function feedbackRoutes(): Route[] {
  const feedback = new Map<string, Record<string, unknown>>()
  const find = (id: string) => {
    const found = feedback.get(id)
    if (found === undefined) throw new Refusal(404, MISSING)
    return found
  }
  const stamp = () => ({ updated_at: Math.floor(Date.now() / 1_000) })
  return [
    [
      /^POST \/api\/v1\/evaluations\/feedback$/,
      'anybody',
      ({ person, body }) => {
        const made = { id: randomUUID(), user_id: person.id, version: 0, ...body, ...stamp() }
        feedback.set(made.id, made)
        return made
      },
    ],
    [/^GET \/api\/v1\/evaluations\/feedback\/([^/]+)$/, 'anybody', (_request, id) => find(id)],
    [
      /^POST \/api\/v1\/evaluations\/feedback\/([^/]+)$/,
      'anybody',
      ({ body }, id) => {
        feedback.set(id, { ...find(id), ...body, ...stamp() })
        return find(id)
      },
    ],
    [
      /^DELETE \/api\/v1\/evaluations\/feedback\/([^/]+)$/,
      'anybody',
      (_request, id) => feedback.delete(String(find(id).id)),
    ],
  ]
}

function loginRoutes(): Route[] {
  return [
    [
      /^GET \/api\/v1\/auths\/$/,
      'anybody',
      ({ person, isKey }) => {
        if (isKey) throw new Refusal(403, 'A human session is required.')
        return {
          ...person,
          email: 'somebody@localhost',
          token: 'the token again',
          token_type: 'Bearer',
          permissions: {},
        }
      },
    ],
    [
      /^GET \/openai\/config$/,
      'admin',
      () => ({ ENABLE_OPENAI_API: true, OPENAI_API_KEYS: ['a secret'], OPENAI_API_CONFIGS: {} }),
    ],
  ]
}

function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

async function readText(incoming: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of incoming) text += String(chunk)
  return text
}
