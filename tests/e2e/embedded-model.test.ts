/** The model that `scripts/up` starts where there is no other: the first that a newcomer talks to. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'

import { startEmbedded } from '../../scripts/setup/model-choice.mjs'
import { stopAll } from '../../scripts/setup/processes.mjs'

const Completion = z.object({ choices: z.array(z.object({ message: z.object({ content: z.string() }) })) })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'troupe-embedded-'))
})
afterAll(async () => {
  await stopAll()
  await rm(folder, { recursive: true, force: true })
})

test('does not say one sentence over and over', async () => {
  const env = await startEmbedded(path.join(folder, 'model.log'))
  const answer = await fetch(`${env.OPENAI_API_BASE_URLS}/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env.OPENAI_API_KEYS}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      messages: [
        {
          role: 'system',
          content:
            'You are Pia, who keeps the tea cart of a night station and has time for everybody. Stay in this role.',
        },
        { role: 'user', content: 'What do you see from the window?' },
      ],
      // The likeliest words, so that the answer is always the same.
      ...{ temperature: 0, max_tokens: 300 },
    }),
  })
  const text = Completion.parse(await answer.json()).choices[0]?.message.content ?? ''
  const sentences = text.split(/(?<=[.!?])\s+/).filter((sentence) => sentence.length > 20)
  expect(sentences.length).toBeGreaterThan(4)
  // Without a penalty 7 of 12 were different ones.
  expect(new Set(sentences).size / sentences.length).toBeGreaterThan(0.8)
})
