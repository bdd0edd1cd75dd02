/** What every provider promises (sidecar/src/providers/provider.ts), held against a server, real or fake. */
import { getEventListeners } from 'node:events'

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import type { Delta, ModelCall, Provider, ProviderDriver, ProviderOptions } from '#providers/provider.ts'

import { openTap, type Tap } from '../support/tap.ts'

/** What is known about a server before it is started. */
export interface Traits {
  driver: ProviderDriver
  model: string
  /** The window that a call asks for, and that the server therefore has. */
  contextTokens: number
  /** Absent for servers that answer to every name. */
  missingModel?: string
  /** The server leaves a connection open behind a stream. */
  keepsConnections: boolean
  /** The server tells how many tokens a text is. */
  countsTokens: boolean
  /** The server makes vectors, with the same model. */
  embeds: boolean
  /** The server measures its own times. */
  tellsTimings: boolean
  /** What the server answers to everything, if it is that simple. */
  story?: string
}

export interface Subject {
  /** As people configure it. */
  baseUrl: string
  close(): Promise<unknown>
}

/** The bound of the contract: so fast is a connection closed once nobody wants the answer. */
const CLOSING_MS = 100

/** The machine itself may stand still for longer than that; a connection that really stays open fails every time. */
const TIMED = { retry: 3 }

/** Enough of an answer for the first words in any dialect, and less than the whole of it. */
const FIRST_BYTES = 1_200

const cosine = (a: readonly number[] = [], b: readonly number[] = []): number => {
  const dot = a.reduce((sum, value, at) => sum + value * (b[at] ?? 0), 0)
  return dot / (Math.hypot(...a) * Math.hypot(...b))
}

type Done = Extract<Delta, { type: 'done' }>

interface Answer {
  text: string
  dones: Done[]
  deltas: Delta[]
}

export function providerSuite(name: string, traits: Traits, openSubject: () => Promise<Subject>): void {
  const { missingModel } = traits

  describe(name, () => {
    let subject: Subject
    let tap: Tap
    let opened: Provider[]

    beforeAll(async () => {
      subject = await openSubject()
    })
    afterAll(async () => {
      await subject.close()
    })
    beforeEach(async () => {
      opened = []
      tap = await openTap(subject.baseUrl)
    })
    afterEach(async () => {
      await Promise.all(opened.map((provider) => provider.close()))
      await tap.close()
    })

    function open(over: Partial<ProviderOptions> = {}): Provider {
      const limits = { connectTimeoutMs: 2_000, headersTimeoutMs: 60_000, idleTimeoutMs: 60_000 }
      const provider = traits.driver.open({ baseUrl: tap.url, ...limits, ...over })
      opened.push(provider)
      return provider
    }

    function call(over: Partial<ModelCall> = {}): ModelCall {
      return {
        model: traits.model,
        messages: [
          { role: 'system', text: 'You tell stories about the sea.' },
          { role: 'user', content: [{ type: 'text', text: 'Tell me a long story.' }] },
        ],
        stream: true,
        sampling: { temperature: 0, seed: 1 },
        contextTokens: traits.contextTokens,
        maxTokens: 24,
        keepTokens: 8,
        tools: [],
        extra: {},
        ...over,
      }
    }

    /** Has had its first answer, so that a test of one call sees the bytes and the connection of that call alone. */
    async function warm(over: Partial<ProviderOptions> = {}): Promise<Provider> {
      const provider = open(over)
      await collect(provider.stream(call({ maxTokens: 1 }), quiet()))
      return provider
    }

    const ask = (over: Partial<ModelCall> = {}, signal = quiet()) =>
      collect(open().stream(call(over), signal))

    // -- answers ------------------------------------------------------------------------------------------------------

    test('lists its models with their windows', async () => {
      const models = await open().models(quiet())
      const model = models.find((candidate) => candidate.name === traits.model)
      expect(model).toMatchObject({ chats: true, contextTokens: expect.any(Number) })
      expect(model?.contextTokens).toBeGreaterThanOrEqual(traits.contextTokens)
    })

    test('streams text and ends with one done that carries the usage', async () => {
      const { deltas, text, dones } = await ask()
      expect(text.length).toBeGreaterThan(20)
      expect(deltas.filter((delta) => delta.type === 'text').length).toBeGreaterThan(3)
      expect(dones).toHaveLength(1)
      expect(deltas.at(-1)).toBe(dones[0])
      expect(dones[0]?.usage?.promptTokens).toBeGreaterThan(5)
      const timings = { prefillMs: expect.any(Number), decodeMs: expect.any(Number) }
      if (traits.tellsTimings) expect(dones[0]?.timings).toMatchObject(timings)
    })

    test('bounds the length of the answer, and says so', async () => {
      const { dones } = await ask({ maxTokens: 9 })
      expect(dones).toMatchObject([{ reason: 'length', usage: { completionTokens: 9 } }])
    })

    test('hands the stop words on', async () => {
      const { text, dones } = await ask({ sampling: { temperature: 0, stop: ['e'] } })
      expect(text).not.toContain('e')
      expect(dones[0]?.reason).toBe('stop')
    })

    test('holds the answer to a JSON schema', async () => {
      const schema = {
        type: 'object',
        properties: { name: { type: 'string', enum: ['Mira'] } },
        required: ['name'],
      }
      const responseFormat = { type: 'json_schema', json_schema: { name: 'person', schema } }
      const { text } = await ask({ responseFormat, maxTokens: 200 })
      expect(JSON.parse(text)).toEqual({ name: 'Mira' })
    })

    test('counts a longer prompt as longer', async () => {
      const short = await ask({ maxTokens: 1 })
      const long = await ask({
        maxTokens: 1,
        messages: [{ role: 'user', content: [{ type: 'text', text: 'wave '.repeat(200) }] }],
      })
      const before = short.dones[0]?.usage?.promptTokens ?? 0
      expect(long.dones[0]?.usage?.promptTokens).toBeGreaterThan(before + 100)
    })

    test('counts the tokens of a text, where it tells', async () => {
      const provider = open()
      const count = async (text: string) => provider.countTokens?.(traits.model, text, quiet())
      const [short, long] = [await count('A storm.'), await count('A storm is coming. '.repeat(50))]
      expect(short === undefined).toBe(!traits.countsTokens)
      if (short === undefined || long === undefined) return
      expect(short).toBeGreaterThan(0)
      expect(long).toBeGreaterThan(short * 20)
    })

    test('gives the same answer in one piece where no stream is wanted', async () => {
      const inPieces = await ask({ maxTokens: 12 })
      const whole = await ask({ maxTokens: 12, stream: false })
      expect(whole.text).toBe(inPieces.text)
      expect(whole.dones).toMatchObject([{ reason: 'length', usage: { completionTokens: 12 } }])
      expect(whole.deltas.length).toBeLessThan(inPieces.deltas.length)
    })

    test('goes on with a text, without a chat template', async () => {
      const prompt = { text: 'One, two, three, four, five, six,' }
      const { text, dones } = await ask({ messages: [], prompt, maxTokens: 8 })
      expect(text.length).toBeGreaterThan(3)
      expect(dones).toMatchObject([{ reason: 'length', usage: { completionTokens: 8 } }])
      // A template alone would be longer than that.
      expect(dones[0]?.usage?.promptTokens).toBeLessThan(22)
    })

    test('makes one vector of each text, in their order', async () => {
      if (!traits.embeds) return
      const texts = ['A storm is coming.', 'The lamp is lit.', 'A storm is coming.']
      const call = { model: traits.model, texts, contextTokens: traits.contextTokens }
      const { vectors } = await open().embed(call, quiet())
      expect(vectors).toHaveLength(3)
      expect(vectors[0]?.length).toBeGreaterThan(4)
      expect(cosine(vectors[0], vectors[2])).toBeCloseTo(1, 3)
      expect(cosine(vectors[0], vectors[1])).toBeLessThan(0.999)
    })

    test('makes no vector of the beginning of a text that is too long', async () => {
      if (!traits.embeds) return
      const texts = ['wave '.repeat(traits.contextTokens * 2)]
      const call = { model: traits.model, texts, contextTokens: traits.contextTokens }
      await expect(open().embed(call, quiet())).rejects.toMatchObject({ code: 'context_length' })
    })

    test('reads the same text however the network cuts it', async () => {
      const whole = await ask()
      tap.slice(1)
      const cut = await ask()
      expect(cut.text).toBe(whole.text)
      expect(cut.text).not.toContain('\u{fffd}')
      if (traits.story !== undefined) expect(traits.story.startsWith(cut.text)).toBe(true)
    })

    test('uses a connection again where the server keeps it, and does without where it does not', async () => {
      const provider = open()
      for (let round = 0; round < 3; round += 1) {
        const { dones } = await collect(provider.stream(call({ maxTokens: 4 }), quiet()))
        expect(dones).toHaveLength(1)
      }
      expect(tap.accepted()).toBe(traits.keepsConnections ? 1 : 3)
    })

    test('keeps calls apart that run at the same time', async () => {
      const provider = open()
      const leaving = new AbortController()
      const left = collect(provider.stream(call(), leaving.signal))
      const stayed = collect(provider.stream(call(), quiet()))
      leaving.abort()
      await expect(left).rejects.toMatchObject({ code: 'cancelled' })
      expect((await stayed).dones).toHaveLength(1)
    })

    // -- refusals -----------------------------------------------------------------------------------------------------

    test('a prompt longer than the window is refused before the first word', async () => {
      const text = 'wave '.repeat(traits.contextTokens * 2)
      const messages = [{ role: 'user' as const, content: [{ type: 'text' as const, text }] }]
      const deltas: Delta[] = []
      const error = await errorOf(collect(open().stream(call({ messages }), quiet()), deltas))
      expect(error.code).toBe('context_length')
      expect(error.message).toContain(traits.model)
      expect(deltas).toEqual([])
    })

    if (missingModel !== undefined) {
      test('a model that the server does not have is named', async () => {
        const error = await errorOf(ask({ model: missingModel }))
        expect(error.code).toBe('model_not_found')
        expect(error.message).toContain(missingModel)
      })
    }

    test('where nothing answers, the address is named', async () => {
      await tap.close()
      const provider = open()
      const failures = await Promise.all([
        errorOf(collect(provider.stream(call(), quiet()))),
        errorOf(provider.models(quiet())),
      ])
      for (const error of failures) {
        expect(error.code).toBe('unavailable')
        expect(error.message).toContain(new URL(tap.url).host)
      }
      tap = await openTap(subject.baseUrl)
    })

    test('a connection that breaks before the answer is a fault of the server', async () => {
      const provider = await warm()
      tap.cutAfter(0)
      expect((await errorOf(collect(provider.stream(call(), quiet())))).code).toBe('upstream')
    })

    test('a connection that breaks within the answer is a fault of the server', async () => {
      const provider = await warm()
      tap.cutAfter(FIRST_BYTES)
      const { deltas, error } = await begun(provider)
      expect(error.code).toBe('upstream')
      expect(error.message).toContain('in the middle of an answer')
      expect(deltas.some((delta) => delta.type === 'done')).toBe(false)
    })

    // -- silence ------------------------------------------------------------------------------------------------------

    test('a server that never begins is given up', TIMED, async () => {
      tap.holdAfter(0)
      const error = await errorOf(collect(open({ headersTimeoutMs: 40 }).stream(call(), quiet())))
      expect(error.code).toBe('upstream_timeout')
      await tap.untilClosed(CLOSING_MS)
    })

    test('a server that falls silent is given up', TIMED, async () => {
      const provider = await warm({ idleTimeoutMs: 40 })
      tap.holdAfter(FIRST_BYTES)
      const { error } = await begun(provider)
      expect(error.code).toBe('upstream_timeout')
      await tap.untilClosed(CLOSING_MS)
    })

    // -- leaving ------------------------------------------------------------------------------------------------------

    test('a call that is already cancelled asks nobody', async () => {
      expect((await errorOf(ask({}, AbortSignal.abort()))).code).toBe('cancelled')
      expect(tap.accepted()).toBe(0)
    })

    test('cancelling before the answer closes the connection at once', TIMED, async () => {
      const provider = await warm()
      tap.holdAfter(0)
      const leaving = new AbortController()
      const failure = errorOf(collect(provider.stream(call(), leaving.signal)))
      await pause(20)
      const sinceMs = performance.now()
      leaving.abort()
      expect((await failure).code).toBe('cancelled')
      await expectClosed(sinceMs)
    })

    test('cancelling within the answer closes the connection at once', TIMED, async () => {
      const provider = await warm()
      tap.holdAfter(FIRST_BYTES)
      const leaving = new AbortController()
      const answer = provider.stream(call(), leaving.signal)
      await answer.next()
      const rest = errorOf(collect(answer))
      await pause(20)
      const sinceMs = performance.now()
      leaving.abort()
      expect((await rest).code).toBe('cancelled')
      await expectClosed(sinceMs)
    })

    test('leaving the loop closes the connection at once', TIMED, async () => {
      const provider = await warm()
      tap.holdAfter(FIRST_BYTES)
      let sinceMs = 0
      for await (const delta of provider.stream(call(), quiet())) {
        expect(delta.type).toBe('text')
        sinceMs = performance.now()
        break
      }
      await expectClosed(sinceMs)
    })

    test('leaving is heard while the next word is awaited', TIMED, async () => {
      const provider = await warm()
      tap.holdAfter(FIRST_BYTES)
      const answer = provider.stream(call(), quiet())
      await answer.next()
      const waiting = errorOf(collect(answer))
      await pause(20)
      const sinceMs = performance.now()
      await answer.return()
      expect((await waiting).code).toBe('cancelled')
      await expectClosed(sinceMs)
    })

    test('no listener stays on the signal, however the call ends', async () => {
      const { signal } = new AbortController()
      const provider = open()
      await collect(provider.stream(call({ maxTokens: 2 }), signal))
      tap.cutAfter(FIRST_BYTES)
      await errorOf(collect(provider.stream(call(), signal)))
      tap.holdAfter(FIRST_BYTES)
      for await (const _ of provider.stream(call(), signal)) break
      tap.cutAfter(0)
      await errorOf(provider.models(signal))
      expect(getEventListeners(signal, 'abort')).toEqual([])
    })

    test('closing the provider ends its calls', async () => {
      const provider = await warm()
      tap.holdAfter(FIRST_BYTES)
      const answer = provider.stream(call(), quiet())
      await answer.next()
      const rest = errorOf(collect(answer))
      await provider.close()
      expect((await rest).code).toBe('cancelled')
      await tap.untilClosed()
    })

    // -- helpers ------------------------------------------------------------------------------------------------------

    /** A call that says something before it fails. */
    async function begun(provider: Provider) {
      const deltas: Delta[] = []
      const error = await errorOf(collect(provider.stream(call(), quiet()), deltas))
      expect(deltas.length).toBeGreaterThan(0)
      return { deltas, error }
    }

    async function expectClosed(sinceMs: number): Promise<void> {
      await tap.untilClosed()
      expect((tap.lastClosedAtMs() ?? Number.POSITIVE_INFINITY) - sinceMs).toBeLessThan(CLOSING_MS)
    }
  })
}

const quiet = (): AbortSignal => new AbortController().signal

async function collect(stream: AsyncIterable<Delta>, into: Delta[] = []): Promise<Answer> {
  for await (const delta of stream) into.push(delta)
  return {
    text: into.map((delta) => (delta.type === 'text' ? delta.text : '')).join(''),
    dones: into.filter((delta) => delta.type === 'done'),
    deltas: into,
  }
}

async function errorOf(work: Promise<unknown>): Promise<AppError> {
  try {
    await work
  } catch (error) {
    if (error instanceof AppError) return error
    throw error
  }
  throw new Error('It was expected to fail')
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
