/** Base models: which there are, and those that are made for characters. */
import { pipeline } from 'node:stream/promises'

import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError, toAppError } from '#base/errors.ts'
import { BEAT, primed } from '#base/streams.ts'
import type { Library } from '#library/library.ts'
import type { PullProgress } from '#providers/provider.ts'
import type { Upstreams } from '#providers/upstreams.ts'

import { check, readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { errorBody } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import type { Operation } from '../openapi.ts'

const DIGEST = /^sha256:[0-9a-f]{64}$/
const digest = z.string().regex(DIGEST, 'must be "sha256:" and 64 hexadecimal digits')
const files = z.record(z.string().min(1).max(200), digest)

/** As Ollama writes them: a name, and perhaps a registry, an owner and a tag. */
const name = z
  .string()
  .max(150)
  .regex(
    /^(\w[\w.-]*:\d+\/)?\w[\w.-]*(\/\w[\w.-]*)*(:\w[\w.-]*)?$/,
    'must be a name such as "mira" or "mira:8b"',
  )

const Make = z.strictObject({
  name,
  from: name.optional(),
  files: files.optional(),
  adapters: files.optional(),
  system: z.string().optional(),
  template: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
  server: z.string().optional(),
  character: z.string().optional(),
})
const Server = z.object({ server: z.string().optional() })
const Pull = z.strictObject({ model: name, server: z.string().optional() })

/** A refusal within this time is a status, a later one the last line. */
const GRACE_MS = 2_000

/** Proxies close a connection that is silent, often after 60 s; the check of a large file takes longer. */
const BEAT_MS = 10_000

export const modelOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The base models of all model servers' },
  {
    method: 'post',
    path: '/',
    summary: 'Makes a model from another one or from files, for a character if one is named',
    body: Make,
    status: 201,
  },
  {
    method: 'post',
    path: '/files/:digest',
    summary: 'Gives a file (GGUF, adapter) to the server',
    query: Server,
    body: 'bytes',
    status: 201,
  },
  {
    method: 'post',
    path: '/pull',
    summary:
      'Lets the server fetch a model: lines with status, completedBytes and totalBytes, then {"status":"ready"} or an error',
    body: Pull,
    answer: 'application/x-ndjson',
  },
  { method: 'get', path: '/files/:digest', summary: 'Whether the server has a file', query: Server },
]

export interface ModelParts {
  upstreams: Pick<Upstreams, 'baseModels' | 'maker'>
  library: Pick<Library, 'edit' | 'get' | 'version'>
}

export function baseModelRoutes({ upstreams, library }: ModelParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ models: await upstreams.baseModels() }))
    .get('/files/:digest', async (c) => {
      const maker = upstreams.maker(check(Server, c.req.query()).server)
      const isThere = await maker.has(check(digest, c.req.param('digest')), goneSignal(c.env.outgoing))
      return c.json({ isThere })
    })
    .post('/files/:digest', async (c) => {
      const maker = upstreams.maker(check(Server, c.req.query()).server)
      const sizeBytes = Number(c.req.header('content-length') ?? Number.NaN)
      if (!Number.isSafeInteger(sizeBytes))
        throw new AppError('invalid', 'Send the file with its length in content-length')
      await maker.put(
        check(digest, c.req.param('digest')),
        c.env.incoming,
        sizeBytes,
        goneSignal(c.env.outgoing),
      )
      return c.body(null, 201)
    })
    .post('/pull', async (c) => {
      const { model, server } = await readJson(Pull, c.env.incoming)
      const { outgoing } = c.env
      const progress = await primed(
        upstreams.maker(server).pull(model, goneSignal(outgoing)),
        GRACE_MS,
        BEAT_MS,
      )
      outgoing.writeHead(200, {
        'content-type': 'application/x-ndjson',
        'cache-control': 'no-store',
        'x-accel-buffering': 'no',
        'x-content-type-options': 'nosniff',
        'x-request-id': c.var.requestId,
      })
      // A client that left has ended the pull already, by its signal.
      await pipeline(pullLines(progress), outgoing).catch(() => outgoing.destroy())
      return RESPONSE_ALREADY_SENT
    })
    .post('/', async (c) => {
      const { server, character, ...given } = await readJson(Make, c.env.incoming)
      if ((given.from === undefined) === (given.files === undefined))
        throw new AppError('invalid', 'Name either the model to make it from, or files', { param: 'from' })
      if (character !== undefined) await library.get(character)
      const wish = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
      await upstreams.maker(server).make({ ...wish, name: given.name }, goneSignal(c.env.outgoing))
      if (character === undefined) return c.json({ name: given.name }, 201)
      const edited = await useModel(library, character, given.name, c.var.principal.name)
      return c.json({ name: given.name, character: edited }, 201)
    })
}

/** The last line tells how it ended. Silence repeats the last progress, so that nobody in between closes the connection. */
async function* pullLines(progress: AsyncIterable<PullProgress | typeof BEAT>): AsyncGenerator<string> {
  let last: PullProgress = { status: 'waiting', completedBytes: 0, totalBytes: 0 }
  try {
    for await (const item of progress) {
      if (item !== BEAT) last = item
      yield toLine(last)
    }
    yield toLine({ status: 'ready' })
  } catch (thrown) {
    yield toLine(errorBody(toAppError(thrown)))
  }
}

const toLine = (value: object): string => `${JSON.stringify(value)}\n`

/** As a new version that nobody talks to yet: a model is tried before it is published. */
async function useModel(library: ModelParts['library'], id: string, model: string, actor: string) {
  const { latestVersion } = await library.get(id)
  const { card } = await library.version(id, latestVersion)
  const before = z.record(z.string(), z.unknown()).catch({}).parse(card.extensions['troupe'])
  const troupe = { ...before, model }
  return library.edit(id, { card: { extensions: { troupe } }, actor, note: `the model ${model}` })
}
