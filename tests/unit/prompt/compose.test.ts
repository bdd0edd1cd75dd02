import { describe, expect, test } from 'vitest'

import { AppError } from '#base/errors.ts'
import { frozenDraw } from '#characters/dice.ts'
import { messageText, type ChatMessage } from '#prompt/ask.ts'
import { compose, composeExplained } from '#prompt/compose.ts'

import {
  assistant,
  longChat,
  sampleAsk,
  sampleEntry,
  sampleMaterials,
  system,
  user,
} from '../../support/samples.ts'

const PROFILE = { contextTokens: 2_048, tokenRatio: 1 }
const composed = (messages: ChatMessage[], card = {}, profile = PROFILE) => {
  const { prompt, lore } = composeExplained(sampleAsk({ messages }), sampleMaterials(card), profile)
  return { ...prompt, lore }
}
const texts = (messages: readonly ChatMessage[]) =>
  messages.map((message) => `${message.role}: ${messageText(message)}`)

describe('the cache layout', () => {
  test('puts persona, scenario, constant lore, examples and greeting into one leading system message', () => {
    const book = {
      extensions: {},
      entries: [
        sampleEntry({ content: 'second', insertion_order: 2 }),
        sampleEntry({ content: 'first', insertion_order: 1 }),
        sampleEntry({ content: 'after', position: 'after_char', insertion_order: 0 }),
        sampleEntry({ content: 'asleep', enabled: false }),
        sampleEntry({ content: 'keyed', constant: false, keys: ['lamp'] }),
      ],
    }
    const { messages } = composed([user('Hello')], { character_book: book })
    expect(messages).toHaveLength(2)
    const [lead] = messages
    expect(lead?.role).toBe('system')
    const text = lead === undefined ? '' : messageText(lead)
    const order = [
      'keeps a lighthouse',
      'calm',
      'A storm',
      'first',
      'second',
      'after',
      'Mind the step',
      'Come in, Tom',
    ]
    const places = order.map((piece) => text.indexOf(piece))
    expect(places.every((place) => place >= 0)).toBe(true)
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(text).not.toContain('asleep')
    expect(text).not.toContain('keyed')
    expect(text).not.toContain('{{')
  })

  test('a system prompt of the card replaces the default and may quote it', () => {
    const { messages } = composed([user('Hello')], { system_prompt: 'Speak in rhyme. {{original}}' })
    expect(texts(messages)[0]).toMatch(/^system: Speak in rhyme\. You are Mira Holt/)
  })

  test('what replaces nothing quotes nothing', () => {
    const { messages } = composed([user('Hello')], {
      ...{ system_prompt: 'Be brief. {{description}}', description: 'Tall{{original}}.' },
      ...{ scenario: 'Rain{{original}}.', first_mes: 'Hi{{original}}.' },
      character_book: {
        extensions: {},
        entries: [sampleEntry({ constant: true, content: 'Sea{{original}}.' })],
      },
    })
    const [prefix = ''] = texts(messages)
    expect(prefix).toMatch(/Be brief\. Tall\.[^]*Tall\.[^]*Rain\.[^]*Sea\.[^]*Hi\./)
    expect(prefix).not.toContain('in conversation with')
  })

  test('the post-history instructions stand before the words in the last user message, not in a second system message', () => {
    const { messages } = composed([user('One'), assistant('Two'), user('Three')], {
      post_history_instructions: 'Answer {{user}} briefly.',
    })
    expect(texts(messages).slice(1)).toEqual([
      'user: One',
      'assistant: Two',
      'user: [Note to Mira Holt: Answer Tom briefly.]\n\nThree',
    ])
  })

  test("the client's system text comes last in the prefix and its macros stay as they are", () => {
    const { messages } = composed([system('House rule {{char}}'), user('Hello')])
    expect(texts(messages)[0]).toMatch(/## Further instructions\nHouse rule \{\{char\}\}$/)
  })

  test('two user messages in a row become one, and a chat that opens with the assistant gets a user turn before it', () => {
    const { messages } = composed([assistant('Come in.'), user('a'), user('b')])
    expect(texts(messages).slice(1)).toEqual([
      'user: [The conversation begins.]',
      'assistant: Come in.',
      'user: a\nb',
    ])
  })

  test('a tool loop keeps its messages behind the user turn', () => {
    const call = { id: 'c1', name: 'look', arguments: '{}' }
    const loop: ChatMessage[] = [
      user('Look'),
      { role: 'assistant', text: '', toolCalls: [call] },
      { role: 'tool', text: 'fog', toolCallId: 'c1' },
    ]
    expect(composed(loop).messages.slice(1)).toEqual(loop)
  })
})

describe('the prefix', () => {
  test('is byte-equal over all turns of a chat, and everything before the last user turn stays when a turn is added', () => {
    const chat = longChat(6, 10)
    const before = composed(chat, { post_history_instructions: 'Briefly.' })
    const after = composed([...chat, assistant('Then rest.'), user('Why?')], {
      post_history_instructions: 'Briefly.',
    })
    expect(after.prefixHash).toBe(before.prefixHash)
    expect(texts(after.messages).slice(0, before.messages.length - 1)).toEqual(
      texts(before.messages).slice(0, -1),
    )
  })

  test('changes its hash with the character version', () => {
    expect(composed([user('x')]).prefixHash).not.toBe(
      composed([user('x')], { scenario: 'Calm sea.' }).prefixHash,
    )
  })
})

describe('what the person tells of themselves', () => {
  const materials = {
    ...sampleMaterials({
      description: 'Knows {{persona}}.',
      character_book: {
        extensions: {},
        entries: [
          sampleEntry({
            ...{ constant: false, keys: ['botanist'], content: 'Plants of the coast.' },
            extensions: { match_persona_description: true, selectiveLogic: 0 },
          }),
        ],
      },
    }),
    persona: 'A botanist called {{char}} <|im_end|>',
  }
  const { messages, parts } = compose(
    sampleAsk({ messages: [system('House rule'), user('Hello')] }),
    materials,
    PROFILE,
  )

  test("stands behind all of the author's texts, before the client's; it is neither expanded nor a mark", () => {
    const text = texts(messages)[0] ?? ''
    expect(text).toContain('Knows A botanist called {{char}}')
    expect(text).toMatch(/## Tom\nA botanist called \{\{char\}\}[^]*## Further instructions\nHouse rule$/)
    expect(text).not.toContain('<|im_end|>')
    expect(parts.map(({ kind }) => kind)).toContain('user_persona')
  })

  test('calls up lore that looks for it', () => {
    expect(texts(messages).at(-1)).toContain('Plants of the coast')
  })
})

test('a character may ask for lore from further back until enough entries are on', () => {
  const entry = (key: string) =>
    sampleEntry({ constant: false, keys: [key], content: `About ${key}.`, extensions: { selectiveLogic: 0 } })
  const chat = [user('the reef'), assistant('Well?'), user('the mill'), assistant('Well?'), user('Hm?')]
  const activeWith = (lore: object) =>
    composed(chat, {
      character_book: { extensions: {}, scan_depth: 1, entries: [entry('reef'), entry('mill')] },
      extensions: { troupe: { lore } },
    }).parts.filter(({ kind, place }) => kind === 'lore' && place === 'tail').length
  expect(activeWith({})).toBe(0)
  expect(activeWith({ minimumActivations: 1 })).toBe(1)
  expect(activeWith({ minimumActivations: 2 })).toBe(2)
  expect(activeWith({ minimumActivations: 2, deepest: 3 })).toBe(1)
})

describe('lore that the conversation calls up', () => {
  const book = {
    name: 'The coast',
    extensions: {},
    entries: [
      sampleEntry({ constant: true, content: 'The lamp burns oil.', name: 'lamp' }),
      sampleEntry({ constant: false, keys: ['reef'], content: '{{char}} fears the reef.', name: 'reef' }),
      sampleEntry({ constant: false, keys: ['oil'], content: 'Oil comes in barrels.', name: 'oil' }),
      sampleEntry({ constant: false, keys: ['gull'], content: 'Gulls steal.', name: 'gull' }),
    ],
  }
  const about = (words: string, over = {}) =>
    composed([user('Hello'), assistant('Well?'), user(words)], { character_book: { ...book, ...over } })

  test('stands in the last user message, before the words; the prefix stays the same', () => {
    const plain = about('How are you?')
    const called = about('What about the reef?')
    expect(called.prefixHash).toBe(plain.prefixHash)
    expect(texts(called.messages).slice(0, -1)).toEqual(texts(plain.messages).slice(0, -1))
    expect(texts(called.messages).at(-1)).toMatch(
      /\[World: Mira Holt fears the reef\.\][^]*What about the reef\?$/,
    )
    expect(texts(plain.messages).at(-1)).not.toContain('World')
    expect(called.parts.find(({ label }) => label === 'reef')).toMatchObject({
      kind: 'lore',
      place: 'tail',
      dropped: false,
      reason: 'called up: "reef" in the newest message',
    })
  })

  test('is called up by what stands in the prefix, where the book is recursive', () => {
    expect(texts(about('Hm?', { recursive_scanning: true }).messages).at(-1)).toContain(
      'Oil comes in barrels',
    )
    expect(texts(about('Hm?').messages).at(-1)).not.toContain('Oil comes in barrels')
  })

  test('is not called up by thoughts, nor by what Open WebUI adds to a question', () => {
    for (const unspoken of [
      '<think>reef</think>',
      '<details type="reasoning">reef</details>',
      '<context>reef</context>',
    ])
      expect(
        about(`${unspoken} Hm?`)
          .lore()
          .filter(({ isActive }) => isActive),
      ).toHaveLength(1)
  })

  test('takes a quarter of the prompt at most, and never the place of persona or words', () => {
    const long = sampleEntry({ constant: false, keys: ['reef'], content: 'reef '.repeat(600), name: 'long' })
    const entries = [...book.entries, ...Array.from({ length: 10 }, () => long)]
    const { parts, budget, tokens, lore } = about('What about the reef?', { entries })
    const spent = parts
      .filter(({ kind, place }) => kind === 'lore' && place === 'tail')
      .map((part) => part.tokens)
    expect(spent.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(budget.promptTokens / 4)
    expect(tokens).toBeLessThanOrEqual(budget.promptTokens)
    expect(lore()).toHaveLength(14)
    expect(lore().at(-1)?.reason).toContain('no room')
  })
})

describe('an outlet', () => {
  const at = (outlet_name: string, over: Parameters<typeof sampleEntry>[0] = {}) =>
    sampleEntry({ extensions: { position: 7, outlet_name, selectiveLogic: 0 }, ...over })
  const called = (outlet: string, content: string) =>
    at(outlet, { constant: false, keys: ['reef'], content, name: content })
  const seen = (card: object, entries: ReturnType<typeof sampleEntry>[], words = 'the reef') =>
    texts(composed([user(words)], { ...card, character_book: { extensions: {}, entries } }).messages)

  test('in a text of the prefix takes what is always on, and that stands nowhere else', () => {
    const [system = '', last = ''] = seen({ scenario: 'Rules: {{outlet::rules}}.' }, [
      at('rules', { content: 'Second', insertion_order: 2 }),
      at('rules', { content: '{{char}} first', insertion_order: 1 }),
      at('others', { content: 'Elsewhere' }),
      called('rules', 'Only now'),
    ])
    expect(system).toContain('Rules: Mira Holt first\nSecond.')
    expect(system.match(/Second/g)).toHaveLength(1)
    expect(system).toContain('## World\nElsewhere')
    expect(system).not.toContain('Only now')
    expect(last).toContain('[World: Only now]')
  })

  test('in a text that is sent anew takes what the conversation calls up, and is empty else', () => {
    const card = { post_history_instructions: 'Mind {{outlet:: mood }}!' }
    const entries = [called('mood', 'the fog'), at('mood', { content: 'the cold', insertion_order: -1 })]
    expect(seen(card, entries).at(-1)).toBe('user: [Note to Mira Holt: Mind the cold\nthe fog!]\n\nthe reef')
    expect(seen(card, entries, 'Hm?').at(-1)).toBe('user: [Note to Mira Holt: Mind the cold!]\n\nHm?')
    expect(seen(card, entries)[0]).not.toContain('the cold')
  })

  test('that would take more room than there is leaves its lore where other lore stands', () => {
    const post_history_instructions = '{{outlet::mood}}'.repeat(12)
    const prompt = composed(
      [user('the reef')],
      {
        post_history_instructions,
        character_book: { extensions: {}, entries: [called('mood', 'fog '.repeat(250))] },
      },
      { contextTokens: 2_048, tokenRatio: 1 },
    )
    expect(texts(prompt.messages).at(-1)).toMatch(/^user: \[World: (fog ){249}fog\]\n\nthe reef$/)
    expect(prompt.tokens).toBeLessThanOrEqual(prompt.budget.promptTokens)
  })

  test('is what an author quotes: macros in it are not expanded twice, and marks of templates are none', () => {
    const [system = ''] = seen({ scenario: '{{outlet::x}}' }, [at('x', { content: '{{user}} <|im_end|>' })])
    expect(system).not.toContain('<|im_end|>')
    expect(system).toContain('## Scenario\nTom')
  })
})

describe('a variable', () => {
  const entry = sampleEntry({
    ...{ constant: false, keys: ['reef'], content: '{{getvar::mood}}{{setvar::mood::afraid}} {{incvar::n}}' },
    extensions: { selectiveLogic: 0 },
  })
  const card = {
    description: '{{setvar::mood::calm}}{{setvar::n::4}}Calm.',
    scenario: 'Feels {{getvar::mood}}.{{getvar::late}}',
    post_history_instructions: '{{setvar::late::x}}{{getvar::mood}} {{getvar::n}}',
    character_book: { extensions: {}, entries: [entry, { ...entry, name: 'other' }] },
  }

  test('is set by the texts in their order: the prefix, the lore, the instructions; and anew in each turn', () => {
    const plain = texts(composed([user('Hello')], card).messages)
    expect(plain[0]).toContain('Feels calm.')
    expect(plain.at(-1)).toBe('user: [Note to Mira Holt: calm 4]\n\nHello')
    const called = texts(composed([user('Hello'), assistant('Well?'), user('The reef')], card).messages)
    expect(called[0]).toBe(plain[0])
    expect(called.at(-1)).toBe(
      'user: [World: calm 5]\n\n[World: calm 5]\n\n[Note to Mira Holt: afraid 6]\n\nThe reef',
    )
    expect(texts(composed([user('The reef')], card).messages).at(-1)).toBe(called.at(-1))
  })
})

test('a key may be the name of the person or of the character', () => {
  const about = (key: string, over = {}) =>
    sampleEntry({ constant: false, keys: [key], content: `${key} known`, name: key, ...over })
  const card = {
    character_book: {
      extensions: {},
      entries: [
        about('friend of {{user}}'),
        about('{{char}}’s lamp'),
        about('x', { secondary_keys: ['{{user}}'], selective: true }),
      ],
    },
  }
  const active = (words: string, userName: string) =>
    composeExplained(sampleAsk({ messages: [user(words)] }), sampleMaterials(card, userName), PROFILE)
      .lore()
      .filter(({ isActive }) => isActive)
      .map(({ label }) => label)
  expect(active('a friend of Tom', 'Tom')).toEqual(['friend of {{user}}'])
  expect(active('a friend of Tom', 'Ada')).toEqual([])
  expect(active('Mira Holt’s lamp', 'Ada')).toEqual(['{{char}}’s lamp'])
  expect(active('x', 'Ada')).toEqual(['x'])
})

describe('dice and the clock', () => {
  const CARD = {
    description:
      'Wears {{random:red,green,blue,white}} and rolled {{roll:d1000}}. Today is {{isodate}}{{isotime}}.',
    post_history_instructions: 'Rolled {{roll:d1000}} at {{isotime}} after "{{lastCharMessage}}".',
  }
  const CHAT = [user('Hello'), assistant('Well?'), user('And then?')]
  const at = (chat: string, nowMs: number, messages: ChatMessage[]) => {
    const scene = {
      modelName: 'small',
      dice: (field: string) => frozenDraw('secret', chat, field),
      clock: { nowMs, timeZone: 'UTC' },
    }
    return texts(compose(sampleAsk({ messages }), { ...sampleMaterials(CARD), scene }, PROFILE).messages)
  }
  const MORNING = Date.UTC(2026, 10, 23, 8)

  test('fall once in a chat for the prefix, and anew each turn behind it', () => {
    const first = at('chat-1', MORNING, CHAT.slice(0, 1))
    const second = at('chat-1', MORNING + 3_600_000, CHAT)
    expect(second[0]).toBe(first[0])
    expect(second[0]).toContain('Today is 2026-11-23.')
    expect(first[1]).toMatch(/Rolled \d+ at 08:00 after ""/)
    expect(second[3]).toMatch(/Rolled \d+ at 09:00 after "Well\?"/)
    expect(/Rolled (\d+)/.exec(second[3] ?? '')?.[1]).not.toBe(/Rolled (\d+)/.exec(first[1] ?? '')?.[1])
    expect(at('chat-1', MORNING, CHAT)).toEqual(at('chat-1', MORNING, CHAT))
    expect(at('chat-2', MORNING, CHAT)[0]).not.toBe(second[0])
  })
})

describe('the budget', () => {
  test('an over-long history is cut at a user turn, the parts say so, and persona and last message stay whole', () => {
    const prompt = composed(longChat(60))
    expect(prompt.cutTurns).toBeGreaterThan(0)
    expect(prompt.parts.filter((part) => part.kind === 'history' && part.dropped)).toHaveLength(
      prompt.cutTurns,
    )
    expect(prompt.messages[1]?.role).toBe('user')
    expect(texts(prompt.messages)[0]).toContain('keeps a lighthouse')
    expect(texts(prompt.messages).at(-1)).toBe('user: And now?')
    expect(prompt.tokens).toBeLessThanOrEqual(prompt.budget.promptTokens)
  })

  test('between two cuts the kept history only grows', () => {
    const cuts = Array.from({ length: 120 }, (_, turns) => composed(longChat(turns, 8)).cutTurns)
    const steps = cuts.filter((cut, at) => at > 0 && cut !== cuts[at - 1]).length
    expect(steps).toBeGreaterThan(1)
    expect(steps).toBeLessThan(cuts.length / 6)
    expect(cuts).toEqual([...cuts].sort((a, b) => a - b))
  })

  test('a persona that cannot fit is refused with its size, never cut', () => {
    const thrown = () => composed([user('Hi')], { description: 'word '.repeat(3_000) })
    expect(thrown).toThrow(AppError)
    expect(thrown).toThrow(/The persona of Mira Holt .* needs about 3\d{3} tokens/)
  })

  test('a last message that cannot fit beside the persona is refused', () => {
    expect(() => composed([user('word '.repeat(3_000))])).toThrow(
      /The last message needs about 3\d{3} tokens/,
    )
  })

  test('examples give way to the conversation, whole and from the last one on, and the part list says so', () => {
    const mes_example = Array.from(
      { length: 6 },
      (_, at) => `<START>\nexample ${String(at)} ${'word '.repeat(250)}`,
    ).join('\n')
    const prompt = composed([user('Hi')], { mes_example })
    const examples = prompt.parts.filter((part) => part.kind === 'examples')
    const dropped = examples.map((part) => part.dropped)
    expect(dropped[0]).toBe(false)
    expect(dropped.at(-1)).toBe(true)
    expect(dropped).toEqual([...dropped].sort())
  })

  test('a learned ratio shrinks what we send by as much', () => {
    const plain = composed(longChat(80, 8)).tokens
    const stricter = composed(longChat(80, 8), {}, { ...PROFILE, tokenRatio: 1.5 }).tokens
    expect(stricter * 1.5).toBeLessThanOrEqual(PROFILE.contextTokens)
    expect(stricter).toBeLessThan(plain)
  })

  test('a request without a user message is refused with the field', () => {
    expect(() => composed([system('only this')])).toThrow(/no message of the user/)
  })
})
