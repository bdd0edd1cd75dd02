/** Every server that speaks OpenAI's `/v1/chat/completions`: llama.cpp, vLLM, LM Studio and others. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'

import { type Connection, openConnection, parseJson } from './connection.ts'
import { createReader, createWholeReader } from './openai-answer.ts'
import { countTokens, listModels } from './openai-models.ts'
import { ignoredIn, toChatBody } from './openai-request.ts'
import type { EmbedCall, Embedding, Provider, ProviderDriver } from './provider.ts'
import { refusalError } from './refusal.ts'

const WORDS = {
  title: 'The model server',
  whenSilent: 'start it or correct OPENAI_API_BASE_URLS',
  whenForbidden: 'set OPENAI_API_KEYS to a key that it accepts, in the order of OPENAI_API_BASE_URLS',
  whenMissing: () => 'load it there or choose another one',
}

const driver: ProviderDriver = {
  open(options): Provider {
    // `/props` of llama.cpp stands beside `/v1`, not below it.
    const rootUrl = options.baseUrl.replace(/\/v1\/*$/, '')
    const api = rootUrl === options.baseUrl ? '' : '/v1'
    const connection = openConnection({ ...options, baseUrl: rootUrl }, WORDS)
    /** Models that a vLLM serves; strict servers refuse the fields that only it knows. */
    const ofVllm = new Set<string>()
    return {
      kind: 'openai',
      id: connection.id,
      name: connection.words.name,
      models: (signal) => listModels(connection, api, ofVllm, signal),
      stream: (call, signal) =>
        connection.stream(
          {
            path: call.prompt === undefined ? `${api}/chat/completions` : `${api}/completions`,
            model: call.model,
            traceparent: call.traceparent,
            body: () => toChatBody(call, ofVllm.has(call.model)),
            reader: (call.stream ? createReader : createWholeReader)(call.model, connection.words),
          },
          signal,
        ),
      ignores: ignoredIn,
      embed: (call, signal) => embed(connection, api, call, signal),
      countTokens: (model, text, signal) => countTokens(connection, model, text, signal),
      close: () => connection.close(),
    }
  },
}
export default driver

const Embeddings = z.object({
  data: z.array(z.object({ index: z.number(), embedding: z.array(z.number()) })),
  usage: z.object({ prompt_tokens: z.number().nullish() }).nullish(),
})

async function embed(
  connection: Connection,
  api: string,
  { model, texts, dimensions, extra }: EmbedCall,
  signal: StopSignal,
): Promise<Embedding> {
  const { words } = connection
  const body = { ...extra, model, input: texts, dimensions, encoding_format: 'float' }
  const reply = await connection.ask(`${api}/embeddings`, body, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, model, words)
  const answer = Embeddings.safeParse(parseJson(reply.text))
  if (!answer.success || answer.data.data.length !== texts.length)
    throw new AppError('upstream', `${words.title} at ${words.name} sent no vectors`)
  const { data, usage } = answer.data
  const vectors = [...data].sort((a, b) => a.index - b.index).map(({ embedding }) => embedding)
  return { vectors, ...(typeof usage?.prompt_tokens === 'number' && { tokens: usage.prompt_tokens }) }
}
