/**
 * Ollama through its own `/api/chat`: only there can the window be set, silent truncation be refused, and times be read.
 * The facts behind each field: docs of Ollama, and `api/types.go` and `server/routes.go` of v0.17 and v0.33.
 */
import { randomBytes } from 'node:crypto'

import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { splitLines } from '#base/ndjson.ts'
import type { StopSignal } from '#base/stopping.ts'
import { type ChatMessage, messageText, type ToolCall, type ToolSpec } from '#prompt/ask.ts'

import { type Connection, openConnection, parseJson } from './connection.ts'
import { createMaker } from './ollama-models.ts'
import {
  type BaseModel,
  type Delta,
  type EmbedCall,
  type Embedding,
  type FinishReason,
  type LoadedModel,
  type ModelCall,
  type Provider,
  type ProviderDriver,
  type ServerTimings,
  type Usage,
  isDone,
} from './provider.ts'
import type { Reader, Step } from './reader.ts'
import { brokenError, refusalError, type ServerWords } from './refusal.ts'

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

// -- the request ------------------------------------------------------------------------------------------------------

/** Absent sampling stays absent (JSON leaves undefined out), so that the Modelfile's own values apply. */
export function toChatBody(
  call: ModelCall,
  model: Description,
  keepAliveSeconds?: number,
): Record<string, unknown> {
  const { sampling } = call
  const tools = offeredTools(call.tools, call.toolChoice)
  return {
    model: call.model,
    ...(call.prompt === undefined
      ? { messages: toMessages(call.messages) }
      : { prompt: call.prompt.text, suffix: call.prompt.suffix, raw: call.prompt.suffix === undefined }),
    stream: call.stream,
    // Without this Ollama drops messages, in the end the persona, and says nothing.
    truncate: false,
    keep_alive: keepAliveSeconds,
    options: {
      num_ctx: call.contextTokens,
      num_predict: call.maxTokens,
      num_keep: call.keepTokens,
      temperature: sampling.temperature,
      top_p: sampling.topP,
      top_k: sampling.topK,
      min_p: sampling.minP,
      frequency_penalty: sampling.frequencyPenalty,
      presence_penalty: sampling.presencePenalty,
      repeat_penalty: sampling.repeatPenalty,
      seed: sampling.seed,
      stop: sampling.stop,
    },
    ...(tools.length > 0 && { tools: tools.map((tool) => tool.spec) }),
    format: toFormat(call.responseFormat),
    ...(call.logprobs && { logprobs: true, top_logprobs: call.logprobs.top }),
    // A model that can think does so unless told otherwise; one that cannot refuses the field when it is true.
    ...(model.capabilities?.includes('thinking') === true && { think: call.thinking ?? false }),
  }
}

function toMessages(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  const toolNames = new Map<string, string>()
  return messages.map((message) => {
    switch (message.role) {
      case 'system':
        return { role: 'system', content: message.text }
      case 'user': {
        const images = message.content.flatMap((part) => (part.type === 'image' ? [toBase64(part.url)] : []))
        return { role: 'user', content: messageText(message), ...(images.length > 0 && { images }) }
      }
      case 'assistant': {
        const calls = message.toolCalls ?? []
        for (const call of calls) toolNames.set(call.id, call.name)
        return {
          role: 'assistant',
          content: message.text,
          ...(calls.length > 0 && { tool_calls: calls.map(toToolCall) }),
        }
      }
      case 'tool':
        return {
          role: 'tool',
          content: message.text,
          tool_call_id: message.toolCallId,
          tool_name: toolNames.get(message.toolCallId),
        }
    }
  })
}

function toToolCall(call: ToolCall): Record<string, unknown> {
  return { id: call.id, function: { name: call.name, arguments: toArguments(call.arguments) } }
}

/** Ollama reads arguments as an object and refuses the whole request otherwise. */
function toArguments(json: string): Record<string, unknown> {
  if (json.trim() === '') return {}
  const value = parseJson(json)
  const object = z.record(z.string(), z.unknown()).safeParse(value)
  return object.success ? object.data : { value: value ?? json }
}

/** `data:image/png;base64,AAAA` becomes `AAAA`, the only form that Ollama takes. */
function toBase64(dataUrl: string): string {
  const comma = dataUrl.indexOf(',')
  const payload = dataUrl.slice(comma + 1)
  if (dataUrl.slice(0, comma).endsWith(';base64')) return payload
  return Buffer.from(decodeURIComponent(payload)).toString('base64')
}

const NamedTool = z.object({ function: z.object({ name: z.string() }) })

/** That a tool must be called is a wish here. */
const isKept = (toolChoice: unknown): boolean =>
  toolChoice === undefined || toolChoice === 'auto' || toolChoice === 'none'

/**
 * Ollama has no `tool_choice`. `none` is kept by offering no tool. For a named tool no other is offered, and whether the model
 * calls it stays open; so does `required`.
 */
function offeredTools(tools: readonly ToolSpec[], choice: unknown): readonly ToolSpec[] {
  if (choice === 'none') return []
  const named = NamedTool.safeParse(choice)
  return named.success ? tools.filter((tool) => tool.name === named.data.function.name) : tools
}

const ResponseFormat = z.union([
  z.object({ type: z.literal('json_object') }).transform(() => 'json' as const),
  z
    .object({ type: z.literal('json_schema'), json_schema: z.object({ schema: z.unknown() }) })
    .transform((format) => format.json_schema.schema),
])

const isFormat = (responseFormat: unknown): boolean =>
  responseFormat === undefined ||
  PlainText.safeParse(responseFormat).success ||
  ResponseFormat.safeParse(responseFormat).success

const PlainText = z.object({ type: z.literal('text') })

function toFormat(responseFormat: unknown): unknown {
  const format = ResponseFormat.safeParse(responseFormat)
  return format.success ? format.data : undefined
}

// -- the answer -------------------------------------------------------------------------------------------------------

const ChatLine = z.object({
  message: z
    .object({
      content: z.string().nullish(),
      thinking: z.string().nullish(),
      tool_calls: z
        .array(z.object({ function: z.object({ name: z.string(), arguments: z.unknown().optional() }) }))
        .nullish(),
    })
    .nullish(),
  /** Of `/api/generate`. */
  response: z.string().nullish(),
  logprobs: z.array(z.record(z.string(), z.unknown())).nullish(),
  done: z.boolean().nullish(),
  done_reason: z.string().nullish(),
  prompt_eval_count: z.number().nullish(),
  eval_count: z.number().nullish(),
  /** Not sent by the versions read here; announced for later ones. */
  prompt_eval_cached_count: z.number().nullish(),
  load_duration: z.number().nullish(),
  prompt_eval_duration: z.number().nullish(),
  eval_duration: z.number().nullish(),
  error: z.unknown().optional(),
})
type ChatLine = z.infer<typeof ChatLine>

/** Tool calls seen so far: they come whole, so their number is all there is to remember. */
export interface ChatState {
  toolCalls: number
}

/** Reads `/api/chat`, one line at a time. `newId` makes the ids of tool calls; Ollama's own are not unique everywhere. */
export function createReader(
  model: string,
  words: ServerWords,
  newId: () => string = () => `call_${randomBytes(12).toString('hex')}`,
): Reader<string, ChatState, Delta> {
  return {
    // Plain JSON is how it answers where there is nothing to stream.
    contentType: /^application\/(?:x-nd)?json/,
    split: splitLines,
    start: { toolCalls: 0 },
    step: (state, line) => readChatLine(state, line, { model, words, newId }),
    isLast: isDone,
    end() {
      throw new AppError('upstream', `${words.title} at ${words.name} ended in the middle of an answer`)
    },
  }
}

interface ReadContext {
  model: string
  words: ServerWords
  newId: () => string
}

function readChatLine(state: ChatState, line: string, on: ReadContext): Step<ChatState, Delta> {
  const parsed = ChatLine.safeParse(parseJson(line))
  if (!parsed.success)
    throw new AppError('upstream', `${on.words.title} at ${on.words.name} sent a line that is no answer`)
  const { message, error, done } = parsed.data
  if (error !== undefined && error !== null) throw brokenError(error, on.model, on.words)

  const deltas: Delta[] = []
  if (message?.thinking) deltas.push({ type: 'reasoning', text: message.thinking })
  const text = message?.content ?? parsed.data.response
  const { logprobs } = parsed.data
  if (text) deltas.push({ type: 'text', text, ...(logprobs && { logprobs }) })
  const calls = message?.tool_calls ?? []
  calls.forEach(({ function: { name, arguments: value } }, place) => {
    const call = { id: on.newId(), name, arguments: JSON.stringify(value ?? {}) }
    deltas.push({ type: 'tool', index: state.toolCalls + place, call })
  })
  const toolCalls = state.toolCalls + calls.length
  if (done === true)
    deltas.push({ type: 'done', reason: toReason(parsed.data, toolCalls), ...toFigures(parsed.data) })
  return { state: calls.length > 0 ? { toolCalls } : state, deltas }
}

/** Ollama says `stop` also where the answer is a tool call; clients stop their loops on that word. */
function toReason(line: ChatLine, toolCalls: number): FinishReason {
  if (line.done_reason === 'length') return 'length'
  return toolCalls > 0 ? 'tool_calls' : 'stop'
}

/** Ollama leaves out a count that is zero, and all of them when it only loaded the model. Its times are nanoseconds. */
function toFigures(line: ChatLine): { usage?: Usage; timings?: ServerTimings } {
  const {
    prompt_eval_count: promptTokens,
    eval_count: completionTokens,
    prompt_eval_cached_count: cachedTokens,
  } = line
  const hasCounts = typeof promptTokens === 'number' || typeof completionTokens === 'number'
  const timings: ServerTimings = {}
  if (typeof line.load_duration === 'number') timings.loadMs = line.load_duration / 1e6
  if (typeof line.prompt_eval_duration === 'number') timings.prefillMs = line.prompt_eval_duration / 1e6
  if (typeof line.eval_duration === 'number') timings.decodeMs = line.eval_duration / 1e6
  const figures: { usage?: Usage; timings?: ServerTimings } = {}
  if (hasCounts)
    figures.usage = {
      promptTokens: promptTokens ?? 0,
      completionTokens: completionTokens ?? 0,
      ...(typeof cachedTokens === 'number' && { cachedTokens }),
    }
  if (Object.keys(timings).length > 0) figures.timings = timings
  return figures
}

// -- vectors ----------------------------------------------------------------------------------------------------------

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

// -- the models -------------------------------------------------------------------------------------------------------

/** What Ollama tells of a model; both absent in old versions. */
export interface Description {
  contextTokens?: number
  capabilities?: readonly string[]
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
