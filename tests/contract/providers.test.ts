import { drivers, type ProviderKind } from '#providers/index.ts'

import { openFakeOllama } from '../support/fake-ollama.ts'
import { openFakeOpenAi } from '../support/fake-openai.ts'
import { FAKE_MODEL, FAKE_STORY } from '../support/fake-server.ts'
import { providerSuite, type Subject, type Traits } from './providers.ts'

const fake = {
  model: FAKE_MODEL.name,
  contextTokens: FAKE_MODEL.contextTokens,
  missingModel: 'nobody:1b',
  story: FAKE_STORY,
}

interface Fake {
  name: string
  traits: Omit<Traits, 'driver'>
  open: () => Promise<Subject>
}

const fakeOpenAi = (manner: 'llama.cpp' | 'vllm'): Fake => {
  const isLlama = manner === 'llama.cpp'
  return {
    name: `a fake ${manner}`,
    traits: { ...fake, countsTokens: true, embeds: true, tellsTimings: isLlama, keepsConnections: !isLlama },
    async open() {
      const server = await openFakeOpenAi({ manner })
      return { baseUrl: server.url, close: () => server.close() }
    },
  }
}

/** A kind without a fake does not compile. */
const FAKES = {
  ollama: [
    {
      name: 'a fake',
      traits: { ...fake, countsTokens: false, embeds: true, tellsTimings: true, keepsConnections: true },
      async open() {
        const server = await openFakeOllama()
        return { baseUrl: server.origin, close: () => server.close() }
      },
    },
  ],
  openai: [fakeOpenAi('llama.cpp'), fakeOpenAi('vllm')],
} satisfies Record<ProviderKind, readonly Fake[]>

for (const kind of Object.keys(drivers) as ProviderKind[]) {
  const { default: driver } = await drivers[kind]()
  for (const { name, traits, open } of FAKES[kind])
    providerSuite(`${kind}, against ${name}`, { ...traits, driver }, open)
}
