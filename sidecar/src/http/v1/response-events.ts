/** Deltas become what clients of the Responses API read: named events of a stream, or one response object. Pure. */
import type { AppError, ErrorCode } from '#base/errors.ts'
import type { Cited, Delta, FinishReason, Told, Usage } from '#providers/provider.ts'

import type { Chunks } from './stream.ts'
import { sourcesJson } from './wire.ts'

/** What one response tells of itself, equal in every event that carries it. */
export interface ResponseHead {
  requestId: string
  createdSeconds: number
  /** Fields of the request that the response repeats. */
  settings: Readonly<Record<string, unknown>>
  /** The client asked for the passages that the model was given. */
  wantsSources?: boolean
}

type Done = Extract<Delta, { type: 'done' }>
type EndStatus = 'completed' | 'incomplete'
type Item = Readonly<Record<string, unknown>>

interface ResponseEvent {
  type: string
  [field: string]: unknown
}

/** How the two kinds of written text look; everything else about them is equal. */
const KINDS = {
  text: {
    idPrefix: 'msg',
    eventPrefix: 'response.output_text',
    // The official client's types ask for a list of log probabilities; we have none to tell.
    eventFields: { logprobs: [] },
    part: (text: string) => ({ type: 'output_text', text, annotations: [], logprobs: [] }),
    item: { type: 'message', role: 'assistant' },
  },
  reasoning: {
    idPrefix: 'rs',
    eventPrefix: 'response.reasoning_text',
    eventFields: {},
    part: (text: string) => ({ type: 'reasoning_text', text }),
    item: { type: 'reasoning', summary: [] },
  },
} as const

interface OpenItem {
  kind: keyof typeof KINDS
  id: string
  text: string
}

/** Sorts deltas into output items, of which only the last may be open; what is done to them returns its events. */
function createOutput(requestId: string) {
  const items: Item[] = []
  let open: OpenItem | undefined

  const newId = (prefix: string) => `${prefix}_${requestId}_${String(items.length)}`
  const place = (id: string) => ({ item_id: id, output_index: items.length })
  const itemEvent = (step: 'added' | 'done', item: Item): ResponseEvent => ({
    type: `response.output_item.${step}`,
    output_index: items.length,
    item,
  })

  function opening(kind: OpenItem['kind'], id: string): ResponseEvent[] {
    const { item, part } = KINDS[kind]
    return [
      itemEvent('added', { ...item, id, status: 'in_progress', content: [] }),
      { type: 'response.content_part.added', ...place(id), content_index: 0, part: part('') },
    ]
  }

  function close(status: EndStatus): ResponseEvent[] {
    if (open === undefined) return []
    const { kind, id, text } = open
    const { eventPrefix, eventFields, item, part } = KINDS[kind]
    const at = { ...place(id), content_index: 0 }
    const whole = { ...item, id, status, content: [part(text)] }
    const events = [
      { type: `${eventPrefix}.done`, ...at, text, ...eventFields },
      { type: 'response.content_part.done', ...at, part: part(text) },
      itemEvent('done', whole),
    ]
    items.push(whole)
    open = undefined
    return events
  }

  function write(kind: OpenItem['kind'], delta: string): ResponseEvent[] {
    const { idPrefix, eventPrefix, eventFields } = KINDS[kind]
    const closed = open?.kind === kind ? [] : close('completed')
    const { id, text } = open ?? { id: newId(idPrefix), text: '' }
    const begun = open === undefined ? opening(kind, id) : []
    open = { kind, id, text: text + delta }
    const step = { type: `${eventPrefix}.delta`, ...place(id), content_index: 0, delta, ...eventFields }
    return [...closed, ...begun, step]
  }

  function callTool({ call }: Extract<Delta, { type: 'tool' }>): ResponseEvent[] {
    const closed = close('completed')
    const id = newId('fc')
    const item = { type: 'function_call', id, call_id: call.id, name: call.name }
    const whole = { ...item, arguments: call.arguments, status: 'completed' }
    const steps = 'response.function_call_arguments'
    const events = [
      itemEvent('added', { ...item, arguments: '', status: 'in_progress' }),
      { type: `${steps}.delta`, ...place(id), delta: call.arguments },
      { type: `${steps}.done`, ...place(id), name: call.name, arguments: call.arguments },
      itemEvent('done', whole),
    ]
    items.push(whole)
    return [...closed, ...events]
  }

  return {
    /** The items that are over. */
    items: items as readonly Item[],
    add: (delta: Exclude<Delta, Done>): ResponseEvent[] =>
      delta.type === 'tool' ? callTool(delta) : write(delta.type, delta.text),
    close,
  }
}

/** How an answer ended, in the words of a response. */
interface Outcome {
  status: 'in_progress' | 'completed' | 'incomplete' | 'failed'
  reason?: string
  error?: { code: string; message: string }
  usage?: Usage | undefined
  /** What has been told by now. */
  cited?: Cited | undefined
}

const INCOMPLETE: Readonly<Partial<Record<FinishReason, string>>> = {
  length: 'max_output_tokens',
  content_filter: 'content_filter',
}

function outcomeOf(done: Done | undefined): Outcome & { status: EndStatus } {
  const reason = done && INCOMPLETE[done.reason]
  if (reason === undefined) return { status: 'completed', usage: done?.usage }
  return { status: 'incomplete', reason, usage: done?.usage }
}

/** The list of codes in a response is closed, so ours become the nearest of them; the message says the rest. */
const CODES: Readonly<Partial<Record<ErrorCode, string>>> = {
  invalid: 'invalid_prompt',
  context_length: 'invalid_prompt',
  limited: 'rate_limit_exceeded',
}

const failureOf = ({ code, message }: AppError): Outcome => ({
  status: 'failed',
  error: { code: CODES[code] ?? 'server_error', message },
})

const usageJson = ({ promptTokens, completionTokens, cachedTokens = 0, reasoningTokens = 0 }: Usage) => ({
  input_tokens: promptTokens,
  input_tokens_details: { cached_tokens: cachedTokens, cache_write_tokens: 0 },
  output_tokens: completionTokens,
  output_tokens_details: { reasoning_tokens: reasoningTokens },
  total_tokens: promptTokens + completionTokens,
})

function responseJson(head: ResponseHead, output: readonly Item[], outcome: Outcome): object {
  const { status, reason, error, usage, cited } = outcome
  return {
    id: `resp_${head.requestId}`,
    object: 'response',
    created_at: head.createdSeconds,
    status,
    error: error ?? null,
    incomplete_details: reason === undefined ? null : { reason },
    ...head.settings,
    output,
    // Ours: OpenAI's interface has no field for them.
    ...(cited && head.wantsSources === true && { sources: sourcesJson(cited.passages) }),
    usage: usage === undefined ? null : usageJson(usage),
  }
}

/** Makes the events of one streamed response. A failure closes what is open before it is told. */
export function createResponseEvents(head: ResponseHead): Chunks & Required<Pick<Chunks, 'open'>> {
  const output = createOutput(head.requestId)
  let cited: Cited | undefined
  let sequence = 0
  const write = (events: readonly ResponseEvent[]) => events.map((event) => sse(event, sequence++)).join('')
  const stage = (name: string, outcome: Outcome): ResponseEvent => ({
    type: `response.${name}`,
    response: responseJson(head, output.items, { ...outcome, cited }),
  })
  const end = (itemStatus: EndStatus, outcome: Outcome) =>
    write([...output.close(itemStatus), stage(outcome.status, outcome)])
  return {
    open: () =>
      write([stage('created', { status: 'in_progress' }), stage('in_progress', { status: 'in_progress' })]),
    delta: (delta) => write(output.add(delta)),
    done(done) {
      const outcome = outcomeOf(done)
      return end(outcome.status, outcome)
    },
    // In an event that clients know: the list of their types is closed.
    ...(head.wantsSources === true && {
      sources(told) {
        cited = told
        return write([stage('in_progress', { status: 'in_progress' })])
      },
    }),
    error: (error) => end('incomplete', failureOf(error)),
  }
}

function sse({ type, ...fields }: ResponseEvent, sequenceNumber: number): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: sequenceNumber, ...fields })}\n\n`
}

/** Collects a whole answer into the response object of a request without streaming. */
export async function collectResponse(deltas: AsyncIterable<Told>, head: ResponseHead): Promise<object> {
  const output = createOutput(head.requestId)
  let done: Done | undefined
  let cited: Cited | undefined
  for await (const delta of deltas) {
    if (delta.type === 'done') done = delta
    else if (delta.type === 'sources') cited = delta
    else if (delta.type !== 'status') output.add(delta)
  }
  const outcome = outcomeOf(done)
  output.close(outcome.status)
  return responseJson(head, output.items, { ...outcome, cited })
}
