import { HumanMessage, ToolMessage } from '@langchain/core/messages'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'

import { failure, given, refusals, run, toldByOpenAi } from './checks.mjs'

const configuration = { baseURL: given.url }
const open = ({ key: apiKey = given.key, ...more } = {}) =>
  new ChatOpenAI({
    ...{ model: given.character, apiKey, maxRetries: 0, maxTokens: 16, configuration },
    ...more,
  })
const ask = (asks) => open(asks).invoke('Hello')

await run({
  chat: async () => (await ask({})).content.length > 0,
  async stream() {
    let text = ''
    let usage
    for await (const chunk of await open({ streamUsage: true }).stream('Hello')) {
      text += chunk.content
      usage = chunk.usage_metadata ?? usage
    }
    return text.length > 0 && usage.output_tokens > 0
  },
  async tools() {
    const model = open({ model: given.tooled }).bindTools([given.tool])
    const messages = [new HumanMessage(given.question)]
    const first = await model.invoke(messages)
    const [call] = first.tool_calls
    messages.push(first, new ToolMessage({ content: '12 degrees', tool_call_id: call.id }))
    return call.args.city === 'Oslo' && (await model.invoke(messages)).content.includes(given.told)
  },
  async schema() {
    const options = { method: 'jsonSchema', name: 'person' }
    const model = open({ maxTokens: 60 }).withStructuredOutput(given.schema, options)
    return (await model.invoke('Who are you?')).name === 'Mira'
  },
  async image() {
    const asked = [new HumanMessage({ content: given.sight })]
    return (await open({ model: given.scripted }).invoke(asked)).content === 'A picture.'
  },
  async embeddings() {
    const embeddings = new OpenAIEmbeddings({ model: given.embedder, apiKey: given.key, configuration })
    const vectors = await embeddings.embedDocuments(['one', 'two'])
    return vectors.length === 2 && vectors[0].length > 4
  },
  ...refusals(ask, toldByOpenAi),
  // It has a class of its own for our code, with nothing but the sentence, and gives up at once.
  async quota() {
    const { asks, says } = given.refusals.find(({ check }) => check === 'quota')
    const error = await failure(() => ask(asks))
    return error.name === 'InsufficientQuotaError' && error.message.includes(says)
  },
})
