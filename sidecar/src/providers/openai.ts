/** Every server that speaks OpenAI's `/v1/chat/completions`: llama.cpp, vLLM, LM Studio and others. */
import { randomBytes } from 'node:crypto'

import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { splitEvents, type SseEvent } from '#base/sse.ts'
import { type ChatMessage, messageText } from '#prompt/ask.ts'

import { type Connection, openConnection, parseJson } from './connection.ts'
import { type Frame, frameOf, wordsIn } from './frame.ts'
import {
  type BaseModel,
  type Delta,
  type EmbedCall,
  type Embedding,
  type FinishReason,
  type ModelCall,
  type Provider,
  type ProviderDriver,
  type ServerTimings,
  type Usage,
  isDone,
} from './provider.ts'
import type { Reader, Splitter, Step } from './reader.ts'
import { brokenError, refusalError, type ServerWords } from './refusal.ts'

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
      embed: (call, signal) => embed(connection, api, call, signal),
      countTokens: (model, text, signal) => countTokens(connection, model, text, signal),
      close: () => connection.close(),
    }
  },
}
export default driver

// -- the request ------------------------------------------------------------------------------------------------------

/** What the client sent beyond our words goes along, but never over what Troupe decides. */
export function toChatBody(call: ModelCall, isVllm = false): Record<string, unknown> {
  const { sampling } = call
  return {
    ...call.extra,
    ...thinkingOf(call.thinking),
    model: call.model,
    ...(call.prompt === undefined
      ? { messages: call.messages.map(toMessage) }
      : { prompt: call.prompt.text, suffix: call.prompt.suffix }),
    stream: call.stream,
    ...(call.stream && { stream_options: { include_usage: true } }),
    max_tokens: call.maxTokens,
    temperature: sampling.temperature,
    top_p: sampling.topP,
    top_k: sampling.topK,
    min_p: sampling.minP,
    frequency_penalty: sampling.frequencyPenalty,
    presence_penalty: sampling.presencePenalty,
    // llama.cpp and LM Studio read the first, vLLM the second; each ignores the other.
    repeat_penalty: sampling.repeatPenalty,
    repetition_penalty: sampling.repeatPenalty,
    seed: sampling.seed,
    stop: sampling.stop,
    ...(call.tools.length > 0 && {
      tools: call.tools.map((tool) => tool.spec),
      tool_choice: call.toolChoice,
    }),
    response_format: call.responseFormat,
    ...(call.logprobs && { logprobs: true, top_logprobs: call.logprobs.top }),
    ...(isVllm && { cache_salt: call.cacheSalt }),
  }
}

function toMessage(message: ChatMessage): Record<string, unknown> {
  switch (message.role) {
    case 'system':
      return { role: 'system', content: message.text }
    case 'user':
      return { role: 'user', content: toContent(message) }
    case 'assistant': {
      const calls = message.toolCalls ?? []
      if (calls.length === 0) return { role: 'assistant', content: message.text }
      const toolCalls = calls.map(({ id, name, arguments: json }) => ({
        id,
        type: 'function',
        function: { name, arguments: json },
      }))
      return { role: 'assistant', content: message.text || null, tool_calls: toolCalls }
    }
    case 'tool':
      return { role: 'tool', content: message.text, tool_call_id: message.toolCallId }
  }
}

/** Text alone goes as a string: templates of text models do not expect parts. */
function toContent(message: Extract<ChatMessage, { role: 'user' }>): unknown {
  if (message.content.every((part) => part.type === 'text')) return messageText(message)
  return message.content.map((part) =>
    part.type === 'text'
      ? { type: 'text', text: part.text }
      : { type: 'image_url', image_url: { url: part.url } },
  )
}

// -- the answer -------------------------------------------------------------------------------------------------------

const ToolPiece = z.object({
  index: z.number().nullish(),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
})

const Said = z.object({
  content: z.string().nullish(),
  reasoning_content: z.string().nullish(),
  reasoning: z.string().nullish(),
  tool_calls: z.array(ToolPiece).nullish(),
})

const ChatChunk = z.object({
  choices: z
    .array(
      z.object({
        index: z.number().nullish(),
        /** A piece of the answer, the whole of it, or the text of a completion. */
        delta: Said.nullish(),
        message: Said.nullish(),
        text: z.string().nullish(),
        finish_reason: z.string().nullish(),
        logprobs: z.object({ content: z.array(z.record(z.string(), z.unknown())).nullish() }).nullish(),
      }),
    )
    .nullish(),
  usage: z
    .object({
      prompt_tokens: z.number().nullish(),
      completion_tokens: z.number().nullish(),
      prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
      completion_tokens_details: z.object({ reasoning_tokens: z.number().nullish() }).nullish(),
    })
    .nullish(),
  /** llama.cpp only. */
  timings: z.object({ prompt_ms: z.number().nullish(), predicted_ms: z.number().nullish() }).nullish(),
  error: z.unknown().optional(),
})
type ChatChunk = z.infer<typeof ChatChunk>

interface ToolParts {
  id: string
  name: string
  arguments: string
}

/** What has to be kept until the answer is over. */
export interface ChatState {
  /** Tool calls by the index that the server gave them, in pieces so far. */
  tools: ReadonlyMap<number, ToolParts>
  finish?: string
  usage?: Usage
  timings?: ServerTimings
  /** What stands around the words of most chunks. */
  frame?: Frame
  /** Frames that only one chunk had. */
  wastedFrames?: number
}

/** A server whose chunks all differ in more than their words is read chunk by chunk. */
const MOST_WASTED_FRAMES = 3

/** Reads a stream of chunks. Ends at `[DONE]`, or with the bytes once a finish reason was seen. */
export function createReader(
  model: string,
  words: ServerWords,
  newId: () => string = () => `call_${randomBytes(12).toString('hex')}`,
): Reader<SseEvent, ChatState, Delta> {
  return {
    contentType: /^text\/event-stream/,
    split: splitEvents,
    start: { tools: new Map() },
    step(state, { data }) {
      if (data === '[DONE]') return { state, deltas: lastDeltas(state, words, newId) }
      return readFramed(state, data, (from, chunk) => readChunk(from, chunk, model, words))
    },
    isLast: isDone,
    end: (state) => lastDeltas(state, words, newId),
  }
}

/** Reads an answer that comes in one piece. */
function createWholeReader(
  model: string,
  words: ServerWords,
  newId: () => string = () => `call_${randomBytes(12).toString('hex')}`,
): Reader<SseEvent, ChatState, Delta> {
  return {
    contentType: /^application\/json/,
    split: wholeText,
    start: { tools: new Map() },
    step(state, { data }) {
      const read = readChunk(state, data, model, words)
      return { state: read.state, deltas: [...read.deltas, ...lastDeltas(read.state, words, newId)] }
    },
    isLast: isDone,
    end() {
      throw new AppError('upstream', `${words.title} at ${words.name} sent an empty answer`)
    },
  }
}

/** One item, once the bytes are over. */
function wholeText(): Splitter<SseEvent> {
  const chunks: Uint8Array[] = []
  return {
    push(chunk) {
      chunks.push(chunk)
      return []
    },
    rest: () =>
      chunks.length === 0 ? [] : [{ event: 'message', data: Buffer.concat(chunks).toString('utf8') }],
  }
}

type ReadChunk = (state: ChatState, data: string) => Step<ChatState, Delta>

function readFramed(state: ChatState, data: string, read: ReadChunk): Step<ChatState, Delta> {
  const { frame, wastedFrames = 0 } = state
  const words = frame && wordsIn(frame, data)
  if (frame !== undefined && words !== undefined) {
    const isNew = !frame.isProven
    return {
      state: isNew ? { ...state, frame: { ...frame, isProven: true } } : state,
      deltas: [{ type: 'text', text: words }],
    }
  }
  const step = read(state, data)
  const text = onlyWords(state, step)
  if (text === undefined || wastedFrames >= MOST_WASTED_FRAMES) return step
  const fresh = frameOf(data, text, (chunk) => onlyWords(state, read(state, chunk)))
  if (fresh === undefined) return step
  const wasted = frame?.isProven === false ? wastedFrames + 1 : wastedFrames
  return { ...step, state: { ...state, frame: fresh, wastedFrames: wasted } }
}

/** The words of a chunk that says nothing else. */
function onlyWords(before: ChatState, { state, deltas }: Step<ChatState, Delta>): string | undefined {
  const [delta] = deltas
  if (state !== before || deltas.length !== 1 || delta?.type !== 'text') return undefined
  return delta.logprobs === undefined ? delta.text : undefined
}

function readChunk(
  state: ChatState,
  data: string,
  model: string,
  words: ServerWords,
): Step<ChatState, Delta> {
  const parsed = ChatChunk.safeParse(parseJson(data))
  if (!parsed.success)
    throw new AppError('upstream', `${words.title} at ${words.name} sent an event that is no answer`)
  const { choices, usage, timings, error } = parsed.data
  if (error !== undefined && error !== null) throw brokenError(error, model, words)

  // Only one answer is ever asked for; a second one would be mixed into the first.
  const choice = choices?.find(({ index }) => (index ?? 0) === 0)
  const { finish_reason: finish, logprobs } = choice ?? {}
  const said = choice?.delta ?? choice?.message
  const deltas: Delta[] = []
  const reasoning = said?.reasoning_content ?? said?.reasoning
  if (reasoning) deltas.push({ type: 'reasoning', text: reasoning })
  const text = said?.content ?? choice?.text
  if (text) deltas.push({ type: 'text', text, ...(logprobs?.content && { logprobs: logprobs.content }) })

  const pieces = said?.tool_calls ?? []
  if (pieces.length === 0 && !finish && !usage && !timings) return { state, deltas }
  return {
    state: {
      ...state,
      ...(pieces.length > 0 && { tools: withPieces(state.tools, pieces) }),
      ...(finish && { finish }),
      ...(usage && { usage: toUsage(usage) }),
      ...(timings && { timings: toTimings(timings) }),
    },
    deltas,
  }
}

/** The first piece of a call brings id and name, the later ones more text of the arguments. */
function withPieces(
  before: ChatState['tools'],
  pieces: readonly z.infer<typeof ToolPiece>[],
): ChatState['tools'] {
  const tools = new Map(before)
  for (const piece of pieces) {
    // A server that leaves the index out sends each call whole.
    const index = piece.index ?? tools.size
    const known = tools.get(index) ?? { id: '', name: '', arguments: '' }
    tools.set(index, {
      id: known.id || (piece.id ?? ''),
      name: known.name || (piece.function?.name ?? ''),
      arguments: known.arguments + (piece.function?.arguments ?? ''),
    })
  }
  return tools
}

/** OpenAI's words, and those that servers use beside them for a length; any other word is some kind of stop. */
const REASONS: Readonly<Record<string, FinishReason>> = {
  length: 'length',
  max_tokens: 'length',
  max_length: 'length',
  model_length: 'length',
  tool_calls: 'tool_calls',
  function_call: 'tool_calls',
  content_filter: 'content_filter',
}

/** Words of vLLM, SGLang and others for an answer that was given up. */
const GIVEN_UP = new Set(['abort', 'aborted', 'cancel', 'canceled', 'cancelled', 'error'])

function lastDeltas(state: ChatState, words: ServerWords, newId: () => string): Delta[] {
  const { finish, usage, timings } = state
  if (finish === undefined || GIVEN_UP.has(finish)) {
    throw new AppError('upstream', `${words.title} at ${words.name} ended in the middle of an answer`)
  }
  const calls = [...state.tools.entries()].sort(([left], [right]) => left - right)
  const tools = calls.map(([, { id, name, arguments: json }], index): Delta => {
    return { type: 'tool', index, call: { id: id || newId(), name, arguments: json || '{}' } }
  })
  // Some servers say `stop` behind a tool call; clients stop their loops on that word.
  const reason = tools.length > 0 && finish === 'stop' ? 'tool_calls' : (REASONS[finish] ?? 'stop')
  return [...tools, { type: 'done', reason, ...(usage && { usage }), ...(timings && { timings }) }]
}

function toUsage(usage: NonNullable<ChatChunk['usage']>): Usage {
  const cachedTokens = usage.prompt_tokens_details?.cached_tokens
  const reasoningTokens = usage.completion_tokens_details?.reasoning_tokens
  return {
    promptTokens: usage.prompt_tokens ?? 0,
    completionTokens: usage.completion_tokens ?? 0,
    ...(typeof cachedTokens === 'number' && { cachedTokens }),
    ...(typeof reasoningTokens === 'number' && { reasoningTokens }),
  }
}

function toTimings(timings: NonNullable<ChatChunk['timings']>): ServerTimings {
  return {
    ...(typeof timings.prompt_ms === 'number' && { prefillMs: timings.prompt_ms }),
    ...(typeof timings.predicted_ms === 'number' && { decodeMs: timings.predicted_ms }),
  }
}

// -- vectors ----------------------------------------------------------------------------------------------------------

const Embeddings = z.object({
  data: z.array(z.object({ index: z.number(), embedding: z.array(z.number()) })),
  usage: z.object({ prompt_tokens: z.number().nullish() }).nullish(),
})

async function embed(
  connection: Connection,
  api: string,
  { model, texts, dimensions }: EmbedCall,
  signal: AbortSignal,
): Promise<Embedding> {
  const { words } = connection
  const body = { model, input: texts, dimensions, encoding_format: 'float' }
  const reply = await connection.ask(`${api}/embeddings`, body, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, model, words)
  const answer = Embeddings.safeParse(parseJson(reply.text))
  if (!answer.success || answer.data.data.length !== texts.length)
    throw new AppError('upstream', `${words.title} at ${words.name} sent no vectors`)
  const { data, usage } = answer.data
  const vectors = [...data].sort((a, b) => a.index - b.index).map(({ embedding }) => embedding)
  return { vectors, ...(typeof usage?.prompt_tokens === 'number' && { tokens: usage.prompt_tokens }) }
}

// -- the models -------------------------------------------------------------------------------------------------------

const ModelRow = z.object({
  id: z.string(),
  owned_by: z.string().nullish(),
  /** vLLM: the window that it was started with. */
  max_model_len: z.number().nullish(),
  /** llama.cpp: the window of one slot, and the one that the model was trained for. */
  meta: z.object({ n_ctx: z.number().nullish(), n_ctx_train: z.number().nullish() }).nullish(),
})

const ModelList = z.object({ data: z.array(ModelRow) })

/** llama.cpp divides its window among its slots; this is the share of one. */
const Props = z.object({
  default_generation_settings: z.object({ n_ctx: z.number() }),
  total_slots: z.number().int().positive().optional(),
})

async function listModels(
  connection: Connection,
  api: string,
  ofVllm: Set<string>,
  signal: AbortSignal,
): Promise<BaseModel[]> {
  const { words } = connection
  const reply = await connection.ask(`${api}/models`, undefined, signal)
  if (reply.status !== 200) throw refusalError(reply.status, reply.text, '', words)
  const list = ModelList.safeParse(parseJson(reply.text))
  if (!list.success) {
    throw new AppError(
      'upstream',
      `${words.title} at ${words.name} gave no list of models; its URL has to end in /v1`,
    )
  }
  const rows = list.data.data
  for (const { id, owned_by } of rows) if (owned_by === 'vllm') ofVllm.add(id)
  const slots = await readSlots(connection, rows, signal)
  const waiting = await readWaiting(connection, rows, signal)
  return rows.map((row) => {
    const contextTokens =
      row.max_model_len ??
      slots?.default_generation_settings.n_ctx ??
      row.meta?.n_ctx ??
      row.meta?.n_ctx_train
    return {
      name: row.id,
      chats: !isEmbedder(row.id),
      ...(typeof contextTokens === 'number' && { contextTokens }),
      ...(slots?.total_slots !== undefined && { parallel: slots.total_slots }),
      ...given(waiting.get(row.id)),
    }
  })
}

const Count = z.union([
  z.looseObject({ count: z.number() }).transform(({ count }) => count),
  z.looseObject({ tokens: z.array(z.unknown()) }).transform(({ tokens }) => tokens.length),
])

/** vLLM reads `prompt` and tells a count, llama.cpp reads `content` and tells the tokens; both stand beside `/v1`. */
async function countTokens(connection: Connection, model: string, text: string, signal: AbortSignal) {
  const body = { model, prompt: text, content: text, add_special_tokens: false, add_special: false }
  const reply = await connection.ask('/tokenize', body, signal)
  const count = Count.safeParse(parseJson(reply.text))
  return reply.status === 200 && count.success ? count.data : undefined
}

/** No list says what a model is for (llama.cpp's claims `completion` for all), but the names of embedding models do. */
function isEmbedder(name: string): boolean {
  return /embed/i.test(name)
}

/** Only a llama.cpp server with one model can be asked: one that routes would load a model to answer. */
async function readSlots(
  connection: Connection,
  rows: readonly z.infer<typeof ModelRow>[],
  signal: AbortSignal,
): Promise<z.infer<typeof Props> | undefined> {
  if (rows.length !== 1 || rows[0]?.owned_by !== 'llamacpp') return undefined
  const reply = await connection.ask('/props', undefined, signal)
  const props = Props.safeParse(parseJson(reply.text))
  return reply.status === 200 && props.success ? props.data : undefined
}

const given = (waiting: number | undefined) => (waiting === undefined ? {} : { waiting })

/** A line of vLLM's figures: one for each model and engine. */
const WAITING = /^vllm:num_requests_waiting\{([^}]*)\}\s+(\S+)/gm
const MODEL_LABEL = /(?:^|,)model_name="([^"]*)"/

/** Calls that wait there, ours and those of others, by model; empty for every other server. */
async function readWaiting(
  connection: Connection,
  rows: readonly z.infer<typeof ModelRow>[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const waiting = new Map<string, number>()
  if (!rows.some(({ owned_by }) => owned_by === 'vllm')) return waiting
  const reply = await connection.ask('/metrics', undefined, signal)
  if (reply.status !== 200) return waiting
  for (const [, labels = '', value] of reply.text.matchAll(WAITING)) {
    const model = MODEL_LABEL.exec(labels)?.[1] ?? ''
    waiting.set(model, (waiting.get(model) ?? 0) + Number(value))
  }
  return waiting
}

/** What vLLM and llama.cpp hand to the chat template, and what models with degrees of effort understand. */
function thinkingOf(thinking: ModelCall['thinking']): Record<string, unknown> {
  if (thinking === undefined) return {}
  const effort = typeof thinking === 'string' ? { reasoning_effort: thinking } : {}
  return { chat_template_kwargs: { enable_thinking: thinking !== false }, ...effort }
}
