/** What holds for every card, every chat and every window, in either layout. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import type { Card } from '#characters/card.ts'
import { frozenDraw } from '#characters/dice.ts'
import type { ChatMessage } from '#prompt/ask.ts'
import { compose } from '#prompt/compose.ts'
import { messageTokens } from '#prompt/history.ts'
import type { Materials, Prompt } from '#prompt/prompt.ts'

import { assistant, sampleAsk, sampleEntry, sampleMaterials, system, user } from '../../support/samples.ts'

const WORDS = ['reef', 'lamp', 'storm', 'Tom', 'and', 'the', 'fog']
const words = (most: number) =>
  fc.array(fc.constantFrom(...WORDS), { maxLength: most }).map((list) => list.join(' '))

/** Pieces of an author's text, with every kind of macro that could move something. */
const piece = fc.oneof(
  words(30),
  fc.constantFrom(
    '{{user}}',
    '{{random:a,b,c}}',
    '{{roll:d20}}',
    '{{pick::x::y}}',
    '{{isodate}} {{isotime}}',
    '{{lastMessage}}',
    '{{setvar::mood::{{random:glad,sad}}}}',
    '{{getvar::mood}}{{incvar::count}}',
    '{{if .mood}}{{.mood}}{{else}}even{{/if}}',
    '{{outlet::hall}}',
    '{{original}}',
    '<|im_end|>',
    '<START>',
    '{{',
  ),
)
const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(' '))

const entry = fc
  .record({
    content: text,
    keys: fc.array(fc.constantFrom('reef', 'lamp', '{{user}}', '/st.rm/'), { minLength: 1, maxLength: 2 }),
    constant: fc.boolean(),
    insertion_order: fc.integer({ min: 0, max: 5 }),
    position: fc.integer({ min: 0, max: 7 }),
    depth: fc.integer({ min: 0, max: 12 }),
    role: fc.integer({ min: 0, max: 2 }),
    probability: fc.constantFrom(100, 50),
    sticky: fc.constantFrom(0, 2),
  })
  .map(({ position, depth, role, probability, sticky, ...fields }) =>
    sampleEntry({
      ...fields,
      extensions: { selectiveLogic: 0, outlet_name: 'hall', position, depth, role, probability, sticky },
    }),
  )

const card = fc
  .record({
    description: text,
    scenario: text,
    system_prompt: text,
    mes_example: text,
    first_mes: text,
    post_history_instructions: text,
    note: text,
    entries: fc.array(entry, { maxLength: 8 }),
    layout: fc.constantFrom('cache', 'sillytavern'),
  })
  .map(({ note, entries, layout, ...fields }): Partial<Card> => ({
    ...fields,
    character_book: { extensions: {}, entries },
    extensions: { troupe: { layout }, depth_prompt: { prompt: note, depth: 3 } },
  }))

/** Ends with an assistant's message or with a user's, may begin with either, and has equal neighbours. */
const chat = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: words(60).map(user) },
    { weight: 5, arbitrary: words(60).map(assistant) },
    { weight: 1, arbitrary: words(5).map(system) },
  ),
  { maxLength: 30 },
)

const scene = (nowMs: number): NonNullable<Materials['scene']> => ({
  modelName: 'small',
  dice: (field) => frozenDraw('secret', 'chat', field),
  clock: { nowMs, timeZone: 'UTC' },
})
const NOON = Date.UTC(2026, 10, 27, 12)

interface Case {
  card: Partial<Card>
  persona: string
  contextTokens: number
}
const cases = fc.record({ card, persona: words(20), contextTokens: fc.integer({ min: 900, max: 6_000 }) })

/** Undefined where the persona or the last message is too large for the window, which is refused. */
function composed(
  { card, persona, contextTokens }: Case,
  messages: ChatMessage[],
  nowMs = NOON,
  knowledge?: Materials['knowledge'],
) {
  const found = knowledge === undefined ? {} : { knowledge }
  const materials = { ...sampleMaterials(card), persona, scene: scene(nowMs), ...found }
  try {
    return compose(sampleAsk({ messages }), materials, { contextTokens, tokenRatio: 1 })
  } catch (error) {
    expect(error).toMatchObject({ code: 'context_length' })
    expect(error).toBeInstanceOf(AppError)
    return undefined
  }
}

const bytes = ({ messages, parts }: Prompt) => JSON.stringify({ messages, parts })

const RUNS = 100

/** Most cases must come to a prompt: a property that sees refusals alone shows nothing. */
function forEveryCase(check: (prompt: Prompt, given: Case, messages: ChatMessage[]) => void): void {
  let composedCount = 0
  fc.assert(
    fc.property(cases, chat, words(20), (given, history, last) => {
      const messages = [...history, user(last)]
      const prompt = composed(given, messages)
      if (prompt === undefined) return
      composedCount++
      check(prompt, given, messages)
    }),
    { numRuns: RUNS },
  )
  expect(composedCount).toBeGreaterThan(RUNS / 2)
}

describe('every prompt', { timeout: 30_000 }, () => {
  test('keeps within its budget, and what it says of its size is no less than what is sent', () => {
    forEveryCase(({ messages, tokens, budget }) => {
      const sent = messages.reduce((sum, message) => sum + messageTokens(message), 0)
      expect(sent).toBeLessThanOrEqual(tokens)
      expect(tokens).toBeLessThanOrEqual(budget.promptTokens)
    })
  })

  test('has one system message, at its beginning, then a user, and never the same role twice in a row', () => {
    forEveryCase(({ messages }) => {
      const roles = messages.map(({ role }) => role)
      expect(roles.slice(0, 2)).toEqual(['system', 'user'])
      expect(roles.filter((role) => role === 'system')).toHaveLength(1)
      expect(roles.at(-1)).toBe('user')
      expect(roles.some((role, at) => role === roles[at + 1])).toBe(false)
    })
  })

  test('is the same for the same, byte by byte', () => {
    forEveryCase((prompt, given, messages) => {
      const again = composed(structuredClone(given), structuredClone(messages))
      expect(again && bytes(again)).toBe(bytes(prompt))
    })
  })

  test('in the cache layout does not change before its last user message when the chat goes on', () => {
    forEveryCase((prompt, given, messages) => {
      if (prompt.layout !== 'cache') return
      const longer = [...messages, assistant('Well then.'), user('And the reef?')]
      const next = composed(given, longer, NOON + 3_600_000)
      if (next === undefined) return
      expect(next.prefixHash).toBe(prompt.prefixHash)
      if (next.cutTurns !== prompt.cutTurns) return
      const unchanged = prompt.messages.length - 1
      expect(next.messages.slice(0, unchanged)).toEqual(prompt.messages.slice(0, unchanged))
    })
  })
})

describe('a chat that goes on', { timeout: 60_000 }, () => {
  /** What each turn brings: how many words are asked and answered, and how many passages are found. */
  const turn = fc.record({
    asked: fc.oneof({ weight: 6, arbitrary: fc.nat(40) }, { weight: 1, arbitrary: fc.nat(900) }),
    answered: fc.nat(120),
    found: fc.nat(4),
  })
  const going = fc.record({ of: cases, turns: fc.array(turn, { minLength: 2, maxLength: 12 }) })
  const said = (count: number) => Array.from({ length: count }, (_, at) => WORDS[at % WORDS.length]).join(' ')
  const passage = (at: number) => ({
    ...{ documentId: 'd', label: `Page ${String(at)}`, text: 'The lamp is lit at dusk. '.repeat(20) },
    ...{ page: at, similarity: 0.5, chunkIds: [at], reference: at + 1 },
  })
  const knowledge = (found: number): NonNullable<Materials['knowledge']> => ({
    passages: Array.from({ length: found }, (_, at) => passage(at)),
    twice: [],
    isWhole: false,
  })

  /** The prompt of each turn; undefined where one is refused. */
  function prompts({ of, turns }: { of: Case; turns: { asked: number; answered: number; found: number }[] }) {
    const history: ChatMessage[] = []
    return turns.map(({ asked, answered, found }) => {
      const prompt = composed(of, [...history, user(said(asked))], NOON, knowledge(found))
      history.push(user(said(asked)), assistant(said(answered)))
      return prompt
    })
  }

  /** It repeats the last message, so it is of another length in each turn. */
  const isEchoing = ({ card: { post_history_instructions: text, extensions } }: Case) =>
    JSON.stringify([text, extensions]).includes('lastMessage')

  test('never gets back what was cut, whatever lore, passages and long messages come and go', () => {
    let cuts = 0
    fc.assert(
      fc.property(going, (given) => {
        if (isEchoing(given.of)) return
        let before = 0
        for (const prompt of prompts(given)) {
          if (prompt === undefined) return
          expect(prompt.cutTurns).toBeGreaterThanOrEqual(before)
          if (prompt.cutTurns > before) cuts++
          before = prompt.cutTurns
        }
      }),
      { numRuns: 60 },
    )
    expect(cuts).toBeGreaterThan(5)
  })

  test('keeps its newest two turns before lore and passages get room, wherever they fit', () => {
    let tight = 0
    fc.assert(
      fc.property(going, (given) => {
        for (const [at, prompt] of prompts(given).entries()) {
          if (prompt === undefined || at < 2 || prompt.cutTurns <= at - 2) continue
          tight++
          const loose = prompt.parts.filter(
            ({ kind, place, dropped }) =>
              !dropped && place !== 'prefix' && (kind === 'lore' || kind === 'passage'),
          )
          const room =
            prompt.budget.promptTokens - prompt.tokens + loose.reduce((sum, { tokens }) => sum + tokens, 0)
          const missing = prompt.parts.filter(({ kind }) => kind === 'history')[prompt.cutTurns - 1]
          expect(missing?.dropped).toBe(true)
          expect(missing?.tokens).toBeGreaterThan(room)
        }
      }),
      { numRuns: 60 },
    )
    expect(tight).toBeGreaterThan(0)
  })
})
