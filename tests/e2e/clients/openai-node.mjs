import OpenAI from 'openai'

import {
  BASE_URL,
  CHARACTER,
  EMBEDDER,
  failure,
  KEY,
  LIMITED,
  LIMITED_KEY,
  PICTURE,
  run,
  SCHEMA,
  SCRIPTED,
  SPENT,
  SPENT_KEY,
  TOLD,
  TOOL,
  TOOLED,
  WRONG_KEY,
} from './checks.mjs'

const open = (apiKey) => new OpenAI({ baseURL: BASE_URL, apiKey, maxRetries: 0 })
const client = open(KEY)
const stranger = open(WRONG_KEY)
const say = (content) => [{ role: 'user', content }]
const ask = (body, by = client) =>
  by.chat.completions.create({ model: CHARACTER, messages: say('Hello'), max_tokens: 16, ...body })
const heldBack = async (key, code) => {
  const error = await failure(() => ask({}, open(key)))
  return (
    error instanceof OpenAI.RateLimitError &&
    error.code === code &&
    Number(error.headers.get('retry-after')) > 0
  )
}

await run({
  list: async () => (await client.models.list()).data.some(({ id }) => id === CHARACTER),
  chat: async () => (await ask({})).choices[0].message.content.length > 0,
  async stream() {
    let text = ''
    let usage
    for await (const chunk of await ask({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? ''
      usage = chunk.usage ?? usage
    }
    return text.length > 0 && usage.completion_tokens > 0
  },
  async tools() {
    const messages = say('What is the weather in Oslo?')
    const first = (await ask({ model: TOOLED, messages, tools: [TOOL] })).choices[0]
    const call = first.message.tool_calls[0]
    messages.push(first.message, { role: 'tool', tool_call_id: call.id, content: '12 degrees' })
    const last = (await ask({ model: TOOLED, messages, tools: [TOOL] })).choices[0].message.content
    return (
      first.finish_reason === 'tool_calls' &&
      JSON.parse(call.function.arguments).city === 'Oslo' &&
      last.includes(TOLD)
    )
  },
  async schema() {
    const response_format = {
      type: 'json_schema',
      json_schema: { name: 'person', strict: true, schema: SCHEMA },
    }
    return (
      JSON.parse((await ask({ response_format, max_tokens: 60 })).choices[0].message.content).name === 'Mira'
    )
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: PICTURE } },
    ]
    return (
      (await ask({ model: SCRIPTED, messages: say(content) })).choices[0].message.content === 'A picture.'
    )
  },
  async embeddings() {
    const { data } = await client.embeddings.create({ model: EMBEDDER, input: ['one', 'two'] })
    return data.length === 2 && data[0].embedding.length > 4
  },
  async 400() {
    const error = await failure(() => ask({ messages: [] }))
    return (
      error instanceof OpenAI.BadRequestError &&
      error.code === 'invalid_request' &&
      error.param === 'messages'
    )
  },
  async 401() {
    const error = await failure(() => ask({}, stranger))
    return error instanceof OpenAI.AuthenticationError && error.code === 'invalid_api_key'
  },
  async 404() {
    const error = await failure(() => ask({ model: 'nobody' }))
    return error instanceof OpenAI.NotFoundError && error.code === 'model_not_found'
  },
  429: () => heldBack(LIMITED_KEY, LIMITED),
  quota: () => heldBack(SPENT_KEY, SPENT),
})
