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
}

providerSuite(
  'ollama, against a fake',
  { ...fake, driver: ollama, countsTokens: false, embeds: true, tellsTimings: true, keepsConnections: true },
  async () => {
    const server = await openFakeOllama()
    return { baseUrl: server.origin, close: () => server.close() }
  },
)

for (const manner of ['llama.cpp', 'vllm'] as const) {
  const isLlama = manner === 'llama.cpp'
  providerSuite(
    `openai, against a fake ${manner}`,
    {
      ...fake,
      driver: openai,
      countsTokens: true,
      embeds: true,
      tellsTimings: isLlama,
      keepsConnections: !isLlama,
    },
    async () => {
      const server = await openFakeOpenAi({ manner })
      return { baseUrl: server.url, close: () => server.close() }
    },
  )
}
