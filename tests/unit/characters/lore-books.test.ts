import { describe, expect, test } from 'vitest'

import type { Lorebook, LorebookEntry } from '#characters/card.ts'
import { activate } from '#characters/lore/activate.ts'
import { compileBook } from '#characters/lore/book.ts'
import type { LoreMessage, LoreSettings } from '#characters/lore/settings.ts'

import { sampleEntry } from '../../support/samples.ts'

const entry = (comment: string, over: Partial<LorebookEntry> = {}): LorebookEntry =>
  sampleEntry({ comment, constant: false, keys: ['cat'], content: `about ${comment}`, ...over })
const book = (name: string, entries: LorebookEntry[], over: Partial<Lorebook> = {}): Lorebook => ({
  name,
  extensions: {},
  entries,
  ...over,
})
const says = (...texts: string[]): LoreMessage[] => texts.map((text) => ({ role: 'user', name: 'Tom', text }))

function run(books: Lorebook[], messages: LoreMessage[], settings: Partial<LoreSettings> = {}) {
  const compiled = books.map((each, index) => compileBook(each, `${String(index)}/`))
  return activate(compiled, messages, {
    budgetTokens: 1_000,
    countTokens: (text) => text.length,
    render: ({ content }) => content,
    hidden: () => [],
    draw: () => 0.5,
    character: { names: [], tags: [] },
    sources: {},
    clockMs: () => 0,
    ...settings,
  })
}
const on = (...args: Parameters<typeof run>) => run(...args).active.map(({ entry: { label } }) => label)

describe('several books in one run', () => {
  const town = book('Town', [entry('gate', { insertion_order: 5 }), entry('well', { insertion_order: 1 })])
  const sea = book('Sea', [entry('tide', { insertion_order: 3 }), entry('reef', { insertion_order: 5 })])

  test('are printed as one, by order, then as the books stand', () => {
    expect(on([town, sea], says('cat'))).toEqual(['well', 'tide', 'gate', 'reef'])
    expect(on([sea, town], says('cat'))).toEqual(['well', 'tide', 'reef', 'gate'])
  })

  test('are named in the trace, and no id is there twice', () => {
    const { trace, active } = run([town, sea], says('cat'))
    expect(trace.map((line) => [line.book, line.entry.label])).toEqual([
      ['Town', 'gate'],
      ['Town', 'well'],
      ['Sea', 'tide'],
      ['Sea', 'reef'],
    ])
    expect(active.map((hit) => hit.book)).toEqual(['Town', 'Sea', 'Town', 'Sea'])
    expect(new Set(trace.map((line) => line.entry.id)).size).toBe(4)
  })

  test('keep their own rules', () => {
    const books = [
      book('deep', [entry('deep')], { scan_depth: 3 }),
      book('flat', [entry('flat')], { scan_depth: 1 }),
      book('patterns', [entry('pattern', { keys: ['c.t'], use_regex: true })]),
      book('words', [entry('word', { keys: ['c.t'], use_regex: true, extensions: { selectiveLogic: 0 } })]),
    ]
    expect(on(books, says('cat', '-', '-'))).toEqual(['deep', 'pattern'])
  })

  test('call each other up, unless one of them is closed', () => {
    const first = (over: Partial<Lorebook>) =>
      book('first', [entry('first', { content: 'dog' })], { recursive_scanning: true, ...over })
    const second = (over: Partial<Lorebook>) =>
      book('second', [entry('second', { keys: ['dog'] })], { recursive_scanning: true, ...over })
    const closed = { recursive_scanning: false }
    expect(on([second({}), first({})], says('cat'))).toEqual(['second', 'first'])
    expect(on([second(closed), first({})], says('cat'))).toEqual(['first'])
    expect(on([second({}), first(closed)], says('cat'))).toEqual(['first'])
  })

  test('share a group', () => {
    const member = (label: string, group_override: boolean) =>
      book(label, [entry(label, { extensions: { group: 'g', group_override } })])
    expect(on([member('a', false), member('b', true)], says('cat'))).toEqual(['b'])
  })

  test('lasts as long as each entry says', () => {
    const sticky = book('sticky', [entry('sticky', { extensions: { sticky: 9 } })], { scan_depth: 1 })
    expect(on([sticky, book('plain', [entry('plain')], { scan_depth: 1 })], says('cat', '-'))).toEqual([
      'sticky',
    ])
  })

  test('count once if one is given twice', () => {
    const compiled = compileBook(town)
    const settings: LoreSettings = {
      budgetTokens: 1_000,
      countTokens: () => 1,
      render: () => 'x',
      hidden: () => [],
      draw: () => 0,
      character: { names: [], tags: [] },
      sources: {},
      clockMs: () => 0,
    }
    expect(activate([compiled, compiled], says('cat'), settings).active).toHaveLength(2)
  })
})

describe('the room of a book', () => {
  const sized = (name: string, over: Partial<Lorebook> = {}) =>
    book(
      name,
      [1, 2, 3].map((nth) => entry(`${name}${String(nth)}`, { content: 'x'.repeat(30), priority: -nth })),
      over,
    )
  test('is its own, as long as there is room for all', () => {
    expect(on([sized('a', { token_budget: 60 }), sized('b')], says('cat'))).toEqual([
      'a1',
      'a2',
      'b1',
      'b2',
      'b3',
    ])
    expect(on([sized('a', { token_budget: 60 }), sized('b')], says('cat'), { budgetTokens: 90 })).toEqual([
      'a1',
      'a2',
      'b1',
    ])
  })

  test('says so when it is used up', () => {
    const { trace } = run([sized('a', { token_budget: 30 })], says('cat'))
    expect(trace.map(({ reason }) => reason)).toEqual([
      '"cat" in the newest message',
      '"cat" in the newest message, but its book allows no room for its 30 tokens',
      '"cat" in the newest message, but its book allows no room for its 30 tokens',
    ])
  })

  test('is not bounded by a field that nobody filled', () => {
    expect(on([sized('a', { token_budget: 0 })], says('cat'))).toHaveLength(3)
  })
})

describe('a minimum of entries', () => {
  const animals = ['cat', 'dog', 'owl', 'fox'].map((animal) => entry(animal, { keys: [animal] }))
  const zoo = book('zoo', animals, { scan_depth: 1 })
  const chat = says('fox', 'owl', 'dog', 'cat')
  test.each([
    ['is off by default', {}, ['cat']],
    [
      'looks further back until there are enough',
      { minimumActivations: { entries: 3 } },
      ['cat', 'dog', 'owl'],
    ],
    ['ends where the chat ends', { minimumActivations: { entries: 9 } }, ['cat', 'dog', 'owl', 'fox']],
    ['ends at its depth', { minimumActivations: { entries: 9, deepest: 2 } }, ['cat', 'dog']],
    [
      'does not count beside a bound on passes',
      { minimumActivations: { entries: 9 }, mostPasses: 5 },
      ['cat'],
    ],
    [
      'does not count when the room is used up',
      { minimumActivations: { entries: 3 }, budgetTokens: 12 },
      ['cat'],
    ],
  ])('%s', (_name, settings, expected) => {
    expect(on([zoo], chat, settings)).toEqual(expected)
  })

  test('leaves alone what has a depth of its own', () => {
    const own = book('own', [entry('own', { extensions: { scan_depth: 1 } })], { scan_depth: 1 })
    expect(on([own], says('cat', '-'), { minimumActivations: { entries: 1 } })).toEqual([])
  })

  test('lets what it finds call up others', () => {
    const calling = [entry('A', { content: 'dog' }), entry('B', { keys: ['dog'] })]
    const books = [book('calling', calling, { scan_depth: 1, recursive_scanning: true })]
    expect(on(books, says('cat', '-'), { minimumActivations: { entries: 1 } })).toEqual(['A', 'B'])
  })
})

test.each([
  [1, ['e0']],
  [2, ['e0', 'e1']],
  [3, ['e0', 'e1', 'e2']],
  [undefined, ['e0', 'e1', 'e2', 'e3']],
])('at most %s passes', (mostPasses, expected) => {
  const chain = ['cat', 'dog', 'owl', 'fox'].map((animal, index, all) =>
    entry(`e${String(index)}`, { keys: [animal], content: all[index + 1] ?? '' }),
  )
  const books = [book('chain', chain, { recursive_scanning: true })]
  expect(on(books, says('cat'), mostPasses === undefined ? {} : { mostPasses })).toEqual(expected)
})
