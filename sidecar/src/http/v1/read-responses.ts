/**
 * The body of a Responses request becomes the body of a chat request, so that one reader knows what an Ask is made of.
 * What refers to something kept from earlier is refused: Troupe keeps no conversations.
 */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { check } from '../body.ts'
import { ChatBody, createReader, pictureUrl, TOOL_CHOICE_FAULT, TOOL_WORDS } from './read-ask.ts'

const text = z.string()
const record = z.record(text, z.unknown())

/** As many as a chat request may hold messages. */
const MOST_ITEMS = 2_000

const FunctionTool = z.looseObject({
  name: text.min(1),
  description: text.nullish(),
  parameters: record.nullish(),
  strict: z.boolean().nullish(),
})
const FunctionChoice = z.object({ type: z.literal('function'), name: text })
const SchemaFormat = z.object({
  name: text,
  description: text.nullish(),
  schema: record,
  strict: z.boolean().nullish(),
})

/** Equal in both interfaces, or unknown to OpenAI's and read by us all the same. */
const SHARED = ChatBody.pick({
  model: true,
  stream: true,
  temperature: true,
  top_p: true,
  top_k: true,
  min_p: true,
  frequency_penalty: true,
  presence_penalty: true,
  repeat_penalty: true,
  seed: true,
  stop: true,
  troupe: true,
  user: true,
  safety_identifier: true,
})

const ignored = z.unknown().optional()

const OWN = {
  input: z.union([text, z.array(z.looseObject({ type: text.nullish() })).max(MOST_ITEMS)], {
    error: `must be a text or a list of at most ${String(MOST_ITEMS)} items`,
  }),
  instructions: text.nullish(),
  tools: z.array(z.looseObject({ type: text })).nullish(),
  tool_choice: z.union([TOOL_WORDS, z.looseObject({ type: text })], { error: TOOL_CHOICE_FAULT }).nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z.looseObject({ format: z.looseObject({ type: text }).nullish() }).nullish(),
  max_output_tokens: z.number().int().positive().nullish(),
  reasoning: z.looseObject({ effort: ChatBody.shape.reasoning_effort }).nullish(),
  metadata: z.record(text, text).nullish(),
  previous_response_id: z.unknown().optional(),
  conversation: z.unknown().optional(),
  background: z.boolean().nullish(),
  prompt: z.unknown().optional(),
  store: ignored,
  truncation: ignored,
  service_tier: ignored,
  include: ignored,
  stream_options: ignored,
  max_tool_calls: ignored,
  top_logprobs: ignored,
  prompt_cache_key: ignored,
  prompt_cache_options: ignored,
  prompt_cache_retention: ignored,
  context_management: ignored,
  moderation: ignored,
}

export const ResponsesBody = SHARED.extend(OWN)

/** With the fields that we do not know. */
export type ResponsesBody = z.infer<typeof ResponsesBody> & Readonly<Record<string, unknown>>

const WITHOUT_EFFECT = Object.entries(OWN).flatMap(([name, schema]) => (schema === ignored ? name : []))

const read = createReader(ResponsesBody)

/** With the names of the fields that change nothing. Throws AppError `invalid` with the field's path. */
export function readResponsesBody(value: unknown): { body: ResponsesBody; ignored: string[] } {
  const { body, ignored: ofChats } = read(value)
  const kept = (['previous_response_id', 'conversation', 'background', 'prompt'] as const).find(
    (field) => (body[field] ?? false) !== false,
  )
  if (kept === undefined) {
    const without = WITHOUT_EFFECT.filter((name) => (body[name] ?? false) !== false)
    return { body, ignored: [...without, ...ofChats] }
  }
  throw new AppError(
    'invalid',
    `Troupe keeps no conversations, answers or prompts: leave out "${kept}" and send the whole history in "input"`,
    { param: kept },
  )
}

/** The same request in the chat form. Throws AppError `invalid` with the path of an item or tool that is not understood. */
export function toChatBody(body: ResponsesBody): ChatBody {
  const responseFormat = readFormat(body.text?.format)
  return {
    ...Object.fromEntries(Object.entries(body).filter(([field]) => !(field in OWN))),
    model: body.model,
    messages: [
      ...(body.instructions ? [{ role: 'system' as const, content: body.instructions }] : []),
      ...readInput(body.input),
    ],
    tools: body.tools?.map(readTool),
    tool_choice: readToolChoice(body.tool_choice),
    max_completion_tokens: body.max_output_tokens,
    ...(responseFormat === undefined ? {} : { response_format: responseFormat }),
    ...(body.reasoning?.effort == null ? {} : { reasoning_effort: body.reasoning.effort }),
    ...(body.parallel_tool_calls == null ? {} : { parallel_tool_calls: body.parallel_tool_calls }),
  }
}

/** What a response tells again of its request, complete as the official client's types want it. */
export function settingsOf(body: ResponsesBody): Record<string, unknown> {
  return {
    model: body.model,
    instructions: body.instructions ?? null,
    tools: (body.tools ?? []).map((tool) => ({
      description: null,
      parameters: null,
      strict: false,
      ...tool,
    })),
    tool_choice: body.tool_choice ?? 'auto',
    parallel_tool_calls: body.parallel_tool_calls ?? true,
    // Null where the character or the model decides.
    temperature: body.temperature ?? null,
    top_p: body.top_p ?? null,
    max_output_tokens: body.max_output_tokens ?? null,
    text: { format: body.text?.format ?? { type: 'text' } },
    reasoning: { effort: body.reasoning?.effort ?? null, summary: null },
    metadata: body.metadata ?? {},
    // The oldest turns are left out when the model's context is full.
    truncation: 'auto',
    store: false,
    background: false,
    previous_response_id: null,
  }
}

const CHAT_FIELDS: readonly (readonly [chat: string, own: string])[] = [
  ['messages', 'input'],
  ['response_format', 'text.format'],
  ['reasoning_effort', 'reasoning.effort'],
  ['max_completion_tokens', 'max_output_tokens'],
]

/** An error names the field of the chat form; the caller knows it by another name. */
export function inOwnWords(error: AppError): AppError {
  const own = CHAT_FIELDS.find(([chat]) => error.param?.split('.')[0] === chat)?.[1]
  if (own === undefined) return error
  return new AppError(error.code, error.message, { cause: error.cause, facts: error.facts, param: own })
}

// -- items ------------------------------------------------------------------------------------------------------------

type ChatMessage = ChatBody['messages'][number]
type ChatParts = Exclude<ChatMessage['content'], string | null | undefined>
type Items = Exclude<ResponsesBody['input'], string>

const Content = z.union([text, z.array(z.looseObject({ type: text }))], {
  error: 'must be a text or a list of parts',
})
const MessageItem = z.looseObject({
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content: Content,
})
const CallItem = z.looseObject({ call_id: text, name: text, arguments: text })
const OutputItem = z.looseObject({ call_id: text, output: Content })

function readInput(input: ResponsesBody['input']): ChatMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  const messages = readItems(input)
  if (messages.length > 0) return messages
  throw new AppError('invalid', '"input": must hold at least one message', { param: 'input' })
}

function readItems(items: Items): ChatMessage[] {
  const messages: ChatMessage[] = []
  for (const [index, item] of items.entries()) {
    const message = readItem(item, `input.${String(index)}`)
    if (message === undefined) continue
    const before = messages.at(-1)
    if (before?.role === 'assistant' && message.role === 'assistant')
      messages[messages.length - 1] = oneAnswer(before, message)
    else messages.push(message)
  }
  return messages
}

/** One answer comes back as several items, and chat templates want its words and calls in one message. */
function oneAnswer(before: ChatMessage, next: ChatMessage): ChatMessage {
  const said = [before, next].flatMap(({ content }) =>
    typeof content === 'string' ? [{ type: 'text' as const, text: content }] : (content ?? []),
  )
  const calls = [...(before.tool_calls ?? []), ...(next.tool_calls ?? [])]
  return { role: 'assistant', content: said, ...(calls.length > 0 && { tool_calls: calls }) }
}

/** Undefined for what a model is not told again. */
function readItem(item: Items[number], where: string): ChatMessage | undefined {
  switch (kindOf(item)) {
    case 'message': {
      const { role, content } = check(MessageItem, item, where)
      return { role, content: readContent(content, role === 'user', `${where}.content`) }
    }
    case 'function_call': {
      const { call_id: id, name, arguments: json } = check(CallItem, item, where)
      return { role: 'assistant', tool_calls: [{ id, function: { name, arguments: json } }] }
    }
    case 'function_call_output': {
      const { call_id: id, output } = check(OutputItem, item, where)
      return { role: 'tool', tool_call_id: id, content: readContent(output, false, `${where}.output`) }
    }
    case 'reasoning':
      return undefined
    case 'item_reference':
      throw new AppError(
        'invalid',
        'Troupe keeps no conversations: send the item itself instead of a reference to it',
        { param: where },
      )
    default:
      throw new AppError('invalid', `Items of type "${String(item.type)}" are not supported here`, {
        param: where,
      })
  }
}

/** Messages and references may leave their type out. */
function kindOf(item: Items[number]): string {
  if (item.type != null) return item.type
  return 'id' in item && !('role' in item) ? 'item_reference' : 'message'
}

const TEXT_PARTS = new Set(['input_text', 'output_text', 'text'])

function readContent(
  content: z.infer<typeof Content>,
  mayShowPictures: boolean,
  where: string,
): string | ChatParts {
  if (typeof content === 'string') return content
  return content.map((part, index) => {
    const param = `${where}.${String(index)}`
    if (TEXT_PARTS.has(part.type)) return { type: 'text', text: check(text, part['text'], `${param}.text`) }
    if (part.type === 'input_image' && mayShowPictures)
      return {
        type: 'image_url',
        image_url: { url: pictureUrl(part['image_url'], param), detail: part['detail'] },
      }
    throw new AppError('invalid', `Content of type "${part.type}" is not supported here`, { param })
  })
}

// -- tools and formats ------------------------------------------------------------------------------------------------

type ChatTool = NonNullable<ChatBody['tools']>[number]

function readTool(tool: { type: string }, index: number): ChatTool {
  const where = `tools.${String(index)}`
  if (tool.type !== 'function') {
    throw new AppError('invalid', `Tools of type "${tool.type}" are not supported here, only "function"`, {
      param: `${where}.type`,
    })
  }
  const { name, description, parameters, strict } = check(FunctionTool, tool, where)
  const given = Object.entries({ description, parameters, strict }).filter(([, value]) => value != null)
  return { type: 'function', function: { name, ...Object.fromEntries(given) } }
}

function readToolChoice(choice: ResponsesBody['tool_choice']): ChatBody['tool_choice'] {
  if (choice == null || typeof choice === 'string') return choice
  const named = FunctionChoice.safeParse(choice)
  if (named.success) return { type: 'function', function: { name: named.data.name } }
  throw new AppError('invalid', `"tool_choice": ${TOOL_CHOICE_FAULT}`, { param: 'tool_choice' })
}

function readFormat(format: { type: string } | null | undefined): ChatBody['response_format'] {
  switch (format?.type) {
    case undefined:
    case 'text':
      return undefined
    case 'json_object':
      return { type: 'json_object' }
    case 'json_schema': {
      const { schema, ...about } = check(SchemaFormat, format, 'text.format')
      const given = Object.entries(about).filter(([, value]) => value !== null)
      return { type: 'json_schema', json_schema: { ...Object.fromEntries(given), schema } }
    }
    default:
      throw new AppError('invalid', 'The format must be "text", "json_object" or "json_schema"', {
        param: 'text.format.type',
      })
  }
}
