/** Base models: which there are, and those that are made for characters. */
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { Hono } from 'hono'
import { z } from 'zod'

import type { findLoads } from '#analytics/loads.ts'
import { AppError } from '#base/errors.ts'
import type { Library } from '#library/library.ts'
import type { PullProgress } from '#providers/provider.ts'
import type { Upstreams } from '#providers/upstreams.ts'

import { check, readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import { errorBody } from '../errors.ts'
import { goneSignal } from '../gone.ts'
import type { Operation } from '../openapi.ts'
import { writeItems } from '../v1/stream.ts'

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
const Since = z.object({ hours: z.coerce.number().positive().max(720).default(24) })
const Pull = z.strictObject({ model: name, server: z.string().optional() })

export const modelOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/',
    summary: 'The base models of all model servers, and which of them are in memory, with which window',
    may: 'viewer',
  },
  {
    method: 'get',
    path: '/loads',
    summary: 'Which requests made a model server load a model, why it had to, and what is in memory now',
    may: 'viewer',
    query: Since,
  },
  {
    method: 'post',
    path: '/',
    summary: 'Makes a model from another one or from files, for a character if one is named',
    may: 'admin',
    body: Make,
    status: 201,
  },
  {
    method: 'post',
    path: '/files/:digest',
    summary: 'Gives a file (GGUF, adapter) to the server',
    may: 'admin',
    query: Server,
    body: 'bytes',
    status: 201,
    audit: ['model_file', 'file :digest'],
  },
  {
    method: 'post',
    path: '/pull',
    summary:
      'Lets the server fetch a model: lines with status, completedBytes and totalBytes, then {"status":"ready"} or an error',
    may: 'admin',
    body: Pull,
    answer: 'application/x-ndjson',
  },
  {
    method: 'get',
    path: '/files/:digest',
    summary: 'Whether the server has a file',
    may: 'viewer',
    query: Server,
  },
]

export interface ModelParts {
  upstreams: Pick<Upstreams, 'baseModels' | 'loaded' | 'maker'>
  library: Pick<Library, 'edit' | 'get' | 'version' | 'tell'>
  findLoads: (sinceMs: number) => ReturnType<typeof findLoads>
  now: () => number
}

export function baseModelRoutes({ upstreams, library, findLoads, now }: ModelParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => {
      const [models, loaded] = await Promise.all([upstreams.baseModels(), upstreams.loaded()])
      return c.json({ models, loaded })
    })
    .get('/loads', async (c) => {
      const { hours } = check(Since, c.req.query())
      const [loads, loaded] = await Promise.all([findLoads(now() - hours * 3_600_000), upstreams.loaded()])
      return c.json({ hours, loads, loaded })
    })
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
      const told = { action: 'pull_model', actor: c.var.principal.name, target: `model ${model}` } as const
      await library.tell({ ...told, detail: { server } })
      let last: PullLine = { status: 'waiting', completedBytes: 0, totalBytes: 0 }
      await writeItems({
        outgoing,
        items: untilReady(upstreams.maker(server).pull(model, goneSignal(outgoing))),
        headers: { ...NDJSON, 'x-request-id': c.var.requestId },
        isShown: () => true,
        toText: (line) => toLine((last = line)),
        // Repeats itself, so that nobody in between closes the connection.
        beat: () => toLine(last),
        error: (error) => toLine(errorBody(error)),
      })
      return RESPONSE_ALREADY_SENT
    })
    .post('/', async (c) => {
      const { server, character, ...given } = await readJson(Make, c.env.incoming)
      if ((given.from === undefined) === (given.files === undefined))
        throw new AppError('invalid', 'Name either the model to make it from, or files', { param: 'from' })
      if (character !== undefined) await library.get(character)
      const wish = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
      await upstreams.maker(server).make({ ...wish, name: given.name }, goneSignal(c.env.outgoing))
      const told = {
        action: 'make_model',
        actor: c.var.principal.name,
        target: `model ${given.name}`,
      } as const
      await library.tell({ ...told, detail: { server, from: given.from, character } })
      if (character === undefined) return c.json({ name: given.name }, 201)
      const edited = await useModel(library, character, given.name, c.var.principal.name)
      return c.json({ name: given.name, character: edited }, 201)
    })
}

type PullLine = PullProgress | { status: 'ready' }

/** The last line tells how it ended. */
async function* untilReady(progress: AsyncIterable<PullProgress>): AsyncGenerator<PullLine> {
  yield* progress
  yield { status: 'ready' }
}

const NDJSON = {
  'content-type': 'application/x-ndjson',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-accel-buffering': 'no',
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
