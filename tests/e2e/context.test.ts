/** What the context window costs and holds, on a real llama.cpp server: warm prefixes, long chats, and our token estimate. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { startModelServer } from '../../scripts/setup/model-server.mjs'
import { estimateTokens } from '../../sidecar/src/prompt/tokens.ts'
import { CONNECTION_KEY, openTestApp, type TestApp } from '../support/app.ts'
import { readRecords } from '../support/records.ts'

let llama: Awaited<ReturnType<typeof startModelServer>>
let logs: string

beforeAll(async () => {
  logs = await mkdtemp(path.join(tmpdir(), 'troupe-context-'))
  llama = await startModelServer({ logFile: path.join(logs, 'llama.log') })
})
afterAll(async () => {
  await llama.stop()
  await rm(logs, { recursive: true, force: true })
})

interface Answer {
  choices: { message: { content: string }; finish_reason: string }[]
  usage: {
    prompt_tokens: number
    completion_tokens: number
    prompt_tokens_details: { cached_tokens: number }
  }
}
interface Message {
  role: 'user' | 'assistant'
  content: string
}

async function openMira(
  contextTokens: number,
  description: string,
  env: Record<string, string> = {},
): Promise<{ troupe: TestApp; id: string }> {
  const troupe = await openTestApp({
    OPENAI_API_BASE_URLS: `${llama.url}/v1`,
    TROUPE_CONTEXT_TOKENS: String(contextTokens),
    ...env,
  })
  return { troupe, id: await troupe.importCard({ name: 'Mira Holt', description }) }
}

async function ask(troupe: TestApp, model: string, messages: Message[], over: object = {}) {
  const body = { model, messages, temperature: 0, max_tokens: 12, ...over }
  const answer = await troupe.request('POST', '/v1/chat/completions', { key: CONNECTION_KEY, body })
  const value = (await answer.json()) as Answer
  expect(answer.status, JSON.stringify(value)).toBe(200)
  const record = await troupe.request(
    'GET',
    `/troupe/api/requests/${answer.headers.get('x-request-id') ?? ''}`,
  )
  return { value, record: (await record.json()) as Record<string, number | string> }
}

const PERSONA = Array.from(
  { length: 20 },
  (_, at) => `Rule ${String(at)}: the lamp of the harbour is lit before dusk and trimmed at midnight.`,
).join(' ')

test('after a persona was published its first turn re-reads only the new tokens', async () => {
  const persona = PERSONA.replaceAll('harbour', 'lighthouse')
  const { troupe, id } = await openMira(4_096, persona, { TROUPE_WARM_CHARACTERS: '1' })
  const isRead = async () =>
    (await readRecords(troupe.dataDir)).some(({ kind, status }) => kind === 'warm_up' && status === 'ok')
  await expect.poll(isRead, { timeout: 60_000 }).toBe(true)
  const { value } = await ask(troupe, id, [{ role: 'user', content: 'Good evening. Who are you?' }])
  const { prompt_tokens: prompt, prompt_tokens_details: details } = value.usage
  process.stdout.write(
    `first turn after publishing: ${String(details.cached_tokens)} of ${String(prompt)} known\n`,
  )
  expect(prompt).toBeGreaterThan(400)
  expect(prompt - details.cached_tokens).toBeLessThan(40)
  await troupe.close()
})

test('a warm second turn re-reads only the new tokens', async () => {
  const { troupe, id } = await openMira(4_096, PERSONA)
  try {
    const first: Message[] = [{ role: 'user', content: 'Who lights the lamp?' }]
    const { value: cold } = await ask(troupe, id, first)
    const second: Message[] = [
      ...first,
      { role: 'assistant', content: cold.choices[0]?.message.content ?? '' },
      { role: 'user', content: 'And at midnight?' },
    ]
    const { value: warm, record } = await ask(troupe, id, second)
    const read = warm.usage.prompt_tokens - warm.usage.prompt_tokens_details.cached_tokens
    const lastExchange = warm.usage.prompt_tokens - cold.usage.prompt_tokens
    expect(cold.usage.prompt_tokens).toBeGreaterThan(400)
    // The answer's own tokens may be in the cache or not; nothing older than the last exchange is read again.
    expect(read).toBeLessThanOrEqual(lastExchange + 8)
    expect(record['cachedTokens']).toBe(warm.usage.prompt_tokens_details.cached_tokens)
  } finally {
    await troupe.close()
  }
})

describe('a chat with a lorebook, turn by turn', { timeout: 600_000 }, () => {
  const ENTRIES = [
    ['reef', 'The reef lies two miles out; its rocks are sharp, and no chart shows all of them.'],
    ['mill', 'The mill by the river stopped when the miller went to sea, and nobody knows why he went.'],
    ['bell', 'The bell of the chapel was cast from the guns of a ship that ran aground in the great storm.'],
  ] as const
  const QUESTIONS = ['reef', 'weather', 'mill', 'bell', 'tide', 'reef'].map(
    (word) => `And what about the ${word}?`,
  )

  /** For every turn: the tokens of the prompt, those that the server had to read, and those of the last message. */
  async function chat(layout: 'cache' | 'sillytavern', position: number) {
    const troupe = await openTestApp({
      OPENAI_API_BASE_URLS: `${llama.url}/v1`,
      TROUPE_CONTEXT_TOKENS: '4096',
    })
    try {
      const id = await troupe.importCard({
        name: `Mira ${layout} ${String(position)}`,
        description: PERSONA,
        extensions: { troupe: { layout } },
        character_book: {
          extensions: {},
          entries: ENTRIES.map(([key, content]) => ({
            ...{ keys: [key], content, enabled: true, insertion_order: 1, use_regex: false },
            extensions: { position, depth: 4, scan_depth: 1, selectiveLogic: 0 },
          })),
        },
      })
      const messages: Message[] = []
      const turns: { prompt: number; read: number; last: number }[] = []
      for (const content of QUESTIONS) {
        messages.push({ role: 'user', content })
        const preview = await troupe.request('POST', '/troupe/api/prompt/preview', {
          body: { model: id, messages },
        })
        const { prompt } = (await preview.json()) as {
          prompt: { messages: { content?: { text: string }[] }[] }
        }
        const last = (prompt.messages.at(-1)?.content ?? []).map(({ text }) => text).join('\n')
        const { value } = await ask(troupe, id, messages)
        const { prompt_tokens: tokens, prompt_tokens_details: details } = value.usage
        turns.push({ prompt: tokens, read: tokens - details.cached_tokens, last: await tokenCount(last) })
        messages.push({ role: 'assistant', content: value.choices[0]?.message.content ?? '' })
      }
      return turns
    } finally {
      await troupe.close()
    }
  }

  test('re-reads only the last exchange and the new block in the cache layout; the other layout pays for its places', async () => {
    const AT_DEPTH = 4
    const BEFORE_CHARACTER = 0
    const cache = await chat('cache', AT_DEPTH)
    const deep = await chat('sillytavern', AT_DEPTH)
    const before = await chat('sillytavern', BEFORE_CHARACTER)
    const row = (name: string, turns: typeof cache) =>
      `${name.padEnd(34)} ${turns.map(({ prompt, read }) => `${String(read)}/${String(prompt)}`.padStart(9)).join('')}`
    process.stdout.write(
      [
        'tokens read / tokens of the prompt, turn by turn',
        row('cache', cache),
        row('sillytavern, lore at depth 4', deep),
        row('sillytavern, lore before character', before),
        '',
      ].join('\n'),
    )
    for (const [at, turn] of cache.entries()) {
      const earlier = cache[at - 1]
      if (earlier === undefined) continue
      // Everything before the last user message of the turn before is there; its blocks are gone from it now.
      const kept = earlier.prompt - earlier.last - TEMPLATE_TOKENS
      expect(turn.read).toBeLessThanOrEqual(turn.prompt - kept)
    }
    const readAgain = (turns: typeof cache) => turns.slice(1).reduce((sum, { read }) => sum + read, 0)
    expect(readAgain(deep)).toBeGreaterThan(readAgain(cache))
    expect(readAgain(before)).toBeGreaterThan(2 * readAgain(cache))
  })
})

test('a chat of three times the context keeps the persona, is never refused, and its record says what was cut', async () => {
  const contextTokens = 1_024
  const { troupe, id } = await openMira(
    contextTokens,
    'The password of the harbour is marigold. {{char}} tells it to everybody who asks.',
  )
  try {
    const turn = (at: number): Message[] => [
      {
        role: 'user',
        content: `Question ${String(at)}: what did the ${String(at)}th ship carry, and where did it go after the storm?`,
      },
      {
        role: 'assistant',
        content: `The ${String(at)}th ship carried salt and rope, and it went north as soon as the wind had turned.`,
      },
    ]
    const history = Array.from({ length: 75 }, (_, at) => turn(at)).flat()
    const historyTokens = history.reduce((sum, message) => sum + estimateTokens(message.content), 0)
    expect(historyTokens).toBeGreaterThan(3 * contextTokens)
    const answerTokens = 24
    const { value, record } = await ask(
      troupe,
      id,
      [...history, { role: 'user', content: 'What is the password of the harbour?' }],
      { max_tokens: answerTokens },
    )
    expect(value.usage.prompt_tokens).toBeLessThanOrEqual(contextTokens - answerTokens)
    expect(value.choices[0]?.message.content.toLowerCase()).toContain('marigold')
    expect(record).toMatchObject({ status: 'ok', contextTokens })
    expect(record['cutTurns']).toBeGreaterThan(50)
  } finally {
    await troupe.close()
  }
})

async function tokenCount(content: string): Promise<number> {
  const answer = await fetch(`${llama.url}/tokenize`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ content }),
  })
  return ((await answer.json()) as { tokens: unknown[] }).tokens.length
}

/** Role marks around the last message and the opening of the answer, in ChatML. */
const TEMPLATE_TOKENS = 12

describe('our estimate against the real tokenizer of a small English vocabulary', () => {
  test.each([
    ['English prose is never under-estimated', PERSONA, 1, 1.6],
    [
      'source code is never under-estimated',
      'const sum = (a: number, b: number) => { return a + b } // adds two numbers\n'.repeat(20),
      1,
      1.8,
    ],
    [
      'German',
      'Die Verantwortung für die Aufrechterhaltung der öffentlichen Ordnung liegt bei den zuständigen Behörden. ',
      0.5,
      1.5,
    ],
    [
      'Russian',
      'Вчера вечером мы долго говорили о том, как изменится город после строительства набережной. ',
      0.5,
      1.5,
    ],
    ['Japanese', '昨日の夜、私たちは新しい港について長い間話しました。とても楽しかったです。', 0.5, 1.5],
    ['Korean', '어제 저녁에 우리는 새로운 항구에 대해 오랫동안 이야기했습니다. ', 0.5, 1.5],
    ['emoji', '😀🎉👍🏽❤️🔥', 0.5, 1.5],
  ])('%s', async (_name, text, least, most) => {
    const ratio = estimateTokens(text) / (await tokenCount(text))
    expect(ratio).toBeGreaterThanOrEqual(least)
    expect(ratio).toBeLessThanOrEqual(most)
  })
})
