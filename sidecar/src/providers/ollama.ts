/**
 * Ollama through its own `/api/chat`: only there can the window be set, silent truncation be refused, and times be read.
 * The facts behind each field: docs of Ollama, and `api/types.go` and `server/routes.go` of v0.17 and v0.33.
 */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { StopSignal } from '#base/stopping.ts'

import { type Connection, openConnection, parseJson } from './connection.ts'
import { createReader } from './ollama-answer.ts'
import { createMaker } from './ollama-models.ts'
import { type Description, isFormat, isKept, toChatBody } from './ollama-request.ts'
import type { BaseModel, EmbedCall, Embedding, LoadedModel, Provider, ProviderDriver } from './provider.ts'
import { refusalError } from './refusal.ts'

const WORDS = {
  title: 'Ollama',
  whenSilent: 'start it or set OLLAMA_BASE_URL',
  whenForbidden:
    'if a proxy in front of it asks for a login, put it into OLLAMA_BASE_URL (http://name:password@host)',
  whenMissing: (model: string) => `pull it first: ollama pull ${model}`,
}

/**
 * Ollama runs one call of a model at a time unless it was told otherwise, and does not say. A few more may wait with it: it
 * goes on to the next without a pause then.
 */
const PARALLEL = 4

/** Descriptions of models that are read at the same time. */
const DESCRIPTIONS_AT_ONCE = 4

const driver: ProviderDriver = {
  open(options): Provider {
    const connection = openConnection(options, WORDS)
    const descriptions = createDescriptions(connection)
    const { keepAliveSeconds } = options
    return {
      kind: 'ollama',
      id: connection.id,
      name: connection.words.name,
      models: (signal) => listModels(connection, descriptions, signal),
      stream: (call, signal) =>
        connection.stream(
          {
            path: call.prompt === undefined ? '/api/chat' : '/api/generate',
            model: call.model,
            traceparent: call.traceparent,
            body(callSignal) {
              const known = descriptions.known(call.model)
              if (known !== undefined) return toChatBody(call, known, keepAliveSeconds)
              const asked = descriptions.of(call.model, callSignal)
              return asked.then((model) => toChatBody(call, model, keepAliveSeconds))
            },
            reader: createReader(call.model, connection.words),
          },
          signal,
        ),
      loaded: (signal) => listLoaded(connection, signal),
      ignores({ model, extra, toolChoice, responseFormat, thinking = false }) {
        const cannotThink = descriptions.known(model)?.capabilities?.includes('thinking') === false
        return [
          ...Object.keys(extra),
          ...(isKept(toolChoice) ? [] : ['tool_choice']),
          ...(isFormat(responseFormat) ? [] : ['response_format']),
          ...(thinking !== false && cannotThink ? ['reasoning_effort'] : []),
        ]
      },
      embed: (call, signal) => embed(connection, call, keepAliveSeconds, signal),
      maker: createMaker(connection),
      close: () => connection.close(),
    }
  },
}
export default driver

const Embeddings = z.object({
  embeddings: z.array(z.array(z.number())),
  prompt_eval_count: z.number().nullish(),
  load_duration: z.number().nullish(),
})

async function embed(
  connection: Connection,
  call: EmbedCall,
  keepAliveSeconds: number | undefined,
  signal: StopSignal,
): Promise<Embedding> {
  const { model, texts, dimensions, contextTokens } = call
  const { words } = connection
  // Left to itself it takes the beginning of a text that is too long, and says nothing.
  const body = {
    ...{ model, input: texts, dimensions, truncate: false, keep_alive: keepAliveSeconds },
    options: { num_ctx: contextTokens },
  }
  const reply = await connection.ask('/api/embed', body, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, model, words)
  const answer = Embeddings.safeParse(parseJson(reply.text))
  if (!answer.success || answer.data.embeddings.length !== texts.length)
    throw new AppError('upstream', `${words.title} at ${words.name} sent no vectors`)
  const { embeddings: vectors, prompt_eval_count: tokens, load_duration: loadNs } = answer.data
  return {
    vectors,
    ...(typeof tokens === 'number' && { tokens }),
    ...(typeof loadNs === 'number' && { loadMs: loadNs / 1e6 }),
  }
}

interface Descriptions {
  /** Without asking. */
  known(model: string): Description | undefined
  /** Asked for once per content of a model. An unknown model, or one that cannot be described, is described by nothing. */
  of(model: string, signal: StopSignal, digest?: string): Promise<Description>
  /** Forgets the models that are gone. */
  keep(models: ReadonlySet<string>): void
}

const Tags = z.object({ models: z.array(z.object({ name: z.string(), digest: z.string().optional() })) })

const Show = z.object({
  capabilities: z.array(z.string()).nullish(),
  model_info: z.record(z.string(), z.unknown()).nullish(),
})

function createDescriptions(connection: Connection): Descriptions {
  const known = new Map<string, { digest: string | undefined; description: Description }>()
  return {
    known: (model) => known.get(model)?.description,
    async of(model, signal, digest) {
      const found = known.get(model)
      if (found !== undefined && (digest === undefined || digest === found.digest)) return found.description
      const reply = await connection.ask('/api/show', { model }, signal)
      const show = Show.safeParse(parseJson(reply.text))
      if (reply.status !== 200 || !show.success) return {}
      const description = toDescription(show.data)
      known.set(model, { digest, description })
      return description
    },
    keep(models) {
      for (const model of known.keys()) if (!models.has(model)) known.delete(model)
    },
  }
}

function toDescription({ capabilities, model_info: info }: z.infer<typeof Show>): Description {
  const contextTokens = info?.[`${String(info['general.architecture'])}.context_length`]
  return {
    ...(typeof contextTokens === 'number' && { contextTokens }),
    ...(capabilities && { capabilities }),
  }
}

async function listModels(
  connection: Connection,
  descriptions: Descriptions,
  signal: AbortSignal,
): Promise<BaseModel[]> {
  const reply = await connection.ask('/api/tags', undefined, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, '', connection.words)
  const tags = Tags.safeParse(parseJson(reply.text))
  if (!tags.success) {
    throw new AppError(
      'upstream',
      `${WORDS.title} at ${connection.words.name} gave no list of models; check OLLAMA_BASE_URL`,
    )
  }
  descriptions.keep(new Set(tags.data.models.map((model) => model.name)))
  return inTurn(tags.data.models, DESCRIPTIONS_AT_ONCE, async ({ name, digest }) => {
    const { contextTokens, capabilities } = await descriptions.of(name, signal, digest)
    return {
      name,
      chats: capabilities?.includes('completion') ?? true,
      ...(capabilities && {
        sees: capabilities.includes('vision'),
        usesTools: capabilities.includes('tools'),
      }),
      ...(contextTokens !== undefined && { contextTokens }),
      parallel: PARALLEL,
    }
  })
}

const Running = z.object({
  models: z.array(
    z.object({
      name: z.string(),
      context_length: z.number().nullish(),
      size: z.number().nullish(),
      size_vram: z.number().nullish(),
      expires_at: z.string().nullish(),
    }),
  ),
})

async function listLoaded(connection: Connection, signal: AbortSignal): Promise<LoadedModel[]> {
  const reply = await connection.ask('/api/ps', undefined, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, '', connection.words)
  const running = Running.safeParse(parseJson(reply.text))
  if (!running.success)
    throw new AppError(
      'upstream',
      `${WORDS.title} at ${connection.words.name} does not say what it has loaded`,
    )
  return running.data.models.map(({ name, ...told }) => {
    const untilMs = Date.parse(told.expires_at ?? '')
    return {
      name,
      ...(typeof told.context_length === 'number' && { contextTokens: told.context_length }),
      ...(typeof told.size === 'number' && { sizeBytes: told.size }),
      ...(typeof told.size_vram === 'number' && { gpuBytes: told.size_vram }),
      ...(Number.isFinite(untilMs) && { untilMs }),
    }
  })
}

/** Maps with a bound on how many run at the same time; the order stays. */
async function inTurn<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = []
  const queue = items.entries()
  const worker = async (): Promise<void> => {
    for (const [place, item] of queue) results[place] = await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  return results
}
