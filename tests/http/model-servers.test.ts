/** What is seen of the model servers: who made them load a model, who waits there, which are well; and what only some of them understand. */
import { expect, test } from 'vitest'

import { openTestApp, readEvents, type TestApp } from '../support/app.ts'
import { openFakeOllama, type FakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { createGate, FAKE_MODEL } from '../support/fake-server.ts'
import { kept } from '../support/kept.ts'

async function openKeyed(env: Record<string, string>): Promise<{ troupe: TestApp; key: string }> {
  const troupe = kept(await openTestApp(env))
  const made = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'all', scopes: ['chat', 'embeddings', 'base-models', 'models'] },
  })
  return { troupe, key: ((await made.json()) as { secret: string }).secret }
}

const messages = [{ role: 'user', content: 'Hi' }]
const post = (troupe: TestApp, key: string, body: Record<string, unknown>, path = 'chat/completions') =>
  troupe.request('POST', `/v1/${path}`, {
    key,
    body: { ...(path.startsWith('chat') && { messages }), ...body },
  })

interface Load {
  requestId: string
  kind: string
  cause: string
  contextTokens: number
  loadMs: number
}

const loadsOf = async (troupe: TestApp): Promise<Load[]> =>
  ((await (await troupe.request('GET', '/troupe/api/models/loads')).json()) as { loads: Load[] }).loads

const loadedAt = async (troupe: TestApp): Promise<object[]> =>
  ((await (await troupe.request('GET', '/troupe/api/models')).json()) as { loaded: object[] }).loaded

/** Another program that asks the same Ollama for its own window. */
const interfere = ({ origin }: FakeOllama) =>
  fetch(`${origin}/api/chat`, {
    method: 'POST',
    body: JSON.stringify({ model: 'fake:1b', messages, stream: false, options: { num_ctx: 1_024 } }),
  })

test('which request made a model load is told, and why it had to', async () => {
  const ollama = kept(await openFakeOllama())
  const { troupe, key } = await openKeyed({ OLLAMA_BASE_URL: ollama.origin, TROUPE_CONTEXT_TOKENS: '2048' })
  expect(await loadsOf(troupe)).toEqual([])
  const first = await post(troupe, key, { model: 'fake:1b' })
  await post(troupe, key, { model: 'fake:1b' })
  await interfere(ollama)
  expect(await loadedAt(troupe)).toMatchObject([{ contextTokens: 1_024, askedTokens: 2_048 }])
  const second = await post(troupe, key, { model: 'fake:1b', input: 'text' }, 'embeddings')
  const id = (answer: Response) => answer.headers.get('x-request-id')
  expect(await loadsOf(troupe)).toMatchObject([
    { requestId: id(second), kind: 'embedding', cause: 'elsewhere', contextTokens: 2_048, loadMs: 700 },
    { requestId: id(first), kind: 'turn', cause: 'first', model: 'fake:1b', server: ollama.origin },
  ])
  const untilMs = Date.parse('2026-11-28T12:00:00.123Z')
  expect(await loadedAt(troupe)).toEqual([
    {
      ...{ server: ollama.origin, name: 'fake:1b', contextTokens: 2_048, askedTokens: 2_048 },
      ...{ sizeBytes: 163_676_160, gpuBytes: 0, untilMs },
    },
  ])
  const figures = await (await troupe.request('GET', '/metrics')).text()
  for (const kind of ['turn', 'embedding'])
    expect(figures).toContain(
      `troupe_model_loads_total{server="${ollama.origin}",model="fake:1b",kind="${kind}"} 1`,
    )
})

test('a server that does not tell what it has loaded keeps nobody from the list of models', async () => {
  const ollama = kept(await openFakeOllama())
  const gone = await openFakeOllama({ models: [{ ...FAKE_MODEL, name: 'other:1b' }] })
  const openAi = kept(await openFakeOpenAi())
  const { troupe } = await openKeyed({
    OLLAMA_BASE_URL: `${ollama.origin};${gone.origin}`,
    OPENAI_API_BASE_URLS: openAi.url,
  })
  await gone.close()
  expect(await loadedAt(troupe)).toEqual([])
})

test('how long an Ollama keeps a model is ours to say, or left to it', async () => {
  const ollama = kept(await openFakeOllama())
  const keep = { OLLAMA_BASE_URL: ollama.origin, TROUPE_KEEP_MODEL_SECONDS: '-1' }
  const ours = await openKeyed(keep)
  await post(ours.troupe, ours.key, { model: 'fake:1b' })
  await post(ours.troupe, ours.key, { model: 'fake:1b', prompt: 'Once' }, 'completions')
  await post(ours.troupe, ours.key, { model: 'fake:1b', input: 'text' }, 'embeddings')
  const theirs = await openKeyed({ OLLAMA_BASE_URL: ollama.origin })
  await post(theirs.troupe, theirs.key, { model: 'fake:1b' })
  const sent = ollama.requests.filter(({ path }) => /chat|generate|embed/.test(path))
  expect(sent.map(({ body }) => body['keep_alive'])).toEqual([-1, -1, -1, undefined])
})

test('a vLLM gets its own fields, and one salt for each who must not learn of the others', async () => {
  const vllm = kept(await openFakeOpenAi({ manner: 'vllm' }))
  const llama = kept(
    await openFakeOpenAi({ manner: 'llama.cpp', models: [{ ...FAKE_MODEL, name: 'other:1b' }] }),
  )
  const { troupe, key } = await openKeyed({ OPENAI_API_BASE_URLS: `${vllm.url};${llama.url}` })
  const fields = {
    top_k: 5,
    chat_template_kwargs: { enable_thinking: false },
    priority: 3,
    truncate_prompt_tokens: 9,
  }
  const other = await troupe.request('POST', '/troupe/api/keys', {
    body: { name: 'other', scopes: ['chat', 'base-models'] },
  })
  const { secret } = (await other.json()) as { secret: string }
  for (const by of [key, key, secret]) await post(troupe, by, { model: 'fake:1b', ...fields })
  for (const user of ['ann', 'bob']) await post(troupe, key, { model: 'fake:1b', user })
  const [first, second, third, ann, bob] = vllm.chats().map(({ body }) => body)
  expect(first).toMatchObject(fields)
  expect(first?.['cache_salt']).toMatch(/^[\w-]{22}$/)
  expect(second?.['cache_salt']).toBe(first?.['cache_salt'])
  expect(third?.['cache_salt']).not.toBe(first?.['cache_salt'])
  expect(first?.['cache_salt']).not.toContain(key)
  expect(new Set([first, third, ann, bob].map((body) => body?.['cache_salt']))).toHaveProperty('size', 4)
  expect(ann).not.toHaveProperty('user')
  await post(troupe, key, { model: 'other:1b' })
  expect(llama.chats().at(-1)?.body).not.toHaveProperty('cache_salt')
})

test('what a vLLM had read before, and how long its queue is, are told', async () => {
  const vllm = kept(await openFakeOpenAi({ manner: 'vllm', waiting: () => 3 }))
  const { troupe, key } = await openKeyed({ OPENAI_API_BASE_URLS: vllm.url })
  vllm.enqueue({ chunks: ['One'], cachedTokens: 16 })
  const answer = (await (await post(troupe, key, { model: 'fake:1b' })).json()) as { usage: object }
  expect(answer.usage).toMatchObject({ prompt_tokens_details: { cached_tokens: 16 } })
  const { models } = (await (await troupe.request('GET', '/troupe/api/models')).json()) as {
    models: object[]
  }
  expect(models).toMatchObject([{ name: 'fake:1b', waiting: 3 }])
})

test('a model that others keep busy is asked on another server', async () => {
  let queue = 3
  const busy = kept(await openFakeOpenAi({ manner: 'vllm', waiting: () => queue }))
  const free = kept(await openFakeOpenAi({ manner: 'vllm' }))
  const { troupe, key } = await openKeyed({ OPENAI_API_BASE_URLS: `${busy.url};${free.url}` })
  for (let call = 0; call < 6; call++) {
    await troupe.importCard({ name: `C${String(call)}` })
    await post(troupe, key, { model: `c${String(call)}` })
  }
  expect([busy.chats().length, free.chats().length]).toEqual([0, 6])
  queue = 0
  await troupe.request('GET', '/troupe/api/models')
  for (let call = 0; call < 6; call++) await post(troupe, key, { model: `c${String(call)}` })
  expect(busy.chats().length).toBeGreaterThan(0)
})

test('a published persona is read before anybody asks, and the first question finds it read', async () => {
  const ollama = kept(await openFakeOllama())
  const { troupe, key } = await openKeyed({ OLLAMA_BASE_URL: ollama.origin, TROUPE_WARM_CHARACTERS: '1' })
  const mira = await troupe.importCard({ name: 'Mira' })
  await expect.poll(() => ollama.chats().length, { timeout: 10_000 }).toBe(1)
  const [ahead] = ollama.chats()
  expect(ahead?.body['options']).toMatchObject({ num_predict: 1 })
  await post(troupe, key, { model: mira })
  const systemOf = (body: Record<string, unknown> = {}) =>
    (body['messages'] as { content: string }[])[0]?.content
  expect(systemOf(ollama.chats().at(-1)?.body)).toBe(systemOf(ahead?.body))
})

test('who asks while a persona is read does not wait for it', async () => {
  const ollama = kept(await openFakeOllama())
  const { troupe, key } = await openKeyed({ OLLAMA_BASE_URL: ollama.origin, TROUPE_WARM_CHARACTERS: '1' })
  ollama.enqueue({ beforeHeaders: createGate() })
  const mira = await troupe.importCard({ name: 'Mira' })
  await expect.poll(() => ollama.chats().length, { timeout: 10_000 }).toBe(1)
  const answer = await post(troupe, key, { model: mira, stream: true })
  expect((await readEvents(answer)).at(-1)).toBe('[DONE]')
  await expect.poll(() => ollama.chats()[0]?.wasAborted).toBe(true)
})
