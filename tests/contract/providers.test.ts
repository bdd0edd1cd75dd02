import ollama from '#providers/ollama.ts'
import openai from '#providers/openai.ts'

import { openFakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL, FAKE_STORY } from '../support/fake-server.ts'
import { providerSuite } from './providers.ts'

const fake = {
  model: FAKE_MODEL.name,
  contextTokens: FAKE_MODEL.contextTokens,
  missingModel: 'nobody:1b',
  story: FAKE_STORY,
  silenceMs: 40,
}

providerSuite('ollama, against a fake', async () => {
  const server = await openFakeOllama()
  return {
    ...fake,
    tellsTimings: true,
    keepsConnections: true,
    driver: ollama,
    baseUrl: server.origin,
    close: () => server.close(),
  }
})

for (const manner of ['llama.cpp', 'vllm'] as const) {
  providerSuite(`openai, against a fake ${manner}`, async () => {
    const server = await openFakeOpenAi({ manner })
    return {
      ...fake,
      tellsTimings: manner === 'llama.cpp',
      keepsConnections: manner !== 'llama.cpp',
      driver: openai,
      baseUrl: server.url,
      close: () => server.close(),
    }
  })
}
