import { describe, expect, test } from 'vitest'

import { createReader } from '#providers/ollama-answer.ts'
import { toChatBody } from '#providers/ollama-request.ts'
import type { ModelCall } from '#providers/provider.ts'

import { inPieces, recorded, replay, textOf } from '../../support/replay.ts'

const WORDS = {
  title: 'Ollama',
  name: 'http://gpu:11434',
  whenSilent: '',
  whenForbidden: '',
  whenMissing: () => '',
}

const reader = () => {
  let made = 0
  return createReader('mira:1b', WORDS, () => `call_${(made += 1)}`)
}
const read = (...pieces: readonly (Uint8Array | string)[]) => replay(reader(), inPieces(...pieces))
const line = (value: unknown): string => `${JSON.stringify(value)}\n`

const CALL: ModelCall = {
  model: 'mira:1b',
  messages: [],
  stream: true,
  sampling: {},
  contextTokens: 4_096,
  maxTokens: 300,
  keepTokens: 120,
  tools: [],
  extra: { top_a: 1 },
}
const body = (over: Partial<ModelCall>, capabilities: readonly string[] = []) =>
  JSON.parse(JSON.stringify(toChatBody({ ...CALL, ...over }, { capabilities }))) as Record<string, unknown>
const toolCall = (id: string, name: string, json: string) => ({ id, name, arguments: json })

describe('the request', () => {
  test('window and bound are always explicit, truncation is refused, and nothing else is decided for the model', () => {
    expect(body({})).toEqual({
      model: 'mira:1b',
      messages: [],
      stream: true,
      truncate: false,
      options: { num_ctx: 4_096, num_predict: 300, num_keep: 120 },
    })
  })

  test('sampling keeps its meaning', () => {
    const sampling = {
      temperature: 0,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      frequencyPenalty: 0.1,
      presencePenalty: 0.2,
      repeatPenalty: 1.1,
      seed: 7,
      stop: ['END'],
      maxTokens: 5,
    }
    expect(body({ sampling })['options']).toEqual({
      num_ctx: 4_096,
      num_predict: 300,
      num_keep: 120,
      temperature: 0,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      frequency_penalty: 0.1,
      presence_penalty: 0.2,
      repeat_penalty: 1.1,
      seed: 7,
      stop: ['END'],
    })
  })

  test('messages of every role are told in its words', () => {
    const messages: ModelCall['messages'] = [
      { role: 'system', text: 'Be calm.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'Look' },
          { type: 'image', url: 'data:image/png;base64,AAAA' },
          { type: 'image', url: 'data:text/plain,a%20b' },
          { type: 'text', text: 'here' },
        ],
      },
      {
        role: 'assistant',
        text: '',
        toolCalls: [toolCall('c1', 'look', '{"far":true}'), toolCall('c2', 'wait', '')],
      },
      { role: 'tool', text: 'fog', toolCallId: 'c1' },
      { role: 'tool', text: 'late', toolCallId: 'c9' },
      { role: 'assistant', text: 'Fog.' },
    ]
    expect(body({ messages })['messages']).toEqual([
      { role: 'system', content: 'Be calm.' },
      { role: 'user', content: 'Look\nhere', images: ['AAAA', 'YSBi'] },
      {
        role: 'assistant',
        content: '',
        tool_calls: [
          { id: 'c1', function: { name: 'look', arguments: { far: true } } },
          { id: 'c2', function: { name: 'wait', arguments: {} } },
        ],
      },
      { role: 'tool', content: 'fog', tool_call_id: 'c1', tool_name: 'look' },
      { role: 'tool', content: 'late', tool_call_id: 'c9' },
      { role: 'assistant', content: 'Fog.' },
    ])
  })

  test.each([
    ['[1,2]', { value: [1, 2] }],
    ['not json', { value: 'not json' }],
    ['"text"', { value: 'text' }],
  ])('arguments that are no object (%s) do not break the request', (json, expected) => {
    const messages = [{ role: 'assistant' as const, text: '', toolCalls: [toolCall('c1', 'look', json)] }]
    expect(body({ messages })['messages']).toMatchObject([
      { tool_calls: [{ function: { arguments: expected } }] },
    ])
  })

  const look = { name: 'look', spec: { type: 'function', function: { name: 'look' } } }
  const wait = { name: 'wait', spec: { type: 'function', function: { name: 'wait' } } }

  test.each([
    ['no choice', undefined, [look.spec, wait.spec]],
    ['auto', 'auto', [look.spec, wait.spec]],
    ['required', 'required', [look.spec, wait.spec]],
    ['none', 'none', undefined],
    ['a name', { type: 'function', function: { name: 'wait' } }, [wait.spec]],
  ])('tool choice: %s', (_name, toolChoice, tools) => {
    expect(body({ tools: [look, wait], toolChoice })['tools']).toEqual(tools)
  })

  test.each([
    ['any JSON', { type: 'json_object' }, 'json'],
    [
      'a schema',
      { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'array' } } },
      { type: 'array' },
    ],
    ['text', { type: 'text' }, undefined],
    ['nothing', undefined, undefined],
  ])('response format: %s', (_name, responseFormat, format) => {
    expect(body({ responseFormat })['format']).toEqual(format)
  })

  test('thinking is switched off where there is such a switch', () => {
    expect(body({}, ['completion', 'thinking'])['think']).toBe(false)
    expect(body({ thinking: 'high' }, ['completion', 'thinking'])['think']).toBe('high')
    expect(body({ thinking: true }, ['completion'])).not.toHaveProperty('think')
    expect(body({}, ['completion'])).not.toHaveProperty('think')
  })
})

describe('recorded answers', () => {
  test('a bounded answer', async () => {
    const deltas = await read(recorded('ollama-length.ndjson'))
    expect(textOf(deltas).length).toBeGreaterThan(30)
    expect(deltas.at(-1)).toEqual({
      type: 'done',
      reason: 'length',
      usage: { promptTokens: 27, completionTokens: 16 },
      timings: {
        loadMs: expect.closeTo(30.78, 1),
        prefillMs: expect.closeTo(171.61, 1),
        decodeMs: expect.closeTo(1080.06, 1),
      },
    })
  })

  test('a finished answer in several alphabets', async () => {
    const deltas = await read(recorded('ollama-stop.ndjson'))
    expect(JSON.parse(textOf(deltas))).toBe('Über dem Hafen ruft die Möwe 🌊 さようなら')
    expect(deltas.at(-1)).toMatchObject({ type: 'done', reason: 'stop' })
  })

  test('a tool call, which Ollama itself ends with a plain stop', async () => {
    expect(await read(recorded('ollama-tools.ndjson'))).toEqual([
      {
        type: 'tool',
        index: 0,
        call: { id: 'call_1', name: 'get_weather', arguments: '{"city":"Zürich 🌊"}' },
      },
      expect.objectContaining({
        type: 'done',
        reason: 'tool_calls',
        usage: { promptTokens: 90, completionTokens: 36 },
      }),
    ])
  })

  test('a thought', async () => {
    const deltas = await read(recorded('ollama-thinking.ndjson'))
    expect(deltas.filter((delta) => delta.type === 'reasoning').length).toBeGreaterThan(10)
    expect(textOf(deltas)).toBe('')
  })

  test('a load without an answer', async () => {
    expect(await read(recorded('ollama-load.ndjson'))).toEqual([{ type: 'done', reason: 'stop' }])
  })

  test.each(['ollama-length', 'ollama-stop', 'ollama-tools', 'ollama-thinking', 'ollama-load'])(
    '%s reads the same wherever it is cut',
    async (name) => {
      const bytes = recorded(`${name}.ndjson`)
      const whole = await read(bytes)
      for (let cut = 1; cut < bytes.length; cut += 1) {
        const parts = await read(bytes.subarray(0, cut), bytes.subarray(cut))
        if (JSON.stringify(parts) !== JSON.stringify(whole)) expect(parts, `cut at ${cut}`).toEqual(whole)
      }
    },
  )

  test.each(['ollama-length', 'ollama-stop', 'ollama-tools', 'ollama-thinking'])(
    '%s without its end is never taken for a whole answer',
    async (name) => {
      const bytes = recorded(`${name}.ndjson`)
      const lastLine = bytes.subarray(0, -1).lastIndexOf('\n') + 1
      for (const end of [0, 1, lastLine - 5, lastLine, lastLine + 20, bytes.length - 3]) {
        await expect(read(bytes.subarray(0, end)), `ends at ${end}`).rejects.toMatchObject({
          code: 'upstream',
        })
      }
    },
  )
})

describe('other lines', () => {
  const text = line({ message: { role: 'assistant', content: 'Hm' }, done: false })

  test('an error line ends the answer', async () => {
    await expect(
      read(text, line({ error: 'an error was encountered while running the model' })),
    ).rejects.toMatchObject({
      code: 'upstream',
      message: expect.stringContaining('an error was encountered while running the model'),
    })
  })

  test('an error line about the window is told as such', async () => {
    await expect(read(line({ error: 'the input length exceeds the context length' }))).rejects.toMatchObject({
      code: 'context_length',
    })
  })

  test.each([
    ['words', 'Internal Server Error\n'],
    ['a list', '[]\n'],
    ['a number in place of text', line({ message: { content: 7 } })],
  ])('nonsense is refused: %s', async (_name, nonsense) => {
    await expect(read(text, nonsense)).rejects.toMatchObject({ code: 'upstream' })
  })

  test('tool calls over several lines are counted through, and one without arguments has empty ones', async () => {
    const call = (name: string, rest: object) => ({ function: { name, ...rest } })
    const deltas = await read(
      line({ message: { content: '', tool_calls: [call('a', { arguments: { x: 1 } }), call('b', {})] } }),
      line({ message: { content: '', tool_calls: [call('c', { arguments: {} })] } }),
      line({ message: { content: '' }, done: true, done_reason: 'stop' }),
    )
    expect(deltas).toEqual([
      { type: 'tool', index: 0, call: { id: 'call_1', name: 'a', arguments: '{"x":1}' } },
      { type: 'tool', index: 1, call: { id: 'call_2', name: 'b', arguments: '{}' } },
      { type: 'tool', index: 2, call: { id: 'call_3', name: 'c', arguments: '{}' } },
      { type: 'done', reason: 'tool_calls' },
    ])
  })

  test('ids of tool calls are new each time', async () => {
    const lines = line({
      message: { tool_calls: [{ function: { name: 'a' } }, { function: { name: 'a' } }] },
      done: true,
    })
    const deltas = await replay(createReader('mira:1b', WORDS), inPieces(lines))
    const ids = deltas.flatMap((delta) => (delta.type === 'tool' ? [delta.call.id] : []))
    expect(new Set(ids).size).toBe(2)
    expect(ids[0]).toMatch(/^call_[0-9a-f]{24}$/)
  })

  test('text beside the last word is not lost', async () => {
    const deltas = await read(
      line({ message: { content: 'end' }, done: true, done_reason: 'stop', eval_count: 1 }),
    )
    expect(deltas).toEqual([
      { type: 'text', text: 'end' },
      { type: 'done', reason: 'stop', usage: { promptTokens: 0, completionTokens: 1 } },
    ])
  })

  test('a count of cached tokens is passed on where a version tells it', async () => {
    const [done] = await read(
      line({ done: true, prompt_eval_count: 9, prompt_eval_cached_count: 4, eval_count: 1 }),
    )
    expect(done).toMatchObject({ usage: { promptTokens: 9, completionTokens: 1, cachedTokens: 4 } })
  })
})
