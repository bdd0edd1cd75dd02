/** How a request is written in the dialect of `/v1`. */
import { type ChatMessage, messageText } from '#prompt/ask.ts'

import type { ModelCall } from './provider.ts'

/** llama.cpp's server believes them and not `max_tokens` and `n`, which Troupe decides. */
const OVERRULED = { n_predict: undefined, n_cmpl: undefined }
const OVERRULED_NAMES = Object.keys(OVERRULED)

/** Fields of the client's request that stay here. */
export const ignoredIn = ({ extra }: Pick<ModelCall, 'extra'>): string[] =>
  OVERRULED_NAMES.filter((name) => name in extra)

/** What the client sent beyond our words goes along, but never over what Troupe decides. */
export function toChatBody(call: ModelCall, isVllm = false): Record<string, unknown> {
  const { sampling } = call
  return Object.assign({}, call.extra, thinkingOf(call), {
    model: call.model,
    ...OVERRULED,
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
  })
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
      : { type: 'image_url', image_url: { url: part.url, detail: part.detail } },
  )
}

/**
 * What vLLM and llama.cpp hand to the chat template, and what models with degrees of effort understand. What the client wrote for
 * the template is its own word on it.
 */
function thinkingOf({ thinking, extra }: ModelCall): Record<string, unknown> {
  if (thinking === undefined) return {}
  const own: unknown = extra['chat_template_kwargs']
  const template = { enable_thinking: thinking !== false, ...(typeof own === 'object' && own) }
  const effort = typeof thinking === 'string' ? { reasoning_effort: thinking } : {}
  return { chat_template_kwargs: template, ...effort }
}
