/** How an answer of Ollama's own `/api/chat` and `/api/generate` is read. */
import { randomBytes } from 'node:crypto'

import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { splitLines } from '#base/ndjson.ts'

import { parseJson } from './connection.ts'
import { type Delta, type FinishReason, isDone, type ServerTimings, type Usage } from './provider.ts'
import type { Reader, Step } from './reader.ts'
import { brokenError, type ServerWords } from './refusal.ts'

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
