import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { collectResponse, createResponseEvents } from '#http/v1/response-events.ts'
import type { Cited, Delta } from '#providers/provider.ts'

const HEAD = { requestId: 'r1', createdSeconds: 5, settings: { model: 'mira', store: false } }
const USAGE = { promptTokens: 3, completionTokens: 2, cachedTokens: 1, reasoningTokens: 1 }

interface Event {
  type: string
  sequence_number: number
  output_index?: number
  item_id?: string
  delta?: string
  text?: string
  arguments?: string
  item?: Record<string, unknown>
  response?: Record<string, unknown>
}

function readEvents(written: string): Event[] {
  const blocks = written.split('\n\n').slice(0, -1)
  return blocks.map((block) => {
    const [, name, data] = /^event: (\S+)\ndata: ([^\n]+)$/.exec(block) ?? []
    const event = JSON.parse(data ?? 'null') as Event
    expect(event.type).toBe(name)
    return event
  })
}

const text = (words: string): Delta => ({ type: 'text', text: words })
const reasoning = (words: string): Delta => ({ type: 'reasoning', text: words })
const tool = (name: string, index = 0): Delta => ({
  type: 'tool',
  index,
  call: { id: `call_${name}`, name, arguments: '{"where":"sea"}' },
})
const done = (reason: Extract<Delta, { type: 'done' }>['reason']): Delta => ({
  type: 'done',
  reason,
  usage: USAGE,
})

/** The events of a whole stream; an error stands where the model server gave up. */
function stream(...deltas: (Delta | AppError)[]): Event[] {
  const events = createResponseEvents(HEAD)
  const opened = events.open()
  const written = deltas.map((delta) => {
    if (delta instanceof AppError) return events.error(delta)
    return delta.type === 'done' ? events.done(delta) : events.delta(delta)
  })
  return readEvents([opened, ...written].join(''))
}

const OPENED = ['response.created', 'response.in_progress']
const ITEM = 'response.output_item'
const BEGUN = [`${ITEM}.added`, 'response.content_part.added']
const ENDED = ['response.content_part.done', `${ITEM}.done`]
const WORDS = 'response.output_text'
const THOUGHT = 'response.reasoning_text'
const CALL = 'response.function_call_arguments'
const CALLED = [`${ITEM}.added`, `${CALL}.delta`, `${CALL}.done`, `${ITEM}.done`]
const MESSAGE = [...BEGUN, `${WORDS}.delta`, `${WORDS}.done`, ...ENDED]

describe('a stream tells', () => {
  test.each([
    [
      'text in pieces',
      [text('Good '), text('night'), done('stop')],
      [...BEGUN, `${WORDS}.delta`, `${WORDS}.delta`, `${WORDS}.done`, ...ENDED, 'response.completed'],
    ],
    ['text cut by length', [text('Good'), done('length')], [...MESSAGE, 'response.incomplete']],
    [
      'reasoning before text',
      [reasoning('Hm'), text('Yes'), done('stop')],
      [...BEGUN, `${THOUGHT}.delta`, `${THOUGHT}.done`, ...ENDED, ...MESSAGE, 'response.completed'],
    ],
    [
      'two calls of tools',
      [tool('look'), tool('listen', 1), done('tool_calls')],
      [...CALLED, ...CALLED, 'response.completed'],
    ],
    [
      'text around a call',
      [text('Wait'), tool('look'), text('Sea'), done('tool_calls')],
      [...MESSAGE, ...CALLED, ...MESSAGE, 'response.completed'],
    ],
    [
      'an error in the middle',
      [text('Half'), new AppError('upstream', 'The server died')],
      [...MESSAGE, 'response.failed'],
    ],
    ['an error before anything', [new AppError('upstream', 'The server died')], ['response.failed']],
  ])('%s by these events', (_name, deltas, expected) => {
    const events = stream(...deltas)
    expect(events.map(({ type }) => type)).toEqual([...OPENED, ...expected])
    expect(events.map((event) => event.sequence_number)).toEqual([...events.keys()])
  })

  test.each([
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ] as const)('that an answer ended by %s is incomplete', (reason, told) => {
    expect(stream(text('Go'), done(reason)).at(-1)?.response).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: told },
      output: [{ type: 'message', status: 'incomplete', content: [{ text: 'Go' }] }],
    })
  })

  test.each([
    ['upstream', 'server_error'],
    ['context_length', 'invalid_prompt'],
    ['limited', 'rate_limit_exceeded'],
  ] as const)('a failure of the kind %s as %s, after what was said so far', (code, told) => {
    expect(stream(text('Half'), new AppError(code, 'Too bad')).at(-1)?.response).toMatchObject({
      id: 'resp_r1',
      status: 'failed',
      error: { code: told, message: 'Too bad' },
      output: [{ type: 'message', status: 'incomplete', content: [{ text: 'Half' }] }],
    })
  })
})

test('a response holds its settings, every item with its own id, and the usage', () => {
  const { response } = stream(reasoning('Hm'), text('Yes'), tool('look'), done('tool_calls')).at(-1) ?? {}
  expect(response).toEqual({
    id: 'resp_r1',
    object: 'response',
    created_at: 5,
    status: 'completed',
    error: null,
    incomplete_details: null,
    model: 'mira',
    store: false,
    output: [
      {
        id: 'rs_r1_0',
        type: 'reasoning',
        status: 'completed',
        summary: [],
        content: [{ type: 'reasoning_text', text: 'Hm' }],
      },
      {
        id: 'msg_r1_1',
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [{ type: 'output_text', text: 'Yes', annotations: [], logprobs: [] }],
      },
      {
        id: 'fc_r1_2',
        type: 'function_call',
        call_id: 'call_look',
        name: 'look',
        arguments: '{"where":"sea"}',
        status: 'completed',
      },
    ],
    usage: {
      input_tokens: 3,
      input_tokens_details: { cached_tokens: 1, cache_write_tokens: 0 },
      output_tokens: 2,
      output_tokens_details: { reasoning_tokens: 1 },
      total_tokens: 5,
    },
  })
})

describe('sources', () => {
  const passage = { documentId: 'd1', label: 'Log', text: 'Lit on 3 March.', page: 3, similarity: 0.7 }
  const cited: Cited = { type: 'sources', passages: [{ ...passage, reference: 1, chunkIds: [7] }] }
  const SOURCES = [
    {
      source: { id: 'd1#1', name: 'Log' },
      document: ['Lit on 3 March.'],
      metadata: [{ source: 'd1#1', name: 'Log', page: 2 }],
      distances: [0.7],
    },
  ]
  const told = [cited, text('Hi'), done('stop')]
  const all = async function* () {
    yield* await Promise.resolve(told)
  }

  test('stand beside the output for a client that asks for them, and before the first word of a stream', async () => {
    const head = { ...HEAD, wantsSources: true }
    expect(await collectResponse(all(), head)).toMatchObject({ status: 'completed', sources: SOURCES })
    const events = createResponseEvents(head)
    const told = readEvents(
      [
        events.open(),
        events.sources?.(cited),
        events.delta({ type: 'text', text: 'Hi' }),
        events.done({ type: 'done', reason: 'stop' }),
      ].join(''),
    )
    expect(told.map(({ sequence_number: number }) => number)).toEqual([...told.keys()])
    expect(told.flatMap(({ type, response }) => (response?.['sources'] ? [type] : []))).toEqual([
      'response.in_progress',
      'response.completed',
    ])
    expect(told[2]?.response).toMatchObject({ status: 'in_progress', output: [], sources: SOURCES })
    expect(told.at(-1)?.response).toMatchObject({ sources: SOURCES })
  })

  test('are kept from a client that did not ask', async () => {
    expect(await collectResponse(all(), HEAD)).not.toHaveProperty('sources')
    expect(createResponseEvents(HEAD).sources).toBeUndefined()
  })
})

describe('whatever the model says', () => {
  const word = fc.string({ minLength: 1, unit: 'grapheme' })
  const delta = fc.oneof(
    word.map(text),
    word.map(reasoning),
    fc.record({ name: word, json: fc.json() }).map(({ name, json }): Delta => ({
      type: 'tool',
      index: 0,
      call: { id: name, name, arguments: json },
    })),
  )
  const answer = fc
    .tuple(fc.array(delta, { maxLength: 30 }), fc.constantFrom('stop' as const, 'length' as const))
    .map(([deltas, reason]) => [...deltas, done(reason)])

  test('the deltas of an item, joined, are its final text, and items are told in their order', () => {
    fc.assert(
      fc.property(answer, (deltas) => {
        const events = stream(...deltas)
        expect(events.map((event) => event.sequence_number)).toEqual([...events.keys()])
        const items = events.filter(({ type }) => type === `${ITEM}.done`).map(({ item }) => item)
        expect(events.at(-1)?.response?.['output']).toEqual(items)
        for (const [index, item] of items.entries()) {
          const own = events.filter((event) => event.item_id === item?.['id'])
          const joined = own.flatMap((event) => (event.type.endsWith('.delta') ? [event.delta] : [])).join('')
          const [part] = (item?.['content'] as { text: string }[] | undefined) ?? []
          expect(part?.text ?? item?.['arguments']).toBe(joined)
          expect(own.find(({ type }) => type.endsWith('.done'))).toMatchObject(
            part === undefined ? { arguments: joined } : { text: joined },
          )
          expect(own.every((event) => event.output_index === index)).toBe(true)
        }
      }),
    )
  })

  test('the whole response equals the one at the end of a stream', async () => {
    async function* later(items: readonly Delta[]) {
      for (const item of items) yield await Promise.resolve(item)
    }
    await fc.assert(
      fc.asyncProperty(answer, async (deltas) => {
        const whole = await collectResponse(later(deltas), HEAD)
        expect(JSON.parse(JSON.stringify(whole))).toEqual(stream(...deltas).at(-1)?.response)
      }),
    )
  })
})
