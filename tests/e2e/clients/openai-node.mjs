import OpenAI from 'openai'

import { given, refusals, run, toldByOpenAi } from './checks.mjs'

const open = (apiKey = given.key) => new OpenAI({ baseURL: given.url, apiKey, maxRetries: 0 })
const say = (content) => [{ role: 'user', content }]
const ask = ({ key, ...body }) =>
  open(key).chat.completions.create({
    ...{ model: given.character, messages: say('Hello'), max_tokens: 16 },
    ...body,
  })
const contentOf = async (answer) => (await answer).choices[0].message.content

await run({
  list: async () => (await open().models.list()).data.some(({ id }) => id === given.character),
  chat: async () => (await contentOf(ask({}))).length > 0,
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
    const messages = say(given.question)
    const asked = { model: given.tooled, messages, tools: [given.tool] }
    const { finish_reason, message } = (await ask(asked)).choices[0]
    const [call] = message.tool_calls
    messages.push(message, { role: 'tool', tool_call_id: call.id, content: '12 degrees' })
    const { city } = JSON.parse(call.function.arguments)
    return (
      finish_reason === 'tool_calls' && city === 'Oslo' && (await contentOf(ask(asked))).includes(given.told)
    )
  },
  schema: async () =>
    JSON.parse(await contentOf(ask({ response_format: given.format, max_tokens: 60 }))).name === 'Mira',
  image: async () =>
    (await contentOf(ask({ model: given.scripted, messages: say(given.sight) }))) === 'A picture.',
  async embeddings() {
    const { data } = await open().embeddings.create({ model: given.embedder, input: ['one', 'two'] })
    return data.length === 2 && data[0].embedding.length > 4
  },
  ...refusals(ask, toldByOpenAi),
})
