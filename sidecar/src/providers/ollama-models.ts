/**
 * Making models on an Ollama: from another one, from files, or from its registry. Source: docs of Ollama 0.17, "Create a
 * Model", "Push a Blob", "Pull a Model", and its `server/images.go`.
 */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { type Connection, parseJson } from './connection.ts'
import type { ModelMaker, PullProgress } from './provider.ts'
import { readRefusal, refusalError } from './refusal.ts'

const Refusal = z.looseObject({ error: z.string() })
const Success = z.looseObject({ status: z.literal('success') })
const PullLine = z.looseObject({
  status: z.string().optional(),
  digest: z.string().optional(),
  total: z.number().optional(),
  completed: z.number().optional(),
  error: z.string().optional(),
})

/** Go's words for a network that does not lead to the registry. */
const NO_WAY =
  /no such host|server misbehaving|connection refused|connection reset|network is unreachable|no route to host|i\/o timeout|deadline exceeded|TLS handshake/i

/** Ollama's words for a name that its registry does not have. */
const NO_MODEL = /file does not exist|manifest unknown/i

const AGAIN = 'pull again to go on from there'
const LOOK = 'look for its name at https://ollama.com/library'

interface Layer {
  total: number
  completed: number
}

type Layers = ReadonlyMap<string, Layer>
type Bytes = Omit<PullProgress, 'status'>

const sumOf = (layers: Layers): Bytes => ({
  completedBytes: [...layers.values()].reduce((sum, { completed }) => sum + completed, 0),
  totalBytes: [...layers.values()].reduce((sum, { total }) => sum + total, 0),
})

function allOf(layers: Layers): Bytes {
  const { totalBytes } = sumOf(layers)
  return { completedBytes: totalBytes, totalBytes }
}

export function createMaker(connection: Connection): ModelMaker {
  const { words } = connection
  const blob = (digest: string) => `/api/blobs/${digest}`
  return {
    async has(digest, signal) {
      const { status } = await connection.head(blob(digest), signal)
      return status === 200
    },
    async put(digest, bytes, sizeBytes, signal) {
      const reply = await connection.upload(blob(digest), bytes, sizeBytes, signal)
      if (reply.status !== 200 && reply.status !== 201) throw refused(reply.status, reply.text)
    },
    async make({ name, ...wish }, signal) {
      const reply = await connection.ask('/api/create', { model: name, ...wish, stream: false }, signal)
      if (reply.status !== 200 || !Success.safeParse(parseJson(reply.text)).success)
        throw refused(reply.status, reply.text)
    },
    async *pull(name, signal) {
      const layers = new Map<string, Layer>()
      for await (const line of connection.lines('/api/pull', { model: name, stream: true }, signal)) {
        const parsed = PullLine.safeParse(parseJson(line))
        if (!parsed.success)
          throw new AppError('upstream', `${words.title} at ${words.name} sent a line that is no progress`)
        const { status = '', digest, total = 0, completed = 0, error } = parsed.data
        if (error !== undefined) throw notPulled(name, error)
        if (digest !== undefined) layers.set(digest, { total, completed })
        // The last report of a layer may come short of its end; what follows the layers says that all of them are there.
        yield { status, ...(digest === undefined ? allOf(layers) : sumOf(layers)) }
        if (status === 'success') return
      }
      throw new AppError(
        'upstream',
        `${words.title} at ${words.name} ended in the middle of a pull; ${AGAIN}`,
      )
    },
  }

  function notPulled(name: string, error: string): AppError {
    const at = `${words.title} at ${words.name}`
    if (NO_MODEL.test(error))
      return new AppError('model_not_found', `The registry of ${at} has no model "${name}"; ${LOOK}`, {
        param: 'model',
      })
    if (NO_WAY.test(error))
      return new AppError(
        'upstream',
        `${at} cannot reach the registry for "${name}"; look at its network or its HTTPS_PROXY, then ${AGAIN}`,
      )
    const { message } = readRefusal(error)
    return new AppError('upstream', `${at} could not pull "${name}": ${message}`)
  }

  /** Ollama says in words what is wrong with a wish. */
  function refused(status: number, text: string): AppError {
    const refusal = Refusal.safeParse(parseJson(text))
    if (!refusal.success) return refusalError(status, text, '', words)
    return new AppError('invalid', `${words.title} refuses to make the model: ${refusal.data.error}`)
  }
}
