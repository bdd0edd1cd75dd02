import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'

import { given, refusals, run } from './checks.mjs'

const options = {
  name: 'troupe',
  baseURL: given.url,
  includeUsage: true,
  supportsStructuredOutputs: true,
}
const open = (apiKey = given.key) => createOpenAICompatible({ ...options, apiKey })
const troupe = open()
const settings = { prompt: 'Hello', maxRetries: 0, maxOutputTokens: 16 }
const ask = (model, more = {}) => generateText({ ...settings, model, ...more })
const told = ({ statusCode: status, data, responseHeaders, isRetryable, message }) => {
  const { type, code, param } = data.error
  const waits = isRetryable && Number(responseHeaders['retry-after']) > 0
  return { status, type, code, param, waits, says: message }
}

await run({
  chat: async () => (await ask(troupe(given.character))).text.length > 0,
  async stream() {
    const answer = streamText({ ...settings, model: troupe(given.character) })
    let text = ''
    for await (const part of answer.textStream) text += part
    return text.length > 0 && (await answer.usage).outputTokens > 0
  },
  async tools() {
    let city
    const { description, parameters } = given.tool.function
    const get_weather = tool({
      description,
      inputSchema: jsonSchema(parameters),
      execute: (input) => ((city = input.city), '12 degrees'),
    })
    const answer = await ask(troupe(given.tooled), {
      prompt: given.question,
      tools: { get_weather },
      stopWhen: stepCountIs(3),
    })
    return city === 'Oslo' && answer.text.includes(given.told) && answer.steps.length === 2
  },
  async schema() {
    const answer = await generateObject({
      model: troupe(given.character),
      prompt: 'Who are you?',
      schema: jsonSchema(given.schema),
      maxOutputTokens: 60,
    })
    return answer.object.name === 'Mira'
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image', image: given.picture },
    ]
    const asked = { prompt: undefined, messages: [{ role: 'user', content }] }
    return (await ask(troupe(given.scripted), asked)).text === 'A picture.'
  },
  async embeddings() {
    const model = troupe.textEmbeddingModel(given.embedder)
    const { embeddings } = await embedMany({ model, values: ['one', 'two'] })
    return embeddings.length === 2 && embeddings[0].length > 4
  },
  ...refusals(
    ({ key, model = given.character, ...body }) =>
      ask(open(key)(model), { providerOptions: { troupe: body } }),
    told,
    ['kind'],
  ),
})
