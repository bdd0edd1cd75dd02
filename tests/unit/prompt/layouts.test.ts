import { describe, expect, test } from 'vitest'

import { messageText, type ChatMessage } from '#prompt/ask.ts'
import { composeExplained } from '#prompt/compose.ts'
import { messageTokens } from '#prompt/history.ts'

import { assistant, sampleAsk, sampleEntry, sampleMaterials, user } from '../../support/samples.ts'

const PROFILE = { contextTokens: 4_096, tokenRatio: 1 }
const LIKE_ST = { troupe: { layout: 'sillytavern' } }
const composed = (messages: ChatMessage[], card: Record<string, unknown> = {}) => {
  const materials = sampleMaterials({ extensions: LIKE_ST, ...card })
  const { prompt, rereadTokens } = composeExplained(sampleAsk({ messages }), materials, PROFILE)
  return { ...prompt, rereadTokens }
}
const texts = (messages: readonly ChatMessage[]) =>
  messages.map((message) => `${message.role}: ${messageText(message)}`)

/** An entry that the word "reef" calls up, with SillyTavern's number of its place. */
const entry = (content: string, position: number, more: Record<string, unknown> = {}) =>
  sampleEntry({
    ...{ constant: false, keys: ['reef'], content, name: content },
    extensions: { position, selectiveLogic: 0, ...more },
  })
const CHAT = [user('One'), assistant('Two'), user('Three'), assistant('Four'), user('The reef?')]
const withBook = (...entries: ReturnType<typeof entry>[]) =>
  composed(CHAT, { character_book: { extensions: {}, entries } })

describe('the layout like SillyTavern', () => {
  test('puts called-up lore around the character and the examples, where its author wants it', () => {
    const { messages } = withBook(
      entry('BEFORE', 0),
      entry('AFTER', 1),
      entry('EXAMPLES-TOP', 5),
      entry('EXAMPLES-END', 6),
    )
    const system = texts(messages)[0] ?? ''
    const order = [
      'BEFORE',
      'keeps a lighthouse',
      'A storm',
      'AFTER',
      'EXAMPLES-TOP',
      'Mind the step',
      'EXAMPLES-END',
    ]
    const places = order.map((piece) => system.indexOf(piece))
    expect(places.every((place) => place >= 0)).toBe(true)
    expect(places).toEqual([...places].sort((a, b) => a - b))
    expect(texts(messages).at(-1)).toBe('user: The reef?')
  })

  test.each([
    [0, ['One', 'Two', 'Three', 'Four', 'The reef?\n\n[World: DEEP]']],
    [1, ['One', 'Two', 'Three', 'Four', '[World: DEEP]\n\nThe reef?']],
    [2, ['One', 'Two', 'Three\n\n[World: DEEP]', 'Four', 'The reef?']],
    [3, ['One', 'Two', '[World: DEEP]\n\nThree', 'Four', 'The reef?']],
    [4, ['One\n\n[World: DEEP]', 'Two', 'Three', 'Four', 'The reef?']],
    [99, ['[World: DEEP]\n\nOne', 'Two', 'Three', 'Four', 'The reef?']],
  ])('puts lore of depth %i into the neighbouring user turn', (depth, expected) => {
    const { messages } = withBook(entry('DEEP', 4, { depth }))
    expect(messages.slice(1).map(messageText)).toEqual(expected)
  })

  test('puts user above system at the same depth', () => {
    const { messages } = withBook(
      entry('SYSTEM', 4, { depth: 2, role: 0 }),
      entry('USER', 4, { depth: 2, role: 1 }),
    )
    expect(messages.slice(1).map(messageText)[2]).toBe('Three\n\n[World: USER]\n\n[World: SYSTEM]')
  })

  test("keeps the character's note at its depth, with the lore that is bound to it around it, and the instructions last", () => {
    const { messages } = composed(CHAT, {
      extensions: { ...LIKE_ST, depth_prompt: { prompt: 'Be {{user}}’s guide.', depth: 4, role: 'system' } },
      post_history_instructions: 'Briefly.',
      character_book: { extensions: {}, entries: [entry('UNDER', 3), entry('OVER', 2)] },
    })
    expect(messages.slice(1).map(messageText)).toEqual([
      'One\n\n[World: OVER]\n\n[Note to Mira Holt: Be Tom’s guide.]\n\n[World: UNDER]',
      ...['Two', 'Three', 'Four'],
      'The reef?\n\n[Note to Mira Holt: Briefly.]',
    ])
  })

  test('keeps what is always on and belongs to a depth at its depth', () => {
    const always = { ...entry('ALWAYS', 4, { depth: 2 }), constant: true }
    const { messages } = withBook(always)
    expect(texts(messages)[0]).not.toContain('ALWAYS')
    expect(messageText(messages[3] ?? user(''))).toContain('ALWAYS')
  })

  test('says what it costs: from the first place that moves', () => {
    const plain = withBook()
    const deep = withBook(entry('DEEP', 4, { depth: 4 }))
    const prefix = withBook({ ...entry('BEFORE', 0), keys: ['nothing'] })
    expect(plain.rereadTokens()).toBe(messageTokens(user('The reef?')))
    expect(deep.rereadTokens()).toBe(
      deep.messages.slice(1).reduce((sum, each) => sum + messageTokens(each), 0),
    )
    expect(prefix.rereadTokens()).toBe(prefix.messages.reduce((sum, each) => sum + messageTokens(each), 0))
  })
})

test('the cache layout keeps the same note and lore in the last user message, and reads only that again', () => {
  const { messages, rereadTokens } = composed(CHAT, {
    extensions: { depth_prompt: { prompt: 'Be kind.', depth: 4 } },
    character_book: { extensions: {}, entries: [entry('DEEP', 4, { depth: 4 })] },
    post_history_instructions: 'Briefly.',
  })
  expect(messages.slice(1, -1).map(messageText)).toEqual(['One', 'Two', 'Three', 'Four'])
  expect(messages.slice(-1).map(messageText)).toEqual([
    '[World: DEEP]\n\n[Note to Mira Holt: Be kind.]\n\n[Note to Mira Holt: Briefly.]\n\nThe reef?',
  ])
  expect(rereadTokens()).toBe(messages.slice(-1).reduce((sum, each) => sum + messageTokens(each), 0))
})

test('a note that makes no sense is no note', () => {
  for (const note of [null, 'text', { prompt: 7 }, { prompt: '' }, []])
    expect(
      composed(CHAT, { extensions: { depth_prompt: note } }).parts.some(({ kind }) => kind === 'note'),
    ).toBe(false)
})
