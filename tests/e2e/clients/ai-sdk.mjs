import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { embedMany, generateObject, generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'

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
  TOOLED,
  WRONG_KEY,
} from './checks.mjs'

const options = { name: 'troupe', baseURL: BASE_URL, includeUsage: true, supportsStructuredOutputs: true }
const open = (apiKey) => createOpenAICompatible({ ...options, apiKey })
const troupe = open(KEY)
const stranger = open(WRONG_KEY)
const ask = (model, more = {}) =>
  generateText({ model, prompt: 'Hello', maxRetries: 0, maxOutputTokens: 16, ...more })
const status = async (action) => (await failure(action)).statusCode
const heldBack = async (key, code) => {
  const { statusCode, responseBody, responseHeaders, isRetryable } = await failure(() =>
    ask(open(key)(CHARACTER)),
  )
  const isTold = statusCode === 429 && JSON.parse(responseBody).error.code === code
  return isTold && isRetryable && Number(responseHeaders['retry-after']) > 0
}

await run({
  chat: async () => (await ask(troupe(CHARACTER))).text.length > 0,
  async stream() {
    const answer = streamText({
      model: troupe(CHARACTER),
      prompt: 'Hello',
      maxRetries: 0,
      maxOutputTokens: 16,
    })
    let text = ''
    for await (const part of answer.textStream) text += part
    return text.length > 0 && (await answer.usage).outputTokens > 0
  },
  async tools() {
    let city
    const weather = tool({
      description: 'Tells the weather of a city',
      inputSchema: jsonSchema({
        type: 'object',
        properties: { city: { type: 'string' } },
        required: ['city'],
      }),
      execute: (input) => ((city = input.city), '12 degrees'),
    })
    const prompt = 'What is the weather in Oslo?'
    const answer = await ask(troupe(TOOLED), {
      prompt,
      tools: { get_weather: weather },
      stopWhen: stepCountIs(3),
    })
    return city === 'Oslo' && answer.text.includes(TOLD) && answer.steps.length === 2
  },
  async schema() {
    const model = troupe(CHARACTER)
    const answer = await generateObject({
      model,
      prompt: 'Who are you?',
      schema: jsonSchema(SCHEMA),
      maxOutputTokens: 60,
    })
    return answer.object.name === 'Mira'
  },
  async image() {
    const content = [
      { type: 'text', text: 'What is it?' },
      { type: 'image', image: PICTURE },
    ]
    return (
      (await ask(troupe(SCRIPTED), { prompt: undefined, messages: [{ role: 'user', content }] })).text ===
      'A picture.'
    )
  },
  async embeddings() {
    const { embeddings } = await embedMany({
      model: troupe.textEmbeddingModel(EMBEDDER),
      values: ['one', 'two'],
    })
    return embeddings.length === 2 && embeddings[0].length > 4
  },
  400: async () =>
    (await status(() => ask(troupe(CHARACTER), { providerOptions: { troupe: { n: 99 } } }))) === 400,
  401: async () => (await status(() => ask(stranger(CHARACTER)))) === 401,
  404: async () => (await status(() => ask(troupe('nobody')))) === 404,
  429: () => heldBack(LIMITED_KEY, LIMITED),
  quota: () => heldBack(SPENT_KEY, SPENT),
})
