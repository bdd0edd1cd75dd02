/** What Troupe knows of a model holds where neither the request nor the character says otherwise, on either kind of server. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { MODEL_PROFILES, profileOf } from '#providers/model-profiles.ts'

import { openTestApp, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi, type FakeOpenAi } from '../support/fake-openai.ts'

/** As an Ollama and as a `/v1` server call each model. */
const MODELS = [
  { tag: 'llama3.2:1b', repository: 'meta-llama/Llama-3.2-1B-Instruct' },
  { tag: 'llama3.1:8b', repository: 'meta-llama/Llama-3.1-8B-Instruct' },
  { tag: 'codellama:13b', repository: 'codellama/CodeLlama-13b-Instruct-hf' },
  { tag: 'mistral:7b', repository: 'mistralai/Mistral-7B-Instruct-v0.3' },
  { tag: 'qwen3:8b', repository: 'Qwen/Qwen3-8B' },
  { tag: 'gemma3:4b', repository: 'google/gemma-3-4b-it' },
  { tag: 'gemma3:1b', repository: 'google/gemma-3-1b-it' },
  { tag: 'smollm2:135m', repository: 'HuggingFaceTB/SmolLM2-135M-Instruct' },
]

/** More than any of them is asked for. */
const CONTEXT_TOKENS = 131_072

let ollama: FakeOllama
let openAi: FakeOpenAi
let troupe: TestApp
let key: string

const thinking = (name: string) => (profileOf(name)?.thinks === true ? ['thinking'] : [])

beforeAll(async () => {
  const models = MODELS.map(({ tag }) => ({
    name: tag,
    contextTokens: CONTEXT_TOKENS,
    capabilities: ['completion', ...thinking(tag)],
  }))
  ollama = await openFakeOllama({ models })
  const repositories = MODELS.map(({ repository: name }) => ({
    ...{ name, contextTokens: CONTEXT_TOKENS, capabilities: ['completion'] },
  }))
  openAi = await openFakeOpenAi({ models: repositories })
  troupe = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, OPENAI_API_BASE_URLS: openAi.url })
  const made = await troupe.request('POST', '/troupe/api/keys', { body: { name: 'all', scopes: ['chat'] } })
  key = ((await made.json()) as { secret: string }).secret
})
afterAll(async () => {
  await troupe.close()
  await Promise.all([ollama.close(), openAi.close()])
})

interface Sent {
  messages: { role: string; content: string }[]
  options?: Record<string, unknown>
  think?: unknown
  [field: string]: unknown
}

async function ask(
  model: string,
  body: object = {},
  own: object = {},
): Promise<Sent & { ignored: string | null }> {
  const character = await troupe.importCard({
    ...{ name: 'Mira', system_prompt: '', description: 'Mira keeps the light.' },
    extensions: { troupe: { model, ...own } },
  })
  const server = model.includes('/') ? openAi : ollama
  const answer = await troupe.request('POST', '/v1/chat/completions', {
    key,
    body: { model: character, messages: [{ role: 'user', content: 'Good evening' }], ...body },
  })
  expect(answer.status).toBe(200)
  const sent = server.chats().at(-1)?.body as unknown as Sent
  return { ...sent, ignored: answer.headers.get('x-ignored-params') }
}

const present = (values: object) =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined))

test('every profile is tried here', () => {
  expect(MODELS.map(({ tag }) => profileOf(tag)?.title)).toEqual(MODEL_PROFILES.map(({ title }) => title))
})

describe.each(MODELS)('$tag and $repository', ({ tag, repository }) => {
  const profile = profileOf(tag)
  if (profile === undefined) throw new Error(`${tag} is unknown`)
  const { temperature, topP, topK, minP } = profile.sampling
  const sampling = present({ temperature, top_p: topP, top_k: topK, min_p: minP })

  test('window, sampling and thinking', async () => {
    const { options = {}, think } = await ask(tag)
    expect(options['num_ctx']).toBe(profile.contextTokens)
    expect(think).toBe(profile.thinks ? false : undefined)
    expect(options).toMatchObject(sampling)
    const sent = await ask(repository)
    expect(sent).toMatchObject(sampling)
    expect(sent['chat_template_kwargs']).toEqual(profile.thinks ? { enable_thinking: false } : undefined)
  })

  test('the roles of its template', async () => {
    for (const { messages } of [await ask(tag), await ask(repository)]) {
      const roles = profile.hasSystemRole ? ['system', 'user'] : ['user']
      expect(messages.map(({ role }) => role)).toEqual(roles)
      expect(messages[0]?.content).toContain('Mira keeps the light.')
      expect(messages.at(-1)?.content).toContain('Good evening')
    }
  })

  test('the character is heard before its makers, and the request before both', async () => {
    const own = { options: { temperature: 0.11, topK: 7 } }
    const { options } = await ask(tag, { temperature: 0.99 }, own)
    expect(options).toMatchObject({ temperature: 0.99, top_k: 7 })
  })

  test('a wish that it thinks reaches it with the sampling for that, or is named as without effect', async () => {
    for (const name of [tag, repository])
      expect((await ask(name, { reasoning_effort: 'high' })).ignored).toBe(
        profile.thinks ? null : 'reasoning_effort',
      )
    const sent = await ask(repository, { reasoning_effort: 'high' })
    expect(sent['reasoning_effort']).toBe(profile.thinks ? 'high' : undefined)
    const published = profile.thinkingSampling?.temperature ?? profile.sampling.temperature
    expect(sent['temperature']).toBe(published)
  })
})

test('a setting is heard before what is known of the model', async () => {
  const small = await openTestApp({ OLLAMA_BASE_URL: ollama.origin, TROUPE_CONTEXT_TOKENS: '2048' })
  const id = await small.importCard({ name: 'Vera', extensions: { troupe: { model: 'llama3.2:1b' } } })
  const made = await small.request('POST', '/troupe/api/keys', { body: { name: 'all', scopes: ['chat'] } })
  const { secret } = (await made.json()) as { secret: string }
  const asked = { model: id, messages: [{ role: 'user', content: 'Hi' }], reasoning_effort: 'low' }
  const answer = await small.request('POST', '/v1/chat/completions', { key: secret, body: asked })
  expect(ollama.chats().at(-1)?.body['options']).toMatchObject({ num_ctx: 2_048 })
  expect(answer.headers.get('x-ignored-params')).toBe('reasoning_effort')
  await small.close()
})
