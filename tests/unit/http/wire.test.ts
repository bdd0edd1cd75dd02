import { describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { collect, createChunks } from '#http/v1/wire.ts'
import type { Delta } from '#providers/provider.ts'

const ENVELOPE = { requestId: 'r1', model: 'mira', createdSeconds: 5 }
const USAGE = { promptTokens: 3, completionTokens: 2, cachedTokens: 1 }
const CALL: Delta = { type: 'tool', index: 0, call: { id: 'c1', name: 'look', arguments: '{}' } }

const events = (text: string) =>
  text
    .split('\n\n')
    .filter((line) => line !== '')
    .map((line) => (line === 'data: [DONE]' ? '[DONE]' : (JSON.parse(line.replace('data: ', '')) as unknown)))

describe('a stream', () => {
  test('carries the role once, the finish reason alone, the usage once and then the end', () => {
    const chunks = createChunks(ENVELOPE, true)
    const written = [
      chunks.delta({ type: 'text', text: 'Hi' }),
      chunks.delta({ type: 'text', text: '!' }),
      chunks.done({ type: 'done', reason: 'stop', usage: USAGE }),
    ].join('')
    expect(events(written)).toMatchObject([
      {
        id: 'chatcmpl-r1',
        object: 'chat.completion.chunk',
        choices: [{ delta: { role: 'assistant', content: 'Hi' }, finish_reason: null }],
        usage: null,
      },
      { choices: [{ delta: { content: '!' } }] },
      { choices: [{ delta: {}, finish_reason: 'stop' }] },
      {
        choices: [],
        usage: {
          prompt_tokens: 3,
          completion_tokens: 2,
          total_tokens: 5,
          prompt_tokens_details: { cached_tokens: 1 },
        },
      },
      '[DONE]',
    ])
    expect(written.match(/"role"/g)).toHaveLength(1)
  })

  test('leaves the usage out when nobody asked', () => {
    expect(
      createChunks(ENVELOPE, false).done({ type: 'done', reason: 'length', usage: USAGE }),
    ).not.toContain('usage')
  })

  test('tells a failure as an error event and still ends', () => {
    const written = createChunks(ENVELOPE, false).error(new AppError('upstream', 'The model server died'))
    expect(events(written)).toEqual([
      { error: { message: 'The model server died', type: 'api_error', param: null, code: 'upstream_error' } },
      '[DONE]',
    ])
  })

  test('carries reasoning and tool calls in their own fields', () => {
    const chunks = createChunks(ENVELOPE, false)
    expect(events(chunks.delta({ type: 'reasoning', text: 'hm' }))).toMatchObject([
      { choices: [{ delta: { reasoning_content: 'hm' } }] },
    ])
    expect(events(chunks.delta(CALL))).toMatchObject([
      {
        choices: [
          { delta: { tool_calls: [{ index: 0, id: 'c1', function: { name: 'look', arguments: '{}' } }] } },
        ],
      },
    ])
  })
})

describe('a whole answer', () => {
  async function* deltas(...items: Delta[]) {
    for (const item of items) yield await Promise.resolve(item)
  }

  test('joins the text and says why it ended', async () => {
    const stream = deltas(
      { type: 'text', text: 'Good ' },
      { type: 'text', text: 'night' },
      { type: 'done', reason: 'length', usage: USAGE },
    )
    expect(await collect(stream, ENVELOPE)).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { role: 'assistant', content: 'Good night' }, finish_reason: 'length' }],
      usage: { total_tokens: 5 },
    })
  })

  test('of tool calls alone has no content', async () => {
    const body = await collect(deltas(CALL, { type: 'done', reason: 'tool_calls' }), ENVELOPE)
    expect(body).toMatchObject({
      choices: [{ message: { content: null, tool_calls: [{ id: 'c1' }] }, finish_reason: 'tool_calls' }],
    })
  })

  test('has exactly the fields of OpenAI: the place of a call is for chunks only', async () => {
    const body = await collect(deltas(CALL, { type: 'done', reason: 'tool_calls' }), ENVELOPE)
    const call = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{}' } }
    expect((body as { choices: object[] }).choices[0]).toEqual({
      index: 0,
      message: { role: 'assistant', content: null, refusal: null, tool_calls: [call] },
      finish_reason: 'tool_calls',
      logprobs: null,
    })
  })

  test('tells how much of it was reasoning, of several answers together', async () => {
    const usage = { ...USAGE, reasoningTokens: 1 }
    const done: Delta = { type: 'done', reason: 'stop', usage }
    expect(await collect(deltas(done, done), ENVELOPE)).toMatchObject({
      usage: { completion_tokens: 4, completion_tokens_details: { reasoning_tokens: 2 } },
    })
  })
})

describe('sources', () => {
  const passage = {
    ...{ reference: 1, documentId: 'd1', label: 'Log, page 3', text: 'Lit on 3 March.', page: 3 },
    ...{ similarity: 0.7, chunkIds: [7] },
  }
  const cited = {
    type: 'sources' as const,
    passages: [passage, { ...passage, reference: 2, label: 'Tides', page: null, similarity: null }],
  }
  const SOURCES = [
    {
      source: { id: 'd1#1', name: 'Log, page 3' },
      document: ['Lit on 3 March.'],
      metadata: [{ source: 'd1#1', name: 'Log, page 3', page: 2 }],
      distances: [0.7],
    },
    {
      source: { id: 'd1#2', name: 'Tides' },
      document: ['Lit on 3 March.'],
      metadata: [{ source: 'd1#2', name: 'Tides' }],
    },
  ]

  test('are events for Open WebUI: one line that tells how many, and a card for each', () => {
    const { sources } = createChunks({ ...ENVELOPE, takesEvents: true }, true)
    expect(events(sources?.(cited) ?? '')).toEqual([
      {
        choices: [],
        event: { type: 'status', data: { description: 'Looked at 2 passages', done: true, hidden: false } },
      },
      ...SOURCES.map((data) => ({ choices: [], event: { type: 'source', data } })),
    ])
  })

  test('are a field of a chunk, and of a whole answer, for a client that asks for them', async () => {
    const { sources } = createChunks({ ...ENVELOPE, wantsSources: true }, true)
    expect(events(sources?.(cited) ?? '')).toMatchObject([
      { object: 'chat.completion.chunk', choices: [], sources: SOURCES },
    ])
    const told = [
      cited,
      { type: 'text' as const, text: 'Hi' },
      { type: 'done' as const, reason: 'stop' as const },
    ]
    const all = async function* () {
      yield* await Promise.resolve(told)
    }
    expect(await collect(all(), { ...ENVELOPE, wantsSources: true })).toMatchObject({ sources: SOURCES })
    expect(await collect(all(), ENVELOPE)).not.toHaveProperty('sources')
  })

  test('are kept from a client that did not ask', () => {
    expect(createChunks(ENVELOPE, true).sources).toBeUndefined()
  })
})
