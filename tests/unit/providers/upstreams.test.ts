import { afterEach, expect, test, vi } from 'vitest'

import { compose } from '#prompt/compose.ts'
import { printPrefix } from '#prompt/prefix.ts'
import type { Provider } from '#providers/provider.ts'
import { openUpstreams } from '#providers/upstreams.ts'

import { sampleAsk, sampleMaterials, user } from '../../support/samples.ts'

function openCounting(count: (text: string) => Promise<number | undefined>) {
  const asked: string[] = []
  const provider: Provider = {
    kind: 'test',
    id: 'test',
    name: 'test',
    models: () => Promise.resolve([{ name: 'base', chats: true, contextTokens: 2_048 }]),
    // eslint-disable-next-line require-yield -- nobody asks it to answer
    async *stream() {
      await Promise.reject(new Error('not asked'))
    },
    countTokens(_model, text) {
      asked.push(text)
      return count(text)
    },
    embed: () => Promise.reject(new Error('not asked for')),
    close: () => Promise.resolve(),
  }
  const options = { providers: [provider], defaultModel: undefined, contextTokens: 8_192, now: () => 0 }
  return { upstreams: openUpstreams(options), asked }
}

const materials = sampleMaterials({ description: 'word '.repeat(300) })
const ask = sampleAsk({ messages: [user('Hello')] })

test('a prefix is counted once by the server that tells, and the prompt then knows its true size', async () => {
  const { upstreams, asked } = openCounting(() => Promise.resolve(123))
  const upstream = await upstreams.find(undefined)
  const estimated = compose(ask, materials, upstreams.profile(upstream))
  const prefix = printPrefix(estimated.parts).text
  await Promise.all([upstreams.measure(upstream, prefix), upstreams.measure(upstream, prefix)])
  expect(asked).toEqual([prefix])
  const counted = compose(ask, materials, upstreams.profile(upstream))
  expect(estimated.tokens - counted.tokens).toBeGreaterThan(200)
  expect(counted.messages).toEqual(estimated.messages)
  expect(counted.prefixHash).toBe(estimated.prefixHash)
})

test('in the units of a model whose counts are higher than estimated', async () => {
  const { upstreams } = openCounting(() => Promise.resolve(600))
  const upstream = await upstreams.find(undefined)
  const prefix = printPrefix(compose(ask, materials, upstreams.profile(upstream)).parts).text
  await upstreams.measure(upstream, prefix)
  upstreams.learn('base', 1_000, 2_064)
  const { tokens, budget } = compose(ask, materials, upstreams.profile(upstream))
  expect(budget.promptTokens * 2).toBeLessThanOrEqual(2_048)
  expect(tokens).toBeGreaterThanOrEqual(300)
  expect(tokens).toBeLessThan(340)
})

test.each([
  ['of a short one, since the template is most of it', 40, 130, 1],
  ['of what a template adds by itself', 400, 460, 1],
  ['of words that need more tokens than estimated', 1_000, 1_364, 1.3],
  ['of a server that counts something else, no more than the estimate can be wrong', 1_000, 90_000, 2.5],
])('the size of a prompt teaches %s', async (_name, estimated, reported, ratio) => {
  const { upstreams } = openCounting(() => Promise.resolve(undefined))
  const upstream = await upstreams.find(undefined)
  upstreams.learn('base', estimated, reported)
  expect(upstreams.profile(upstream).tokenRatio).toBeCloseTo(ratio)
  upstreams.learn('base', 2_000, 100)
  expect(upstreams.profile(upstream).tokenRatio).toBeCloseTo(ratio)
})

test.each([
  ['that does not tell', () => Promise.resolve(undefined)],
  ['that fails', () => Promise.reject(new Error('down'))],
])('a server %s leaves the estimate, and is not asked again', async (_name, count) => {
  const { upstreams, asked } = openCounting(count)
  const upstream = await upstreams.find(undefined)
  await upstreams.measure(upstream, 'text')
  await upstreams.measure(upstream, 'text')
  expect(asked).toHaveLength(1)
  expect(upstreams.profile(upstream).knownTokens?.('text')).toBeUndefined()
})

afterEach(() => {
  vi.useRealTimers()
})

function openNamed(names: readonly string[], model = 'base') {
  const down = new Set<string>()
  const looks: string[] = []
  const providers = names.map(
    (name) =>
      ({
        name,
        models() {
          looks.push(name)
          return down.has(name)
            ? Promise.reject(new Error('down'))
            : Promise.resolve([{ name: model, chats: true }])
        },
        close: () => Promise.resolve(),
      }) as Partial<Provider> as Provider,
  )
  const options = {
    providers,
    defaultModel: undefined,
    contextTokens: 8_192,
    now: () => 0,
    refreshMs: 30_000,
  }
  return { upstreams: openUpstreams(options), down, looks }
}

test('servers are looked at without traffic; one that does not answer is not asked while another one is well', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  const { upstreams, down, looks } = openNamed(['one', 'two'])
  const candidates = async () => (await upstreams.all('base')).map(({ provider }) => provider.name)
  expect(await candidates()).toEqual(['one', 'two'])
  down.add('one')
  vi.advanceTimersByTime(30_000)
  await expect.poll(candidates).toEqual(['two'])
  down.add('two')
  vi.advanceTimersByTime(30_000)
  // Both are down: a request to them names the real fault.
  await expect.poll(candidates).toEqual(['one', 'two'])
  down.clear()
  down.add('two')
  vi.advanceTimersByTime(30_000)
  await expect.poll(candidates).toEqual(['one'])
  await upstreams.close()
  const before = looks.length
  vi.advanceTimersByTime(90_000)
  expect(looks).toHaveLength(before)
})

test('a model may be called without its tag, as Ollama itself takes it; another tag is another model', async () => {
  const { upstreams } = openNamed(['one'], 'host:5000/mira:latest')
  const [found] = await upstreams.all('host:5000/mira')
  expect(found?.model.name).toBe('host:5000/mira:latest')
  await expect(upstreams.all('host:5000/mira:1b')).rejects.toMatchObject({
    code: 'model_not_found',
    param: 'model',
  })
  await upstreams.close()
})

test.each([
  ['ollama', /correct OLLAMA_BASE_URL$/],
  ['openai', /correct OPENAI_API_BASE_URLS \(with \/v1 at the end\)$/],
])('where no server answers, the setting of its kind is named: %s', async (kind, message) => {
  const models = () => Promise.reject(new Error('down'))
  const provider: Partial<Provider> = { kind, name: 'one', models, close: () => Promise.resolve() }
  const upstreams = openUpstreams({
    providers: [provider as Provider],
    defaultModel: undefined,
    contextTokens: 8_192,
    now: () => 0,
  })
  await expect(upstreams.find(undefined)).rejects.toThrow(message)
  await upstreams.close()
})
