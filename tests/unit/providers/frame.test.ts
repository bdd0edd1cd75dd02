import fc from 'fast-check'
import { expect, test } from 'vitest'

import { createReader, type ChatState } from '#providers/openai-answer.ts'
import { frameOf, wordsIn } from '#providers/frame.ts'

const WORDS = {
  title: 'The model server',
  name: 'http://model',
  whenSilent: '',
  whenForbidden: '',
  whenMissing: () => '',
}

const chunk = (content: unknown, over: object = {}) =>
  JSON.stringify({
    id: 'c',
    created: 1,
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
    ...over,
  })

const readOne = (data: string) => {
  const { choices } = JSON.parse(data) as { choices: [{ delta: { content?: string } }] }
  return choices[0].delta.content
}

/** Reads each chunk as the first one of an answer, which no frame helps with. */
function readEach(chunks: readonly string[]) {
  const reader = createReader('m', WORDS)
  return chunks.flatMap((data) => reader.step(reader.start, { event: 'message', data }).deltas)
}

function readAll(chunks: readonly string[]) {
  const reader = createReader('m', WORDS)
  let state: ChatState = reader.start
  const deltas = chunks.flatMap((data) => {
    const step = reader.step(state, { event: 'message', data })
    state = step.state
    return step.deltas
  })
  return { deltas, state }
}

test('whatever is said, in any words of JSON, the frame of the chunk before reads what a parser reads', () => {
  const unit = fc.constantFrom(
    'a',
    ' ',
    '"',
    '\\',
    '/',
    '\n',
    '\u0000',
    '}',
    ':',
    ',',
    'é',
    'さ',
    '🌊',
    '\ud800',
  )
  const said = fc.oneof(
    fc.string({ unit, minLength: 1, maxLength: 6 }),
    // What stands between two strings of a chunk, and in its keys.
    fc.constantFrom(':', ',', 'content', 'delta', 'id', 'c'),
  )
  fc.assert(
    fc.property(fc.array(said, { minLength: 1, maxLength: 8 }), fc.boolean(), (texts, escapes) => {
      const written = texts.map((text) => {
        const json = chunk(text)
        return escapes ? json.replaceAll('/', '\\/').replaceAll(/[\u0080-\uffff]/g, toEscape) : json
      })
      const expected = texts.map((text) => ({ type: 'text', text }))
      expect(readAll(written).deltas).toEqual(expected)
      expect(readEach(written)).toEqual(expected)
    }),
  )
})

const toEscape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

test('a chunk that differs in more than its words is read with care', () => {
  const chunks = [
    chunk('one '),
    chunk('two '),
    chunk('three', { choices: [{ index: 0, delta: { content: 'three' }, finish_reason: 'stop' }] }),
  ]
  const { deltas, state } = readAll(chunks)
  expect(deltas).toEqual(['one ', 'two ', 'three'].map((text) => ({ type: 'text', text })))
  expect(state.finish).toBe('stop')
})

test.each([
  ['a quote inside', '"'],
  ['an escape that JSON does not know', '\\x'],
  ['half an escape', '\\'],
  ['a line break', '\n'],
])('what is no string of JSON is left to the parser: %s', (_name, inside) => {
  const frame = frameOf(chunk('one'), 'one', readOne)
  if (frame === undefined) throw new Error('The chunk has a frame')
  expect(wordsIn(frame, frame.before + inside + frame.after)).toBeUndefined()
  expect(wordsIn(frame, frame.before + frame.after)).toBeUndefined()
  expect(wordsIn(frame, chunk('two'))).toBe('two')
})

test('words that stand elsewhere in a chunk as well are not mistaken for its own', () => {
  const twice = JSON.stringify({ echo: 'one', choices: [{ delta: { content: 'one' } }] })
  expect(frameOf(twice, 'one', readOne)).toBeUndefined()
})

test('a server whose chunks are all different is not asked for their frames for ever', () => {
  const chunks = Array.from({ length: 20 }, (_, created) => chunk('word ', { created }))
  const { deltas, state } = readAll(chunks)
  expect(deltas).toHaveLength(20)
  expect(state.wastedFrames).toBe(3)
})
