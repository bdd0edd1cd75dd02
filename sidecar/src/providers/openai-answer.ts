/** How an answer is read in the dialect of `/v1`: a stream of chunks, or one document. */
import { randomBytes } from 'node:crypto'

import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { splitEvents, type SseEvent } from '#base/sse.ts'

import { parseJson } from './connection.ts'
import { type Frame, frameOf, wordsIn } from './frame.ts'
import { type Delta, type FinishReason, isDone, type ServerTimings, type Usage } from './provider.ts'
import type { Reader, Splitter, Step } from './reader.ts'
import { brokenError, type ServerWords } from './refusal.ts'

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
  finish: string | undefined
  usage: Usage | undefined
  timings: ServerTimings | undefined
  /** What stands around the words of most chunks. */
  frame: Frame | undefined
  /** Frames that only one chunk had. */
  wastedFrames: number
}

const newState = (): ChatState => ({
  tools: new Map(),
  finish: undefined,
  usage: undefined,
  timings: undefined,
  frame: undefined,
  wastedFrames: 0,
})

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
    start: newState(),
    step(state, { data }) {
      if (data === '[DONE]') return { state, deltas: lastDeltas(state, words, newId) }
      return readFramed(state, data, (from, chunk) => readChunk(from, chunk, model, words))
    },
    isLast: isDone,
    end: (state) => lastDeltas(state, words, newId),
  }
}

/** Reads an answer that comes in one piece. */
export function createWholeReader(
  model: string,
  words: ServerWords,
  newId: () => string = () => `call_${randomBytes(12).toString('hex')}`,
): Reader<SseEvent, ChatState, Delta> {
  return {
    contentType: /^application\/json/,
    split: wholeText,
    start: newState(),
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
  const { frame, wastedFrames } = state
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
  const { prompt_ms: prefillMs, predicted_ms: decodeMs } = timings
  const told: ServerTimings = {}
  if (typeof prefillMs === 'number') told.prefillMs = prefillMs
  if (typeof decodeMs === 'number') told.decodeMs = decodeMs
  return told
}
