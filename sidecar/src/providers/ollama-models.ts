/** Making models on an Ollama: from another one, or from files. Source: docs of Ollama 0.17, "Create a Model", "Push a Blob". */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { type Connection, parseJson } from './connection.ts'
import type { ModelMaker } from './provider.ts'
import { refusalError } from './refusal.ts'

const Refusal = z.looseObject({ error: z.string() })
const Success = z.looseObject({ status: z.literal('success') })

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
  }

  /** Ollama says in words what is wrong with a wish. */
  function refused(status: number, text: string): AppError {
    const refusal = Refusal.safeParse(parseJson(text))
    if (!refusal.success) return refusalError(status, text, '', words)
    return new AppError('invalid', `${words.title} refuses to make the model: ${refusal.data.error}`)
  }
}
