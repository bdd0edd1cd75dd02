/** Deltas become the bytes that OpenAI clients read: chunks of a stream, or one JSON body. Pure. */
import type { Cited, Delta, FinishReason, Notice, TokenLogprob, Told, Usage } from '#providers/provider.ts'
import type { Passage } from '#prompt/passages.ts'

import { errorBody } from '../errors.ts'
import type { Chunks } from './stream.ts'

/** Equal in every chunk of one answer. */
export interface Envelope {
  requestId: string
  model: string
  createdSeconds: number
  /** The client is Open WebUI in a chat: it understands events beside the answer. */
  takesEvents?: boolean
  /** The client asked for the passages that the model was given. */
  wantsSources?: boolean
}

export const usageJson = (usage: Usage) => ({
  prompt_tokens: usage.promptTokens,
  completion_tokens: usage.completionTokens,
  total_tokens: usage.promptTokens + usage.completionTokens,
  ...(usage.cachedTokens === undefined
    ? {}
    : { prompt_tokens_details: { cached_tokens: usage.cachedTokens } }),
  ...(usage.reasoningTokens === undefined
    ? {}
    : { completion_tokens_details: { reasoning_tokens: usage.reasoningTokens } }),
})

const toolJson = ({ call }: Extract<Delta, { type: 'tool' }>) => ({
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

const DONE_EVENT = 'data: [DONE]\n\n'

/**
 * Makes the chunks of a stream. The role goes out with the first delta of each answer, the usage of all once, before the end.
 * Several answers (`n`) come one after the other, each with a `done` of its own.
 */
export function createChunks(envelope: Envelope, wantsUsage: boolean, answers = 1): Chunks {
  const base = JSON.stringify(head(envelope, 'chat.completion.chunk')).slice(0, -1)
  const tail = wantsUsage ? ',"usage":null}\n\n' : '}\n\n'
  let index = 0
  let opened = false
  let used: Usage | undefined
  // Put together by hand: the same 150 bytes stand around every token.
  const chunk = (delta: string, finish: FinishReason | null, logprobs = '') => {
    const role = opened ? '' : `"role":"assistant"${delta === '' ? '' : ','}`
    opened = true
    const reason = finish === null ? 'null' : `"${finish}"`
    return `data: ${base},"choices":[{"index":${String(index)},"delta":{${role}${delta}}${logprobs},"finish_reason":${reason}}]${tail}`
  }
  return {
    delta(delta) {
      if (delta.type === 'tool')
        return chunk(`"tool_calls":${JSON.stringify([{ index: delta.index, ...toolJson(delta) }])}`, null)
      if (delta.type === 'reasoning') return chunk(`"reasoning_content":${JSON.stringify(delta.text)}`, null)
      const logprobs = delta.logprobs && `,"logprobs":${JSON.stringify({ content: delta.logprobs })}`
      return chunk(`"content":${JSON.stringify(delta.text)}`, null, logprobs)
    },
    done({ reason, usage }) {
      const last = chunk('', reason)
      index += 1
      opened = false
      used = plus(used, usage)
      if (index < answers) return last
      if (used === undefined || !wantsUsage) return last + DONE_EVENT
      return `${last}data: ${base},"choices":[],"usage":${JSON.stringify(usageJson(used))}}\n\n${DONE_EVENT}`
    },
    // Not `chunk('')`: the role belongs to the first words, which are still to come.
    beat: () => `data: ${base},"choices":[{"index":${String(index)},"delta":{},"finish_reason":null}]${tail}`,
    // Open WebUI shows it above the answer; other clients expect nothing but choices.
    ...(envelope.takesEvents === true && { notice: statusEvent, sources: sourceEvents }),
    ...(envelope.wantsSources === true && {
      sources: ({ passages }) =>
        `data: ${base},"choices":[],"sources":${JSON.stringify(sourcesJson(passages))}}\n\n`,
    }),
    error: (error) => `data: ${JSON.stringify(errorBody(error))}\n\n${DONE_EVENT}`,
  }
}

/** Shape of Open WebUI 0.12's status events, as its frontend reads them beside an answer. */
function statusEvent({ text, isDone }: Notice): string {
  const data = { description: text, done: isDone, hidden: isDone }
  return `data: ${JSON.stringify({ choices: [], event: { type: 'status', data } })}\n\n`
}

/** Open WebUI makes citation cards of these; it groups them by `source` and numbers them by `name`, in this order. */
function sourceEvents({ passages }: Cited): string {
  const count = passages.length
  const description = count === 1 ? 'Looked at 1 passage' : `Looked at ${String(count)} passages`
  const status = { type: 'status', data: { description, done: true, hidden: false } }
  const events = [status, ...sourcesJson(passages).map((data) => ({ type: 'source', data }))]
  return events.map((event) => `data: ${JSON.stringify({ choices: [], event })}\n\n`).join('')
}

/** Shape of Open WebUI's sources, which others that show sources read as well. Pages are counted from 0 there. */
export const sourcesJson = (passages: readonly Passage[]) =>
  passages.map(({ documentId, label, text, page, similarity, reference }) => ({
    source: { id: `${documentId}#${String(reference)}`, name: label },
    document: [text],
    metadata: [
      { source: `${documentId}#${String(reference)}`, name: label, ...(page !== null && { page: page - 1 }) },
    ],
    ...(similarity !== null && { distances: [similarity] }),
  }))

/** The prompt of several answers is one prompt. */
function plus(before: Usage | undefined, usage: Usage | undefined): Usage | undefined {
  if (before === undefined || usage === undefined) return before ?? usage
  const thought = [before, usage].flatMap(({ reasoningTokens }) => reasoningTokens ?? [])
  return {
    promptTokens: before.promptTokens,
    completionTokens: before.completionTokens + usage.completionTokens,
    ...(before.cachedTokens !== undefined && { cachedTokens: before.cachedTokens }),
    ...(thought.length > 0 && { reasoningTokens: thought.reduce((sum, tokens) => sum + tokens) }),
  }
}

interface Collected {
  text: string
  reasoning: string
  calls: object[]
  logprobs: TokenLogprob[]
}

const nothing = (): Collected => ({ text: '', reasoning: '', calls: [], logprobs: [] })

function choiceOf({ text, reasoning, calls, logprobs }: Collected, index: number, reason: FinishReason) {
  const message = {
    role: 'assistant',
    content: text === '' && calls.length > 0 ? null : text,
    refusal: null,
    ...(reasoning === '' ? {} : { reasoning_content: reasoning }),
    ...(calls.length === 0 ? {} : { tool_calls: calls }),
  }
  const probable = logprobs.length === 0 ? null : { content: logprobs }
  return { index, message, finish_reason: reason, logprobs: probable }
}

const isCurious = ({ takesEvents, wantsSources }: Envelope) => takesEvents === true || wantsSources === true

/** Collects whole answers into the body of a request without streaming. */
export async function collect(deltas: AsyncIterable<Told>, envelope: Envelope): Promise<object> {
  const choices: object[] = []
  let answer = nothing()
  let used: Usage | undefined
  let sources: ReturnType<typeof sourcesJson> = []
  for await (const delta of deltas) {
    if (delta.type === 'status') continue
    if (delta.type === 'sources') {
      sources = sourcesJson(delta.passages)
      continue
    }
    if (delta.type === 'text') {
      answer.text += delta.text
      if (delta.logprobs !== undefined) answer.logprobs.push(...delta.logprobs)
    } else if (delta.type === 'reasoning') answer.reasoning += delta.text
    else if (delta.type === 'tool') answer.calls.push(toolJson(delta))
    else {
      choices.push(choiceOf(answer, choices.length, delta.reason))
      used = plus(used, delta.usage)
      answer = nothing()
    }
  }
  const { id, object, created, model } = head(envelope, 'chat.completion')
  return {
    id,
    object,
    created,
    model,
    choices,
    ...(sources.length > 0 && isCurious(envelope) && { sources }),
    ...(used === undefined ? {} : { usage: usageJson(used) }),
  }
}
