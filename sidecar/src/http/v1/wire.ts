/** Deltas become the bytes that OpenAI clients read: chunks of a stream, or one JSON body. Pure. */
import type { AppError } from '#base/errors.ts'
import type { Delta, FinishReason, Usage } from '#providers/provider.ts'

import { errorBody } from '../errors.ts'

/** Equal in every chunk of one answer. */
export interface Envelope {
  requestId: string
  model: string
  createdSeconds: number
}

type Done = Extract<Delta, { type: 'done' }>

const usageJson = (usage: Usage) => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  total_tokens: usage.promptTokens + usage.completionTokens,
  ...(usage.cachedTokens === undefined
    ? {}
    : { prompt_tokens_details: { cached_tokens: usage.cachedTokens } }),
})

const toolJson = ({ call, index }: Extract<Delta, { type: 'tool' }>) => ({
  index,
  id: call.id,
  type: 'function',
  function: { name: call.name, arguments: call.arguments },
})

const head = (envelope: Envelope, object: string) => ({
  id: `chatcmpl-${envelope.requestId}`,
  object,
  created: envelope.createdSeconds,
  model: envelope.model,
})

const event = (value: unknown) => `data: ${JSON.stringify(value)}\n\n`

const DONE_EVENT = 'data: [DONE]\n\n'

/** Makes the chunks of one streamed answer. The role goes out with the first delta, the usage once, before the end. */
export function createChunks(envelope: Envelope, wantsUsage: boolean) {
  const base = head(envelope, 'chat.completion.chunk')
  const withUsage = wantsUsage ? { usage: null } : {}
  let opened = false
  const chunk = (delta: object, finish: FinishReason | null) => {
    const role = opened ? {} : { role: 'assistant' }
    opened = true
    return event({
      ...base,
      choices: [{ index: 0, delta: { ...role, ...delta }, finish_reason: finish }],
      ...withUsage,
    })
  }
  return {
    delta(delta: Exclude<Delta, Done>): string {
      if (delta.type === 'text') return chunk({ content: delta.text }, null)
      if (delta.type === 'reasoning') return chunk({ reasoning_content: delta.text }, null)
      return chunk({ tool_calls: [toolJson(delta)] }, null)
    },
    done({ reason, usage }: Done): string {
      const last = chunk({}, reason)
      if (usage === undefined || !wantsUsage) return last + DONE_EVENT
      return last + event({ ...base, choices: [], usage: usageJson(usage) }) + DONE_EVENT
    },
    error: (error: AppError): string => event(errorBody(error)) + DONE_EVENT,
  }
}

/** Collects a whole answer into the body of a request without streaming. */
export async function collect(deltas: AsyncIterable<Delta>, envelope: Envelope): Promise<object> {
  let text = ''
  let reasoning = ''
  const calls: object[] = []
  let done: Done | undefined
  for await (const delta of deltas) {
    if (delta.type === 'text') text += delta.text
    else if (delta.type === 'reasoning') reasoning += delta.text
    else if (delta.type === 'tool') calls.push(toolJson(delta))
    else done = delta
  }
  const message = {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
  return {
    ...head(envelope, 'chat.completion'),
    choices: [{ index: 0, message, finish_reason: done?.reason ?? 'stop', logprobs: null }],
    ...(done?.usage === undefined ? {} : { usage: usageJson(done.usage) }),
  }
}
