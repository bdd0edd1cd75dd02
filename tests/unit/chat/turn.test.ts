import { describe, expect, test, vi } from 'vitest'

import type { CallDetails, CallRecord } from '#analytics/record.ts'
import { AppError } from '#base/errors.ts'
import { silentMetrics } from '#base/metrics.ts'
import type { StopSignal } from '#base/stopping.ts'
import type { Card } from '#characters/card.ts'
import { greetingOffers } from '#characters/greetings.ts'
import { createTurn, type TurnParts } from '#chat/turn.ts'
import { TASK_MODEL_ID } from '#chat/tasks.ts'
import type { CharacterVersion } from '#library/library.ts'
import type { Ask } from '#prompt/ask.ts'
import { createPool } from '#providers/pool.ts'
import type { Delta, ModelCall, Provider, Told } from '#providers/provider.ts'
import { openUpstreams } from '#providers/upstreams.ts'

import { longChat, sampleAsk, sampleCard, user } from '../../support/samples.ts'

const DONE: Delta = { type: 'done', reason: 'stop', usage: { promptTokens: 50, completionTokens: 2 } }
const text = (words: string): Delta => ({ type: 'text', text: words })

type Script = (call: ModelCall, signal: StopSignal) => AsyncGenerator<Delta, void, undefined>

async function* say(...deltas: Delta[]): AsyncGenerator<Delta, void, undefined> {
  for (const delta of deltas) yield await Promise.resolve(delta)
}

function openTurn(
  script: Script,
  over: {
    taskModel?: string
    card?: Partial<Card>
    record?: (record: CallRecord) => Promise<void>
    contextTokens?: number
    /** Name of the base model. */
    model?: string
    retrieve?: TurnParts['sources']['retrieval']['retrieve']
    sampler?: TurnParts['sampler']
  } = {},
) {
  const calls: ModelCall[] = []
  const records: CallRecord[] = []
  const details: (CallDetails | undefined)[] = []
  const provider: Provider = {
    kind: 'script',
    id: 'script',
    name: 'http://model',
    models: () =>
      Promise.resolve(
        [over.model ?? 'base', 'small'].map((name) => ({
          name,
          chats: true,
          contextTokens: over.contextTokens ?? 2_048,
        })),
      ),
    stream(call, signal) {
      calls.push(call)
      return script(call, signal)
    },
    embed: () => Promise.reject(new Error('not asked for')),
    close: () => Promise.resolve(),
  }
  const version: CharacterVersion = {
    characterId: 'mira',
    number: 3,
    card: sampleCard({ post_history_instructions: 'Be brief.', ...over.card }),
    originalHash: '',
    originalName: '',
    pictureHash: null,
    notes: [],
    note: null,
    createdBy: null,
    createdAtMs: 0,
    publishedAtMs: null,
  }
  const turn = createTurn({
    lorebooks: { of: () => [] },
    summaries: { recall: () => Promise.resolve([]), extend: () => undefined },
    sources: {
      basesOf: () => (over.retrieve === undefined ? [] : ['harbour']),
      retrieval: {
        retrieve: over.retrieve ?? (() => Promise.reject(new Error('not asked for'))),
      },
      guests: { ask: () => Promise.resolve([]) },
    },
    library: { published: (id) => Promise.resolve(id === 'mira' ? version : undefined) },
    upstreams: openUpstreams({
      providers: [provider],
      defaultModel: undefined,
      contextTokens: 8_192,
      now: Date.now,
    }),
    pool: createPool({ now: Date.now, parallel: undefined, perSecond: undefined, replicas: 1 }),
    taskModel: over.taskModel,
    diceSecret: 'secret',
    timeZone: 'UTC',
    record:
      over.record ?? ((record, beside) => Promise.resolve(void (records.push(record), details.push(beside)))),
    ...(over.sampler && { sampler: over.sampler }),
    admit: () => undefined,
    httpStatusOf: () => 500,
    costOf: () => null,
    metrics: silentMetrics,
    cacheSalt: (domain) => `salt of ${domain}`,
    pseudonym: (kind, id) => `${kind}:${String(id.length)}`,
    now: Date.now,
  })
  const run = async (ask: Ask, signal = new AbortController().signal) => {
    const deltas: Told[] = []
    for await (const delta of turn(ask, signal, undefined)) deltas.push(delta)
    return deltas
  }
  return { turn, run, calls, records, details, version }
}

describe('an answer', () => {
  test('passes through as it comes, and its record names character, version, model and pseudonyms but no word', async () => {
    const { run, records } = openTurn(() => say(text('Storm '), text('tonight'), DONE))
    const ask = sampleAsk({
      person: { id: 'user-77', name: 'Tom' },
      conversation: { chatId: 'chat-123', messageId: 'm' },
    })
    expect(await run(ask)).toEqual([text('Storm '), text('tonight'), DONE])
    expect(records).toHaveLength(1)
    expect(records[0]).toMatchObject({
      id: 'request-1',
      kind: 'turn',
      status: 'ok',
      characterId: 'mira',
      characterVersion: 3,
      baseModel: 'base',
      person: 'person:7',
      chat: 'chat:8',
      message: 'message:1',
      promptTokens: 50,
      cutTurns: 0,
    })
    const written = JSON.stringify(records)
    for (const word of ['Storm', 'Hello', 'Tom', 'user-77', 'lighthouse', 'brief'])
      expect(written).not.toContain(word)
  })

  test("that begins with the character's name is sent and sampled without it, and timed from it on", async () => {
    const sampled: Told[] = []
    const notice = { type: 'status', text: 'kept', isDone: true } as const
    const sampler = {
      begin: () => ({ notice, see: sampled.push.bind(sampled), keep: () => Promise.resolve() }),
    }
    const { run, records } = openTurn(
      async function* () {
        yield* say(text('Mira '))
        await new Promise((resolve) => setTimeout(resolve, 40))
        yield* say(text('Holt: Storm '), text('tonight'), DONE)
      },
      { sampler },
    )
    const sent = [text('Storm '), text('tonight'), DONE]
    expect(await run(sampleAsk())).toEqual([notice, ...sent])
    expect(sampled).toEqual(sent)
    const [{ firstTokenMs, totalMs } = { firstTokenMs: null, totalMs: 0 }] = records
    expect(totalMs - (firstTokenMs ?? totalMs)).toBeGreaterThan(20)
  })

  test('is finished only after its record is committed', async () => {
    const order: string[] = []
    const record = async () => {
      await Promise.resolve()
      order.push('committed')
    }
    const { turn } = openTurn(() => say(text('Hi'), DONE), { record })
    for await (const delta of turn(sampleAsk(), new AbortController().signal, undefined))
      order.push(delta.type)
    expect(order).toEqual(['text', 'committed', 'done'])
  })

  test('whose record cannot be committed ends as an error, not as finished', async () => {
    const record = () => Promise.reject(new AppError('unavailable', 'no database'))
    const { run } = openTurn(() => say(text('Hi'), DONE), { record })
    await expect(run(sampleAsk())).rejects.toMatchObject({ code: 'unavailable' })
  })

  test('without a word becomes an explained error in Open WebUI, which would show a blank bubble', async () => {
    const { run, records } = openTurn(() => say(DONE))
    await expect(run(sampleAsk())).rejects.toThrow(/empty answer/)
    expect(records[0]).toMatchObject({ status: 'failed', errorCode: 'upstream' })
    const cut = openTurn(() => say({ ...DONE, reason: 'length' }))
    await expect(cut.run(sampleAsk())).rejects.toThrow(/let it write more tokens/)
  })

  test.each<[string, Partial<Ask>]>([
    ['to a program', { surface: 'api' }],
    ['that goes on with a text', { prompt: { text: 'The end.' } }],
  ])('%s may be without a word', async (_name, over) => {
    const { run, records } = openTurn(() => say(DONE))
    expect(await run(sampleAsk(over))).toEqual([DONE])
    expect(records[0]).toMatchObject({ status: 'ok', finishReason: 'stop' })
  })
})

describe('a failure', () => {
  test('of the model server in mid answer is thrown on, and the record says failed', async () => {
    const { run, records } = openTurn(async function* () {
      yield await Promise.resolve(text('Half'))
      throw new AppError('upstream', 'died')
    })
    await expect(run(sampleAsk())).rejects.toMatchObject({ code: 'upstream' })
    expect(records).toMatchObject([{ status: 'failed', errorCode: 'upstream', promptTokens: null }])
  })

  test('an unknown character is named, and recorded', async () => {
    const { run, records } = openTurn(() => say(DONE))
    await expect(run(sampleAsk({ model: 'nobody' }))).rejects.toMatchObject({
      code: 'model_not_found',
      param: 'model',
    })
    expect(records).toMatchObject([{ status: 'failed', characterId: null }])
  })

  test('a prompt that the server finds too long is composed once more, smaller, and the record shows the second', async () => {
    const refuse = new AppError('context_length', 'too long')
    const { run, calls, records } = openTurn((call) =>
      calls.length === 1
        ? (async function* () {
            await Promise.resolve()
            yield* say()
            throw refuse
          })()
        : say(text(String(call.messages.length)), DONE),
    )
    await run(sampleAsk({ messages: longChat(80, 8) }))
    const [first, second] = calls
    expect(second?.messages.length).toBeLessThan(first?.messages.length ?? 0)
    expect(records).toHaveLength(1)
    expect(records[0]?.cutTurns).toBeGreaterThan(0)
  })

  test('a picture that costs more than estimated takes no room from the chats without one', async () => {
    const large: Delta = { type: 'done', reason: 'stop', usage: { promptTokens: 9_000, completionTokens: 2 } }
    const { run, calls, records } = openTurn(() => say(text('Aye'), large), { contextTokens: 2_048 })
    const picture = { type: 'image' as const, url: 'data:image/png;base64,aaaa' }
    const words = { type: 'text' as const, text: 'What is this?' }
    const chat = longChat(80, 8)
    await run(sampleAsk({ messages: [...longChat(6, 8), { role: 'user', content: [words, picture] }] }))
    await run(sampleAsk({ messages: chat }))
    const afterPicture = calls.at(-1)?.messages.length
    await run(sampleAsk({ messages: chat }))
    expect(records.at(-1)?.cutTurns).toBeGreaterThan(records.at(-2)?.cutTurns ?? Infinity)
    expect(afterPicture).toBeGreaterThan(calls.at(-1)?.messages.length ?? Infinity)
  })

  test('a prompt refused twice is an error, not a loop', async () => {
    const { run, calls } = openTurn(async function* () {
      await Promise.resolve()
      yield* say()
      throw new AppError('context_length', 'too long')
    })
    await expect(run(sampleAsk())).rejects.toMatchObject({ code: 'context_length' })
    expect(calls).toHaveLength(2)
  })
})

describe('a client that leaves', () => {
  test('is recorded as cancelled when it stops reading', async () => {
    const { turn, records } = openTurn(() => say(text('One'), text('Two'), DONE))
    for await (const delta of turn(sampleAsk(), new AbortController().signal, undefined)) {
      expect(delta).toEqual(text('One'))
      break
    }
    expect(records).toMatchObject([{ status: 'cancelled' }])
  })

  test('is recorded as cancelled when its signal aborts', async () => {
    const gone = new AbortController()
    const { run, records } = openTurn(async function* (_call, signal) {
      yield await Promise.resolve(text('One'))
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', resolve)
        gone.abort()
      })
      throw new AppError('cancelled', 'gone')
    })
    await expect(run(sampleAsk(), gone.signal)).rejects.toMatchObject({ code: 'cancelled' })
    expect(records).toMatchObject([{ status: 'cancelled', errorCode: 'cancelled' }])
  })
})

describe('a task', () => {
  const task = sampleAsk({ task: 'title_generation', messages: [user('### Task:\nGenerate a title')] })

  test("goes out without persona, to the character's own model when no other is set", async () => {
    const { run, calls, records } = openTurn(() => say(text('Storm'), DONE))
    await run(task)
    expect(calls[0]?.model).toBe('base')
    expect(JSON.stringify(calls[0]?.messages)).not.toContain('lighthouse')
    expect(records).toMatchObject([{ kind: 'task', task: 'title_generation', characterId: null }])
  })

  test('asks the server to hold the answer to the shape that Open WebUI reads, unless the caller asked for another', async () => {
    const { run, calls } = openTurn(() => say(text('{"title":"Storm"}'), DONE))
    await run(task)
    await run({ ...task, responseFormat: { type: 'text' } })
    await run({ ...task, task: 'emoji_generation' })
    expect(calls[0]?.responseFormat).toMatchObject({
      type: 'json_schema',
      json_schema: { schema: { required: ['title'] } },
    })
    expect(calls[1]?.responseFormat).toEqual({ type: 'text' })
    expect(calls[2]).not.toHaveProperty('responseFormat')
  })

  test('goes to the task model, also when asked of the hidden task id', async () => {
    const { run, calls } = openTurn(() => say(text('Storm'), DONE), { taskModel: 'small' })
    await run(task)
    await run({ ...task, model: TASK_MODEL_ID })
    expect(calls.map((call) => call.model)).toEqual(['small', 'small'])
  })
})

describe("a character's own options", () => {
  const troupe = {
    options: { temperature: 0.4, stop: ['END'], maxTokens: 99, topK: 'many' },
    thinking: 'low',
  }

  test('count where the client says nothing, and are in the record', async () => {
    const { run, calls, records } = openTurn(() => say(text('Well.'), DONE), {
      card: { extensions: { troupe } },
    })
    await run(sampleAsk({ sampling: { temperature: 1 } }))
    expect(calls[0]).toMatchObject({
      sampling: { temperature: 1, stop: ['END'], maxTokens: 99 },
      maxTokens: 99,
      thinking: 'low',
    })
    expect(calls[0]?.sampling).not.toHaveProperty('topK')
    expect(records[0]?.anatomy?.options).toEqual({ temperature: 1, maxTokens: 99, stopStrings: 1 })
  })

  test('do not touch a task', async () => {
    const { run, calls } = openTurn(() => say(text('Title'), DONE), { card: { extensions: { troupe } } })
    await run(sampleAsk({ task: 'title_generation' }))
    expect(calls[0]?.sampling).toEqual({})
    expect(calls[0]).not.toHaveProperty('thinking')
  })

  test.each([
    [{ temperature: 1 }, { temperature: 0.4 }, { temperature: 1, topP: 0.9 }],
    [{}, { temperature: 0.4 }, { temperature: 0.4, topP: 0.9 }],
    [{}, {}, { temperature: 0.6, topP: 0.9 }],
    [{ topP: 0.5 }, {}, { temperature: 0.6, topP: 0.5 }],
  ])(
    'stand between the request and the makers of the model: %j over %j is %j',
    async (sampling, options, sent) => {
      const { run, calls } = openTurn(() => say(text('Well.'), DONE), {
        model: 'llama3.2:1b',
        card: { extensions: { troupe: { options } } },
      })
      await run(sampleAsk({ sampling }))
      expect(calls[0]?.sampling).toEqual(sent)
    },
  )

  test.each([
    [undefined, 0.7],
    [false, 0.7],
    [true, 0.6],
    ['low', 0.6],
  ])('thinking %j asks Qwen 3 for the temperature %d that it wants then', async (thinking, temperature) => {
    const { run, calls } = openTurn(() => say(text('Well.'), DONE), {
      model: 'qwen3:8b',
      card: { extensions: { troupe: { thinking } } },
    })
    await run(sampleAsk())
    expect(calls[0]?.sampling).toMatchObject({ temperature })
  })

  test.each([{ troupe: 'x' }, { troupe: { options: 7, layout: 'upside down', model: 3 } }, {}])(
    'that make no sense count as absent: %j',
    async (extensions) => {
      const { run, calls } = openTurn(() => say(text('Well.'), DONE), { card: { extensions } })
      await run(sampleAsk())
      expect(calls[0]?.sampling).toEqual({})
    },
  )
})

test('a chosen greeting is spoken from the card without a model call', async () => {
  const { run, calls, records, version } = openTurn(() => say(DONE))
  const [offer] = greetingOffers(version.card)
  const deltas = await run(
    sampleAsk({ messages: [user(offer?.prompt ?? '')], person: { id: '1', name: 'Tom' } }),
  )
  expect(deltas[0]).toEqual(text('Come in, Tom.'))
  expect(calls).toHaveLength(0)
  expect(records).toMatchObject([{ status: 'ok', characterId: 'mira' }])
})

describe('what macros tell', () => {
  const DICE = { description: '{{user}} wears {{pick:a,b,c,d,e,f,g,h}}{{roll:d1000}}, says {{model}}.' }
  const prefixOf = async (over: Partial<Ask>) => {
    const { run, calls } = openTurn(() => say(text('x'), DONE), { card: DICE })
    await run(sampleAsk(over))
    return calls[0]?.messages[0]?.role === 'system' ? calls[0].messages[0].text : ''
  }

  test('a user name is one line that shows what it is, of at most 64 characters', async () => {
    const name = `To\nm\u202E{{char}}${'x'.repeat(100)}`
    expect(await prefixOf({ person: { id: '1', name } })).toContain(
      `To m{{char}}${'x'.repeat(64 - 'To m{{char}}'.length)} wears`,
    )
    expect(await prefixOf({ person: { id: '1', name: '\u200B' } })).toContain('User wears')
  })

  test('dice fall once in a chat; without its id, once for who asks and how it began', async () => {
    const inChat = (chatId: string) => prefixOf({ conversation: { chatId } })
    expect(await inChat('chat-1')).toBe(await inChat('chat-1'))
    expect(await inChat('chat-1')).not.toBe(await inChat('chat-2'))
    const beganWith = (words: string) => prefixOf({ messages: [user(words)] })
    expect(await beganWith('Hello')).toBe(await beganWith('Hello'))
    expect(await beganWith('Hello')).not.toBe(await beganWith('Hi'))
    expect(await inChat('chat-1')).toContain('says base.')
  })
})

test('every request to one base model asks for the same window', async () => {
  const { run, calls } = openTurn(() => say(text('x'), DONE), { contextTokens: 4_096 })
  await run(sampleAsk())
  await run(sampleAsk({ sampling: { maxTokens: 7 } }))
  await run(sampleAsk({ task: 'tags_generation' }))
  expect(new Set(calls.map((call) => call.contextTokens))).toEqual(new Set([4_096]))
})

describe('with documents', () => {
  const passage = {
    ...{ chunkIds: [7], baseId: 'harbour', documentId: 'd1', documentName: 'log.md', documentTitle: 'Log' },
    ...{
      header: 'Log',
      text: 'Lit on 3 March.',
      page: null,
      startOffset: 0,
      endOffset: 15,
      score: 1,
      similarity: 0.7,
    },
  }
  const trace = {
    ...{ lookups: [], bases: ['harbour'], store: null, gate: null, pieces: [], notes: [], isCached: false },
    milliseconds: { words: 1, meaning: 0, rerank: 0, total: 2 },
  }
  const found = (passages: (typeof passage)[]): TurnParts['sources']['retrieval']['retrieve'] =>
    vi.fn(() => Promise.resolve({ passages, trace }))
  const open = (passages: (typeof passage)[], script: Script = () => say(text('In March [1].'), DONE)) =>
    openTurn(script, { retrieve: found(passages), contextTokens: 8_192 })

  test('the sources come before the first word, and the model reads what they say', async () => {
    const { run, calls } = open([passage])
    const told = await run(sampleAsk({ messages: [user('When?')] }))
    expect(told.map(({ type }) => type)).toEqual(['sources', 'text', 'done'])
    expect(told[0]).toMatchObject({ passages: [{ reference: 1, label: 'Log', text: 'Lit on 3 March.' }] })
    expect(JSON.stringify(calls[0]?.messages)).toContain('Lit on 3 March.')
  })

  test('the record counts their tokens and names them, without a word of them', async () => {
    const { run, records, details } = open([passage])
    await run(sampleAsk({ messages: [user('When?')] }))
    expect(records[0]?.tokensByPart['passage']).toBeGreaterThan(0)
    expect(records[0]?.anatomy?.parts.some(({ kind, label }) => kind === 'passage' && label === 'Log')).toBe(
      true,
    )
    expect(JSON.stringify(records)).not.toContain('3 March')
    expect(details).toMatchObject([{ passages: [{ document: 'd1', chunk: '7', score: 0.7, isUsed: true }] }])
  })

  test('nothing found tells nothing', async () => {
    const { run } = open([])
    expect((await run(sampleAsk())).map(({ type }) => type)).toEqual(['text', 'done'])
  })

  test('an answer that goes on after a tool does not tell its sources again', async () => {
    const { run } = open([passage])
    const messages = [
      user('When?'),
      { role: 'assistant', text: '', toolCalls: [{ id: 'c', name: 'look', arguments: '{}' }] } as const,
      { role: 'tool', text: 'seen', toolCallId: 'c' } as const,
    ]
    expect((await run(sampleAsk({ messages }))).map(({ type }) => type)).toEqual(['text', 'done'])
  })

  const whole = ['Log', 'Tides', 'Winds'].map((title) => ({
    ...{
      baseId: 'harbour',
      documentId: title,
      documentName: title,
      documentTitle: title,
      text: `All of ${title}.`,
    },
  }))
  test.each([
    ['Good evening.', []],
    ['High at six [2].', ['Log', 'Tides']],
    ['See [1, 3] and [12].', ['Log', 'Tides', 'Winds']],
  ])(
    'documents that always stand there are sources of %j only as far as it points at them',
    async (words, labels) => {
      const { run, calls } = openTurn(() => say(text(words.slice(0, 9)), text(words.slice(9)), DONE), {
        retrieve: async (question) => ({ ...(await found([])(question)), whole }),
        contextTokens: 8_192,
      })
      const told = await run(sampleAsk({ messages: [user('Hello')] }))
      const sources = told.flatMap((each) =>
        each.type === 'sources' ? each.passages.map(({ label }) => label) : [],
      )
      expect(sources).toEqual(labels)
      expect(told.at(-1)?.type).toBe('done')
      expect(JSON.stringify(calls[0]?.messages[0])).toContain('All of Winds.')
    },
  )

  test('a task looks nothing up', async () => {
    const retrieve = found([passage])
    const { run } = openTurn(() => say(text('Title'), DONE), { retrieve, taskModel: 'small' })
    await run(sampleAsk({ task: 'title_generation' }))
    expect(retrieve).not.toHaveBeenCalled()
  })

  test('an empty answer is an error without sources', async () => {
    const { turn } = open([passage], () => say(DONE))
    const told: Told[] = []
    const all = async () => {
      for await (const each of turn(sampleAsk(), new AbortController().signal, undefined)) told.push(each)
    }
    await expect(all()).rejects.toMatchObject({ code: 'upstream' })
    expect(told).toEqual([])
  })
})
