import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { labelsOf, nameLength, OwnName, ownName } from '#chat/own-name.ts'
import type { Ask } from '#prompt/ask.ts'
import type { Prompt } from '#prompt/prompt.ts'
import type { Delta } from '#providers/provider.ts'

import { assistant, sampleAsk, sampleMaterials, user } from '../../support/samples.ts'

const PIA = { name: 'Pia' }
const DONE: Delta = { type: 'done', reason: 'stop' }
const CALL: Delta = { type: 'tool', index: 0, call: { id: 'c', name: 'look', arguments: '{}' } }
const text = (words: string): Delta => ({ type: 'text', text: words })
const reasoning = (words: string): Delta => ({ type: 'reasoning', text: words })

/** What goes out for each delta, as the turn sends it. */
function pass(deltas: readonly Delta[], card = PIA as { name: string; nickname?: string }): Delta[][] {
  const name = new OwnName(card)
  return deltas.map((delta) => {
    if (name.isOver) return [delta]
    const words = name.see(delta)
    return [...(words === undefined ? [] : [words]), ...(delta.type === 'text' ? [] : [delta])]
  })
}

const written = (deltas: readonly Delta[], card?: { name: string; nickname?: string }) =>
  pass(deltas, card)
    .flat()
    .map((delta) => (delta.type === 'text' ? delta.text : ''))
    .join('')

describe('the name before an answer', () => {
  test.each([
    ['Pia: Hello', 'Hello'],
    ['Pia:\n\nHello', 'Hello'],
    ['\n Pia:Hello', 'Hello'],
    ['Pia\uFF1A さようなら', 'さようなら'],
    ['**Pia:** Hello', 'Hello'],
    ['**Pia**: Hello', 'Hello'],
    ['*Pia:* *smiles* Hello', '*smiles* Hello'],
    ['__Pia\uFF1A__ Hello', 'Hello'],
    ['Pia: Pia: Hello', 'Pia: Hello'],
  ])('is cut from %j', (said, sent) => {
    expect(written([text(said), DONE])).toBe(sent)
  })

  test.each([
    'Pia waves.',
    'Pia, Tom: come',
    'Pial: Hello',
    'pia: Hello',
    'Hello. Pia: Hello',
    '**Pia: Hello**',
    '** Pia: Hello',
    '"Pia: Hello"',
    '\n\n  Hello',
    `${' '.repeat(17)}Pia: Hello`,
    'Pia',
    'Pia:',
    '**Pia:*',
    ' \n',
  ])('is not cut from %j', (said) => {
    expect(written([text(said), DONE])).toBe(said)
  })

  test('may be the nickname, which the examples say, or the name of the card', () => {
    const card = { name: 'Pia Sand', nickname: 'Pia' }
    expect(written([text('Pia: Hello')], card)).toBe('Hello')
    expect(written([text('Pia Sand: Hello')], card)).toBe('Hello')
    expect(written([text('Sand: Hello')], card)).toBe('Sand: Hello')
  })

  test('is found however the answer is cut into pieces', () => {
    const part = fc.constantFrom(
      'Pia',
      'Pi',
      'a',
      ':',
      '\uFF1A',
      '*',
      '**',
      '_',
      ' ',
      '\n',
      'Hello',
      '',
      '::',
    )
    const said = fc.array(part, { minLength: 1, maxLength: 12 }).map((parts) => parts.join(''))
    const named = fc
      .tuple(
        fc.constantFrom('', '\n', ' '.repeat(15)),
        fc.constantFrom('Pia:', '**Pia:**', '*Pia*\uFF1A', '**:', 'Pia::'),
        fc.constantFrom('', ' ', '\n'.repeat(20)),
        said,
      )
      .map((parts) => parts.join(''))
    const card = fc.constantFrom(PIA, { name: '*' }, { name: 'Pia', nickname: 'Pia:' }, { name: '**Pi' })
    fc.assert(
      fc.property(
        fc.oneof(said, named),
        fc.array(fc.nat({ max: 40 }), { maxLength: 8 }),
        card,
        (whole, cuts, name) => {
          const places = [0, ...cuts.filter((at) => at < whole.length).sort((a, b) => a - b), whole.length]
          const pieces = places.slice(1).flatMap((end, at) => whole.slice(places[at], end) || [])
          const sent = written([...pieces.map(text), DONE], name)
          expect(sent).toBe(written([text(whole), DONE], name))
          expect(whole.endsWith(sent)).toBe(true)
        },
      ),
      { numRuns: 2_000 },
    )
  })
})

describe('what is held back', () => {
  test('a first piece that cannot become the name goes out as it came', () => {
    const first = text('Hello')
    const [out] = pass([first])
    expect(out?.[0]).toBe(first)
  })

  test('goes out with the piece that decides, and nothing is looked at after it', () => {
    expect(pass([text('\n'), text('Pi'), text('ano music. '), text('Pia: Hi')])).toEqual([
      [],
      [],
      [text('\nPiano music. ')],
      [text('Pia: Hi')],
    ])
    expect(pass([text('**Pia'), text(':'), text('**'), text(' '), text('Hello'), text(' Pia: Hi')])).toEqual([
      [],
      [],
      [],
      [],
      [text('Hello')],
      [text(' Pia: Hi')],
    ])
  })

  test.each([
    ['a tool call', CALL],
    ['reasoning', reasoning('Hm')],
    ['the end', DONE],
  ])('goes out before %s', (_name, next) => {
    expect(pass([text('**Pi'), next])).toEqual([[], [text('**Pi'), next]])
  })

  test('does not go out before a tool call where it is the name', () => {
    expect(pass([text('Pia: '), CALL, text('Pia: Hi'), DONE])).toEqual([
      [],
      [CALL],
      [text('Pia: Hi')],
      [DONE],
    ])
  })

  test('is nothing while a model reasons before its answer', () => {
    expect(pass([reasoning('Pia: '), reasoning('hm'), text('Pia: Hi')])).toEqual([
      [reasoning('Pia: ')],
      [reasoning('hm')],
      [text('Hi')],
    ])
  })

  test('is bounded, of line breaks before the name and behind it', () => {
    const labels = labelsOf(PIA)
    expect(nameLength('\n'.repeat(16), labels)).toBeUndefined()
    expect(nameLength('\n'.repeat(17), labels)).toBe(0)
    expect(nameLength(`Pia:${'\n'.repeat(30)}`, labels)).toBe(20)
  })
})

describe('nothing is cut', () => {
  const { speaker } = sampleMaterials({ name: 'Pia' })
  const prompt = {} as Prompt
  const cuts = (over: Partial<Ask>) => ownName(sampleAsk(over), { speaker, prompt }) !== undefined

  test('where nobody speaks, and from a greeting, which needs no prompt', () => {
    expect(ownName(sampleAsk(), { speaker, prompt })).toBeInstanceOf(OwnName)
    expect(ownName(sampleAsk(), { prompt })).toBeUndefined()
    expect(ownName(sampleAsk(), { speaker })).toBeUndefined()
  })

  test.each<[string, Partial<Ask>]>([
    ['goes on', { messages: [user('a'), assistant('Well')] }],
    ['is to be JSON', { responseFormat: { type: 'json_object' } }],
    ['is told token by token', { logprobs: { top: 0 } }],
  ])('from an answer that %s', (_name, over) => {
    expect(cuts(over)).toBe(false)
  })

  test.each<[string, Partial<Ask>]>([
    ['may be any text', { responseFormat: { type: 'text' } }],
    ['follows a tool', { messages: [user('a'), { role: 'tool', text: 'b', toolCallId: 'c' }] }],
  ])('but the name from one that %s', (_name, over) => {
    expect(cuts(over)).toBe(true)
  })
})
