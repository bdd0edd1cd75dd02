import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { Lorebook, LorebookEntry } from '#characters/card.ts'
import { lintBook } from '#characters/lore/lint.ts'
import { findRings } from '#characters/lore/rings.ts'

import { cpuNowMs } from '../../support/cpu-time.ts'
import { sampleEntry } from '../../support/samples.ts'

type Draft = Partial<LorebookEntry>
/** With a key and a text that nothing is to be said about. */
const entry = (comment: string, over: Draft = {}): LorebookEntry =>
  sampleEntry({
    comment,
    constant: false,
    keys: [`key of ${comment}`],
    content: `What is to be known of ${comment}.`,
    ...over,
    extensions: { selectiveLogic: 0, ...over.extensions },
  })

function lint(entries: LorebookEntry[], over: Partial<Lorebook> = {}) {
  const settings = { budgetTokens: 500, countTokens: (text: string) => text.length }
  return lintBook({ extensions: {}, entries, ...over }, settings)
}
const said = (entries: LorebookEntry[], over: Partial<Lorebook> = {}) =>
  lint(entries, over).map(({ code, entries: about }) => [code, ...about.map(({ label }) => label)])
const messages = (entries: LorebookEntry[], over: Partial<Lorebook> = {}) =>
  lint(entries, over).map(({ message }) => message)

test('nothing is said about a book in order', () => {
  expect(lint([entry('well'), entry('gate', { keys: ['gate', 'northern gate'] })])).toEqual([])
  expect(lint([])).toEqual([])
})

describe('an entry that never comes', () => {
  const [NOT_ALL, NOT_ANY, AND_ALL] = [1, 2, 3]
  const CONSTANT = { constant: true, keys: [] }
  test.each<[string, string, Draft]>([
    ['is switched off', 'switched_off', { enabled: false }],
    ['has no text', 'no_text', { content: '@@depth 2' }],
    ['has no key', 'no_key', { keys: ['', ' '] }],
    ['has unsupported patterns only', 'unsupported_keys', { keys: ['', '/(?<=x)y/'] }],
    ['has no chance', 'no_chance', { extensions: { probability: 0, useProbability: true } }],
    ['has no chance though constant', 'no_chance', { ...CONSTANT, extensions: { probability: 0 } }],
    ['forbids itself', 'no_chance', { content: '@@dont_activate\ntext' }],
    ['waits for other requests', 'impossible_conditions', { extensions: { triggers: ['quiet'] } }],
    ['needs one of nothing', 'impossible_conditions', { secondary_keys: ['/(?=x)/'] }],
    [
      'needs all, and one is impossible',
      'impossible_conditions',
      { secondary_keys: ['red', '/(?=x)/'], extensions: { selectiveLogic: AND_ALL } },
    ],
    [
      'must not have what stands in each key',
      'impossible_conditions',
      {
        keys: ['black cat', 'white cat'],
        secondary_keys: ['dog', 'cat'],
        extensions: { selectiveLogic: NOT_ANY },
      },
    ],
    [
      'must miss one of those that stand in its key',
      'impossible_conditions',
      { keys: ['black cat'], secondary_keys: ['black', 'cat'], extensions: { selectiveLogic: NOT_ALL } },
    ],
    [
      'excludes its own key',
      'impossible_conditions',
      { keys: ['lamp'], content: '@@exclude_keys lamp\ntext' },
    ],
  ])('%s', (_name, code, over) => {
    expect(said([entry('it', over)])).toEqual([[code, 'it']])
  })

  test.each<[string, Draft]>([
    ['one key of several is unsupported', { keys: ['lantern', '/(?<=x)y/'] }],
    [
      'the excluded key stands in one of two keys',
      { keys: ['black cat', 'owl'], secondary_keys: ['cat'], extensions: { selectiveLogic: NOT_ANY } },
    ],
    ['it is always on by a decorator', { keys: [], content: '@@activate\ntext' }],
    [
      'it has a key that is a pattern',
      { keys: ['/c.t/'], secondary_keys: ['cat'], extensions: { selectiveLogic: NOT_ANY } },
    ],
  ])('is not one where %s', (_name, over) => {
    expect(said([entry('it', over)]).filter(([code]) => code !== 'always_there')).toEqual([])
  })

  test('is told what to do', () => {
    expect(messages([entry('it', { keys: [] })])).toEqual([
      '"it" has no key. Give it one, or make it constant.',
    ])
    expect(messages(['a', 'b', 'c', 'd', 'e'].map((name) => entry(name, { enabled: false })))).toEqual([
      '"a", "b", "c" and 2 more: switched off. Switch on what is needed, and take out the rest.',
    ])
  })
})

test('keys beyond what a book may have are told', () => {
  const keys = Array.from({ length: 600 }, (_, at) => `/many${String(at)}x?/`)
  const [first] = lint([entry('early', { keys }), entry('late', { keys: ['/late.+/'] })])
  expect(first).toMatchObject({ code: 'unsupported_keys', entries: [{ label: 'late' }] })
  expect(first?.message).toContain('Split the book')
})

describe('a key', () => {
  test('of several entries is one finding', () => {
    const both = [entry('a', { keys: ['Lamp', 'lamp'] }), entry('b', { keys: ['lamp'] }), entry('c')]
    expect(said(both)).toEqual([['same_key', 'a', 'b']])
  })

  test('of several entries of one group is meant', () => {
    const inGroup = { keys: ['lamp'], extensions: { group: 'g' } }
    expect(said([entry('a', inGroup), entry('b', inGroup)])).toEqual([])
  })

  test('in keys of others comes with them', () => {
    const all = [
      entry('cat', { keys: ['lamp'] }),
      entry('black', { keys: ['old lamp'] }),
      entry('white', { keys: ['new lamp'] }),
    ]
    expect(said(all)).toEqual([['contained_key', 'cat', 'black', 'white']])
    expect(messages(all)[0]).toContain('"lamp", a key of "cat", also stands in keys of "black", "white"')
  })

  test('inside a word of another does not count', () => {
    expect(said([entry('a', { keys: ['lamp'] }), entry('b', { keys: ['lamplighter'] })])).toEqual([])
  })

  test.each<[string, Draft, boolean]>([
    ['of one letter', { keys: ['x'] }, true],
    ['of two letters', { keys: ['Jo'] }, true],
    ['of three letters', { keys: ['Joe'] }, false],
    ['of three letters inside words', { keys: ['Joe'], extensions: { match_whole_words: false } }, true],
    ['that is a common word', { keys: ['The'] }, true],
    ['that holds a common word', { keys: ['the lamp'] }, false],
    ['of one character without spaces', { keys: ['猫'] }, true],
    ['of two characters without spaces', { keys: ['黒猫'] }, false],
    ['that needs another', { keys: ['the'], secondary_keys: ['lamp'] }, false],
    [
      'that forbids another',
      { keys: ['the'], secondary_keys: ['lamp'], extensions: { selectiveLogic: 2 } },
      true,
    ],
    ['that needs another by a decorator', { keys: ['the'], content: '@@additional_keys lamp\ntext' }, false],
  ])('%s', (_name, over, isBroad) => {
    expect(said([entry('it', over)])).toEqual(isBroad ? [['broad_key', 'it']] : [])
  })
})

describe('entries that call each other up', () => {
  const calls = (name: string, to: string, extensions = {}) =>
    entry(name, { keys: [`${name}-stone`], content: `${name} sees the ${to}-stone.`, extensions })
  test('are a ring, in the order in which they call', () => {
    const ring = [calls('ana', 'cem'), calls('bea', 'ana'), calls('cem', 'bea'), calls('dan', 'ana')]
    expect(said(ring)).toEqual([['ring', 'ana', 'cem', 'bea']])
    expect(messages(ring)[0]).toMatch(/^"ana" → "cem" → "bea" → "ana": /)
  })

  test.each<[string, LorebookEntry[], Partial<Lorebook>]>([
    ['one prevents it', [calls('ana', 'bea', { prevent_recursion: true }), calls('bea', 'ana')], {}],
    ['one cannot be called', [calls('ana', 'bea', { exclude_recursion: true }), calls('bea', 'ana')], {}],
    ['the book calls up nothing', [calls('ana', 'bea'), calls('bea', 'ana')], { recursive_scanning: false }],
    ['they only name themselves', [calls('ana', 'ana')], {}],
    ['one leads to the next', [calls('ana', 'bea'), calls('bea', 'cem'), calls('cem', 'nobody')], {}],
  ])('are none where %s', (_name, entries, over) => {
    expect(said(entries, over)).toEqual([])
  })

  test('and nobody else are lost if none does', () => {
    const waits = { delay_until_recursion: true }
    expect(said([calls('ana', 'x', waits), calls('bea', 'x')])).toEqual([['never_called', 'ana']])
    expect(said([calls('ana', 'ana', waits), calls('bea', 'x')])).toEqual([['never_called', 'ana']])
    expect(said([calls('ana', 'x', waits), calls('bea', 'ana')])).toEqual([])
    expect(said([calls('ana', 'x', waits), calls('bea', 'ana')], { recursive_scanning: false })).toEqual([
      ['never_called', 'ana'],
    ])
  })
})

test('the same text is found whatever its spaces and capitals', () => {
  const [a, b, c] = ['A lamp.', 'a  LAMP.\n', 'A lamp!'].map((content, at) => entry(String(at), { content }))
  if (a && b && c) expect(said([a, b, c])).toEqual([['same_content', '0', '1']])
})

describe('the cost', () => {
  const long = (name: string, characters: number, over: Draft = {}) =>
    entry(name, { content: name.repeat(characters), ...over })
  test('of one entry is more than there is room for', () => {
    expect(said([long('a', 501), long('b', 500)])).toEqual([['too_long', 'a']])
    expect(said([long('a', 501)], { token_budget: 1_000 })).toEqual([['too_long', 'a']])
    expect(said([long('a', 101)], { token_budget: 100 })).toEqual([['too_long', 'a']])
  })

  test('of what is always there is told, and more so when it is too much', () => {
    const constant = { constant: true, keys: [] }
    expect(said([long('a', 300, constant), long('b', 200, constant)])).toEqual([['always_there', 'a', 'b']])
    const much = [long('a', 300, constant), long('b', 201, { content: `@@activate\n${'x'.repeat(201)}` })]
    expect(said(much)).toEqual([['too_much_always_there', 'a', 'b']])
    expect(messages(much)[0]).toContain('together 501 tokens of every request, and there is room for 500')
  })
})

test('a ring is found wherever one leads back, and each way round is one', () => {
  const edges = fc.array(fc.array(fc.nat(7), { maxLength: 3 }), { minLength: 8, maxLength: 8 })
  const reaches = (graph: number[][], from: number): Set<number> => {
    const seen = new Set<number>()
    const queue = [...(graph[from] ?? [])]
    for (const node of queue)
      if (!seen.has(node)) {
        seen.add(node)
        queue.push(...(graph[node] ?? []))
      }
    return seen
  }
  fc.assert(
    fc.property(edges, (graph) => {
      const rings = findRings(graph)
      for (const ring of rings)
        for (const [at, node] of ring.entries()) expect(graph[node]).toContain(ring[(at + 1) % ring.length])
      const reached = graph.map((_, node) => reaches(graph, node))
      const knots = reached.map((from, node) =>
        [...from].filter((other) => reached[other]?.has(node)).sort((a, b) => a - b),
      )
      const expected = new Set(knots.filter((knot) => knot.length > 1).map((knot) => knot.join()))
      expect(rings).toHaveLength(expected.size)
    }),
    { seed: 20_261_123, numRuns: 500 },
  )
})

test('two thousand entries that all call the next are no burden', () => {
  const chain = Array.from({ length: 2_000 }, (_, at) =>
    entry(`e${String(at)}`, {
      keys: [`name${String(at)}x`, `other${String(at)}x`],
      content: `name${String((at + 1) % 2_000)}x ${'and so on '.repeat(40)}${String(at)}`,
    }),
  )
  const startedCpuMs = cpuNowMs()
  const findings = lint(chain, { token_budget: 1_000 })
  expect(cpuNowMs() - startedCpuMs).toBeLessThan(1_500)
  expect(findings.map(({ code, entries }) => [code, entries.length])).toEqual([['ring', 2_000]])
})
