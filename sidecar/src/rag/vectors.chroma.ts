/**
 * Vectors in a Chroma server (its API v2, Chroma 1.x), asked by plain HTTP: the eight calls are less than its npm client,
 * which brings a 50 MB server that does not load on Debian 12. One collection for each fingerprint, because a collection for
 * each base takes 2.7 MB and four open files of the server; the scope is a condition of every search.
 */
import { createHash } from 'node:crypto'

import { Agent, request } from 'undici'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { otherLength } from './fingerprint.ts'
import { scopeWord, type Scope } from './scope.ts'
import type { VectorStore } from './vectors.ts'

export interface ChromaOptions {
  url: string
  /** Keeps several Troupes on one server apart: letters and digits. */
  deployment: string
  /** Longest time for one call, in milliseconds. */
  timeoutMs?: number
}

const DATABASE = '/api/v2/tenants/default_tenant/databases/default_database'
/** Chroma's own advice is 50 to 250. */
const BATCH = 200
/** Asked for at once when pieces are counted. */
const PAGE = 5_000
const TIMEOUT_MS = 30_000

const Collection = z.object({ id: z.string(), name: z.string(), dimension: z.number().nullish() })
const Found = z.object({ ids: z.array(z.array(z.string())), distances: z.array(z.array(z.number())) })
const Ids = z.object({ ids: z.array(z.string()) })

interface Call {
  method: 'GET' | 'POST'
  path: string
  body?: unknown
  signal?: AbortSignal | undefined
}

interface Reply {
  status: number
  body: unknown
}

/** The caller closes it. Nothing is asked until it is used. */
export function openChroma({ url, deployment, timeoutMs = TIMEOUT_MS }: ChromaOptions): VectorStore {
  const agent = new Agent({ connections: 8, connect: { timeout: 2_000 } })
  const prefix = `troupe-${deployment}-`
  const known = new Map<string, string>()

  async function call({ method, path, body, signal }: Call): Promise<Reply> {
    const limit = AbortSignal.timeout(timeoutMs)
    try {
      const answer = await request(`${url}${path}`, {
        method,
        dispatcher: agent,
        signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
        headers: { 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
      const text = await answer.body.text()
      return { status: answer.statusCode, body: text === '' ? undefined : JSON.parse(text) }
    } catch (cause) {
      if (signal?.aborted === true) throw new AppError('cancelled', 'The search was given up', { cause })
      throw new AppError(
        'unavailable',
        `Chroma at ${url} does not answer; check CHROMA_URL and that it runs`,
        {
          cause,
        },
      )
    }
  }

  /** Throws for every answer but a good one. Chroma's own words may quote metadata, so they stay out. */
  async function ask(wish: Call): Promise<unknown> {
    const { status, body } = await call(wish)
    if (status < 300) return body
    // It was deleted behind our back: the next call makes it anew.
    if (status === 404) known.clear()
    throw new AppError('unavailable', `Chroma at ${url} refused a call with status ${String(status)}`, {
      facts: { status },
    })
  }

  const nameOf = (fingerprint: string) =>
    `${prefix}${createHash('sha256').update(fingerprint).digest('hex').slice(0, 32)}`

  async function find(fingerprint: string, signal?: AbortSignal): Promise<string | undefined> {
    const name = nameOf(fingerprint)
    const id = known.get(name)
    if (id !== undefined) return id
    const { status, body } = await call({ method: 'GET', path: `${DATABASE}/collections/${name}`, signal })
    if (status === 404) return undefined
    if (status >= 300)
      throw new AppError('unavailable', `Chroma refused a call with status ${String(status)}`)
    const found = Collection.parse(body)
    known.set(name, found.id)
    return found.id
  }

  async function make(fingerprint: string, signal?: AbortSignal): Promise<string> {
    const name = nameOf(fingerprint)
    const body = { name, get_or_create: true, configuration: { hnsw: { space: 'cosine' } } }
    const made = Collection.parse(
      await ask({ method: 'POST', path: `${DATABASE}/collections`, body, signal }),
    )
    known.set(name, made.id)
    return made.id
  }

  /** Of every fingerprint. */
  async function collections(): Promise<z.infer<typeof Collection>[]> {
    const all = z
      .array(Collection)
      .parse(await ask({ method: 'GET', path: `${DATABASE}/collections?limit=1000` }))
    return all.filter(({ name }) => name.startsWith(prefix))
  }

  const inCollection = (id: string, verb: string) => `${DATABASE}/collections/${id}/${verb}`
  const within = (scopes: readonly Scope[]) => ({ scope: { $in: scopes.map(scopeWord) } })

  /** Answers 400 with the two lengths when a vector has another one than the first that lay there. */
  function refuseOtherLength({ status, body }: Reply): void {
    const message = z.object({ message: z.string() }).safeParse(body).data?.message ?? ''
    const expected = /dimension of (\d+)/.exec(message)?.[1]
    if (status === 400 && expected !== undefined) throw otherLength(Number(expected))
  }

  async function askChecked(wish: Call): Promise<unknown> {
    const reply = await call(wish)
    refuseOtherLength(reply)
    if (reply.status < 300) return reply.body
    if (reply.status === 404) known.clear()
    throw new AppError('unavailable', `Chroma at ${url} refused a call with status ${String(reply.status)}`)
  }

  return {
    kind: 'chroma',
    async put(fingerprint, scope, items, signal) {
      const id = await make(fingerprint, signal)
      for (let start = 0; start < items.length; start += BATCH) {
        const batch = items.slice(start, start + BATCH)
        const body = {
          ids: batch.map((item) => String(item.id)),
          embeddings: batch.map(({ vector }) => [...vector]),
          metadatas: batch.map(({ documentId }) => ({ scope: scopeWord(scope), document: documentId })),
        }
        await askChecked({ method: 'POST', path: inCollection(id, 'upsert'), body, signal })
      }
    },
    async removeDocument(documentId) {
      for (const { id } of await collections()) {
        const body = { where: { document: documentId } }
        await ask({ method: 'POST', path: inCollection(id, 'delete'), body })
      }
    },
    async removeScope(scope, keep) {
      for (const { id, name } of await collections()) {
        if (keep !== undefined && name === nameOf(keep)) continue
        const body = { where: { scope: scopeWord(scope) } }
        await ask({ method: 'POST', path: inCollection(id, 'delete'), body })
      }
    },
    async search({ fingerprint, scopes, vector, limit }, signal) {
      if (scopes.length === 0) return []
      const id = await find(fingerprint, signal)
      if (id === undefined) return []
      const body = {
        query_embeddings: [[...vector]],
        n_results: limit,
        where: within(scopes),
        include: ['distances'],
      }
      const found = Found.parse(
        await askChecked({ method: 'POST', path: inCollection(id, 'query'), body, signal }),
      )
      return (found.ids[0] ?? []).map((piece, index) => ({
        id: Number(piece),
        similarity: 1 - (found.distances[0]?.[index] ?? 1),
      }))
    },
    async count(fingerprint, scope) {
      const id = await find(fingerprint)
      if (id === undefined) return 0
      let count = 0
      for (;;) {
        const body = { where: within([scope]), limit: PAGE, offset: count, include: [] }
        const { ids } = Ids.parse(await ask({ method: 'POST', path: inCollection(id, 'get'), body }))
        count += ids.length
        if (ids.length < PAGE) return count
      }
    },
    async ping() {
      await ask({ method: 'GET', path: '/api/v2/heartbeat', signal: AbortSignal.timeout(2_000) })
    },
    close: () => agent.close(),
  }
}
