import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'

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
  SPENT_KEY,
  TOLD,
  TOOL,
  TOOLED,
  WRONG_KEY,
} from './checks.mjs'

const open = (model, apiKey = KEY, more = {}) =>
  new ChatOpenAI({
    model,
    apiKey,
    maxRetries: 0,
    maxTokens: 16,
    configuration: { baseURL: BASE_URL },
    ...more,
  })
const status = async (action) => (await failure(action)).status
const heldBack = async (key, code) => {
  const error = await failure(() => open(CHARACTER, key).invoke('Hello'))
  return error.status === 429 && error.code === code && Number(error.headers.get('retry-after')) > 0
}

await run({
  chat: async () => (await open(CHARACTER).invoke('Hello')).content.length > 0,
  async stream() {
    let text = ''
    let usage
    for await (const chunk of await open(CHARACTER, KEY, { streamUsage: true }).stream('Hello')) {
      text += chunk.content
      usage = chunk.usage_metadata ?? usage
    }
    return text.length > 0 && usage.output_tokens > 0
  },
  async tools() {
    const model = open(TOOLED).bindTools([TOOL])
    const messages = [new HumanMessage('What is the weather in Oslo?')]
    const first = await model.invoke(messages)
    const [call] = first.tool_calls
    messages.push(first, new ToolMessage({ content: '12 degrees', tool_call_id: call.id }))
    return call.args.city === 'Oslo' && (await model.invoke(messages)).content.includes(TOLD)
  },
  async schema() {
    const model = open(CHARACTER, KEY, { maxTokens: 60 }).withStructuredOutput(SCHEMA, {
      method: 'jsonSchema',
      name: 'person',
    })
    return (await model.invoke('Who are you?')).name === 'Mira'
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image_url', image_url: { url: PICTURE } },
    ]
    return (await open(SCRIPTED).invoke([new HumanMessage({ content })])).content === 'A picture.'
  },
  async embeddings() {
    const embeddings = new OpenAIEmbeddings({
      model: EMBEDDER,
      apiKey: KEY,
      configuration: { baseURL: BASE_URL },
    })
    const vectors = await embeddings.embedDocuments(['one', 'two'])
    return vectors.length === 2 && vectors[0].length > 4
  },
  400: async () => (await status(() => open(CHARACTER, KEY, { n: 99 }).invoke('Hello'))) === 400,
  401: async () => (await status(() => open(CHARACTER, WRONG_KEY).invoke('Hello'))) === 401,
  404: async () => (await status(() => open('nobody').invoke('Hello'))) === 404,
  429: () => heldBack(LIMITED_KEY, LIMITED),
  // It has a class of its own for our code, and gives up at once.
  async quota() {
    const error = await failure(() => open(CHARACTER, SPENT_KEY).invoke('Hello'))
    return error.name === 'InsufficientQuotaError' && error.message.includes('used up')
  },
})
