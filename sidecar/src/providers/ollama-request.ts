/** What Ollama is asked, in the dialect of its own `/api/chat` and `/api/generate`. */
import { z } from 'zod'

import { type ChatMessage, isPlainText, messageText, type ToolCall, type ToolSpec } from '#prompt/ask.ts'

import { parseJson } from './connection.ts'
import type { ModelCall } from './provider.ts'

/** What Ollama tells of a model; both absent in old versions. */
export interface Description {
  contextTokens?: number
  capabilities?: readonly string[]
}

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
export const isKept = (toolChoice: unknown): boolean =>
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

export const isFormat = (responseFormat: unknown): boolean =>
  isPlainText(responseFormat) || ResponseFormat.safeParse(responseFormat).success

function toFormat(responseFormat: unknown): unknown {
  const format = ResponseFormat.safeParse(responseFormat)
  return format.success ? format.data : undefined
}
