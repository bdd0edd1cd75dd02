/** The body of a chat request and its headers become an Ask. Lenient: what we do not know belongs to the model server. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { ChatMessage, ContentPart, Sampling, Thinking, ToolSpec } from '#prompt/ask.ts'

import { check } from '../body.ts'

const text = z.string()

/** About a page; it stands in every prompt. */
const PERSONA_CHARACTERS = 4_000

/** Each is a call of its own, one after the other. */
const MOST_ANSWERS = 8

const number = z.number().nullish()

/** LM Studio's samples send -1 for an answer of any length. */
const UNBOUNDED = -1
const mostTokens = z
  .number()
  .int()
  .min(UNBOUNDED)
  .refine((most) => most !== 0, 'must be above 0, or -1 for no bound')
  .nullish()

/** Anything but a text is no name, and no reason to refuse a chat. */
const name = text.nullish().catch(undefined)

const Part = z.union([
  z.looseObject({ type: z.literal('text'), text }),
  z.looseObject({ type: z.literal('image_url'), image_url: z.union([text, z.looseObject({ url: text })]) }),
  z.looseObject({ type: text }),
])

const Message = z.object({
  role: z.enum(['system', 'developer', 'user', 'assistant', 'tool']),
  content: z.union([text, z.array(Part)]).nullish(),
  tool_calls: z.array(z.object({ id: text, function: z.object({ name: text, arguments: text }) })).nullish(),
  tool_call_id: text.nullish(),
  /** Read to be told as ignored. */
  name: z.unknown().optional(),
})

const Tool = z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: text }) })

const ResponseFormat = z.union(
  [
    // The last is vLLM's; Ollama names it as ignored.
    z.looseObject({ type: z.enum(['text', 'json_object', 'structural_tag']) }),
    z.looseObject({
      type: z.literal('json_schema'),
      json_schema: z.looseObject({ schema: z.record(text, z.unknown()) }),
    }),
  ],
  {
    error:
      'must be { "type": "text" }, { "type": "json_object" }, or { "type": "json_schema", "json_schema": { "name": …, "schema": { … } } }',
  },
)

export const TOOL_WORDS = z.enum(['none', 'auto', 'required'])

export const TOOL_CHOICE_FAULT = 'say "auto", "none" or "required", or name one function'

const ToolChoice = z.union(
  [TOOL_WORDS, z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: text }) })],
  { error: TOOL_CHOICE_FAULT },
)

/** Not loose: what is unknown is taken from the body itself, since zod reads loose objects ten times slower. */
export const ChatBody = z.object({
  model: text.min(1),
  messages: z
    .array(Message)
    .min(1, 'must hold at least one message')
    .max(2_000, 'may hold at most 2,000 messages'),
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  temperature: number,
  top_p: number,
  top_k: number,
  min_p: number,
  frequency_penalty: number,
  presence_penalty: number,
  repeat_penalty: number,
  seed: number,
  stop: z.union([text, z.array(text)]).nullish(),
  max_tokens: mostTokens,
  max_completion_tokens: mostTokens,
  repetition_penalty: number,
  n: z
    .number()
    .int()
    .min(1)
    .max(MOST_ANSWERS, `may be at most ${String(MOST_ANSWERS)}`)
    .nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.number().int().min(0).max(20).nullish(),
  reasoning_effort: z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullish(),
  modalities: z.array(text).nullish(),
  user: name,
  /** OpenAI's newer word for it. */
  safety_identifier: name,
  audio: z.unknown().optional(),
  tools: z.array(Tool).nullish(),
  tool_choice: ToolChoice.nullish(),
  response_format: ResponseFormat.nullish(),
  /** Ours: what OpenAI's interface has no field for. */
  troupe: z
    .looseObject({
      persona: text.max(PERSONA_CHARACTERS).nullish(),
      /** Whether the answer tells the passages that it may come from. */
      sources: z.boolean().nullish(),
    })
    .nullish(),
})

/** With the fields that we do not know. */
export type ChatBody = z.infer<typeof ChatBody> & Readonly<Record<string, unknown>>

/** Fields of the hosted API that mean nothing to a model server of one's own; who sends one is told in a header. */
const WITHOUT_EFFECT = [
  'metadata',
  'store',
  'service_tier',
  'prompt_cache_key',
  'prompt_cache_retention',
  'prediction',
  'verbosity',
  'web_search_options',
] as const

/** The fields of a body that were read and change nothing. */
export const ignoredFields = (body: Readonly<Record<string, unknown>>): string[] =>
  WITHOUT_EFFECT.filter((name) => body[name] != null)

/** A character talks with one person, and messages of theirs that follow each other become one: names beside them go nowhere. */
export const ignoredInMessages = ({ messages }: ChatBody): string[] =>
  messages.some(({ name }) => name != null) ? ['messages.name'] : []

/** Throws AppError `invalid` with the field's path. */
export function readChatBody(value: unknown): ChatBody {
  const parsed = ChatBody.safeParse(value)
  if (parsed.success) {
    refuseSound(parsed.data)
    return withUnknown(parsed.data, value, ChatBody.shape)
  }
  const issue = parsed.error.issues[0]
  const where = issue?.path.join('.') ?? ''
  throw new AppError(
    'invalid',
    where === '' ? 'The request body must be a JSON object' : `"${where}": ${issue?.message ?? 'is wrong'}`,
    {
      ...(where === '' ? {} : { param: where }),
    },
  )
}

/**
 * A reader of the same turn in another dialect. What only chats have means nothing there, and would get past the check of its
 * type among the fields that we do not know: it is left out, and told.
 */
export function createReader<S extends z.ZodRawShape>(schema: z.ZodObject<S>) {
  const ofChats = Object.keys(ChatBody.shape).filter((field) => !(field in schema.shape))
  const known = Object.assign({}, ChatBody.shape, schema.shape)
  /** Throws AppError `invalid` with the field's path. */
  return (value: unknown) => {
    const body = withUnknown(check(schema, value), value, known)
    const sent = new Map<string, unknown>(Object.entries(value ?? {}))
    return { body, ignored: ofChats.filter((field) => sent.get(field) != null) }
  }
}

/** Adds the fields that the shape does not have, as they came. */
function withUnknown<T extends object>(
  known: T,
  value: unknown,
  shape: object,
): T & Readonly<Record<string, unknown>> {
  const unknown = Object.entries(value ?? {}).filter(([name]) => !(name in shape))
  return Object.assign(known, Object.fromEntries(unknown))
}

function refuseSound({ modalities, audio }: z.infer<typeof ChatBody>): void {
  if (audio == null && modalities?.includes('audio') !== true) return
  throw new AppError('invalid', 'Characters answer in text only; leave out "audio" and "modalities"', {
    param: audio == null ? 'modalities' : 'audio',
  })
}

function refuseMissingTool({ tool_choice: choice, tools }: ChatBody): void {
  if (choice == null || typeof choice === 'string') return
  const { name } = choice.function
  if (tools?.some((tool) => tool.function.name === name) === true) return
  throw new AppError('invalid', `"tool_choice" names "${name}", which is not among the tools`, {
    param: 'tool_choice',
  })
}

/** Models know three degrees, or none. */
const EFFORTS: Readonly<Record<NonNullable<ChatBody['reasoning_effort']>, Thinking>> = {
  none: false,
  minimal: 'low',
  low: 'low',
  medium: 'medium',
  high: 'high',
  xhigh: 'high',
  max: 'high',
}

/** Throws AppError `invalid` for a choice among the tools that is none of them. */
export function askParts(body: ChatBody) {
  refuseMissingTool(body)
  return {
    model: body.model,
    messages: body.messages.map(readMessage),
    stream: body.stream ?? false,
    sampling: readSampling(body),
    tools: (body.tools ?? []).map((tool): ToolSpec => ({ name: tool.function.name, spec: tool })),
    ...(body.tool_choice == null ? {} : { toolChoice: body.tool_choice }),
    ...(body.response_format == null ? {} : { responseFormat: body.response_format }),
    ...(body.reasoning_effort == null ? {} : { thinking: EFFORTS[body.reasoning_effort] }),
    ...(body.logprobs === true ? { logprobs: { top: body.top_logprobs ?? 0 } } : {}),
    ...(body.troupe?.persona ? { persona: body.troupe.persona } : {}),
    ...userOf(body),
    extra: extraOf(body),
  }
}

export function userOf({
  user,
  safety_identifier: identifier,
}: Pick<z.infer<typeof ChatBody>, 'user' | 'safety_identifier'>): { user?: string } {
  const named = user || identifier
  return named ? { user: named } : {}
}

/** Makes what picks the fields that belong to the model server: those that the shape does not have, and that can mean something. */
export function extraBeside(shape: object) {
  const notPassedOn: ReadonlySet<string> = new Set([...Object.keys(shape), ...WITHOUT_EFFECT])
  return (body: Readonly<Record<string, unknown>>): Record<string, unknown> => {
    const extra: Record<string, unknown> = {}
    for (const name in body) if (!notPassedOn.has(name)) extra[name] = body[name]
    return extra
  }
}

const extraOf = extraBeside(ChatBody.shape)

type WireMessage = ChatBody['messages'][number]

function readMessage(message: WireMessage, index: number): ChatMessage {
  if (message.role === 'user') return { role: 'user', content: readParts(message.content, index) }
  const spoken = textOf(message.content)
  if (message.role === 'tool') return { role: 'tool', text: spoken, toolCallId: message.tool_call_id ?? '' }
  if (message.role !== 'assistant') return { role: 'system', text: spoken }
  const calls = message.tool_calls ?? []
  if (calls.length === 0) return { role: 'assistant', text: spoken }
  return {
    role: 'assistant',
    text: spoken,
    toolCalls: calls.map((call) => ({
      id: call.id,
      name: call.function.name,
      arguments: call.function.arguments,
    })),
  }
}

function textOf(content: WireMessage['content']): string {
  if (typeof content === 'string') return content
  return (content ?? [])
    .flatMap((part) => ('text' in part && typeof part.text === 'string' ? [part.text] : []))
    .join('\n')
}

function readParts(content: WireMessage['content'], index: number): ContentPart[] {
  if (typeof content === 'string') return [{ type: 'text', text: content }]
  return (content ?? []).map((part, at): ContentPart => {
    if ('text' in part && typeof part.text === 'string') return { type: 'text', text: part.text }
    const { url, detail } = imageOf(part)
    const param = `messages.${String(index)}.content.${String(at)}`
    if (url === undefined) {
      const what =
        part.type === 'input_audio'
          ? 'Sound is not understood'
          : `Content of type "${part.type}" is not understood`
      throw new AppError('invalid', `${what}; send text and pictures`, { param })
    }
    return { type: 'image', url: pictureUrl(url, param), ...(detail == null ? {} : { detail }) }
  })
}

/** Throws AppError `invalid` with `param` for anything but a `data:` URL of a picture. */
export function pictureUrl(url: unknown, param: string): string {
  if (typeof url === 'string' && url.startsWith('data:image/')) return url
  const [, type] = typeof url === 'string' ? (/^data:([^;,]{0,100})/.exec(url) ?? []) : []
  if (type !== undefined)
    throw new AppError('invalid', `A data: URL of type "${type}" is no picture; send "data:image/…"`, {
      param,
    })
  throw new AppError('invalid', 'Pictures must be sent as data: URLs; remote addresses are not fetched', {
    param,
  })
}

const ImageUrl = z.object({ url: text, detail: name })

function imageOf(part: z.infer<typeof Part>): Partial<z.infer<typeof ImageUrl>> {
  if (!('image_url' in part)) return {}
  const value: unknown = part.image_url
  if (typeof value === 'string') return { url: value }
  return ImageUrl.safeParse(value).data ?? {}
}

function readSampling(body: ChatBody): Sampling {
  const stop = typeof body.stop === 'string' ? [body.stop] : body.stop
  const maxTokens = body.max_completion_tokens ?? body.max_tokens
  const given = {
    temperature: body.temperature,
    topP: body.top_p,
    topK: body.top_k,
    minP: body.min_p,
    frequencyPenalty: body.frequency_penalty,
    presencePenalty: body.presence_penalty,
    repeatPenalty: body.repeat_penalty ?? body.repetition_penalty,
    seed: body.seed,
    stop,
    maxTokens: maxTokens === UNBOUNDED ? undefined : maxTokens,
  }
  const sampling: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) if (value != null) sampling[name] = value
  return sampling
}
