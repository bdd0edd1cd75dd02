import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'

import {
  BASE_URL,
  CHARACTER,
  EMBEDDER,
  failure,
  KEY,
  PICTURE,
  run,
  SCHEMA,
  SCRIPTED,
  TOOL,
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
    const model = open(SCRIPTED).bindTools([TOOL])
    const messages = [new HumanMessage('What is the weather in Oslo?')]
    const first = await model.invoke(messages)
    const [call] = first.tool_calls
    messages.push(first, new ToolMessage({ content: '12 degrees', tool_call_id: call.id }))
    return call.args.city === 'Oslo' && (await model.invoke(messages)).content === 'It is 12 degrees.'
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
  429: async () => (await status(() => open(CHARACTER, WRONG_KEY).invoke('Hello'))) === 429,
})
