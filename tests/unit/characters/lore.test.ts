import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import type { LorebookEntry } from '#characters/card.ts'
import { frozenDraw } from '#characters/dice.ts'
import { activate } from '#characters/lore/activate.ts'
import { compileBook } from '#characters/lore/book.ts'
import { readDecorators } from '#characters/lore/decorators.ts'
import type { LoreMessage, LoreSettings } from '#characters/lore/settings.ts'

import { cpuNowMs } from '../../support/cpu-time.ts'
import { sampleEntry } from '../../support/samples.ts'

/** What makes a book one of SillyTavern's. */
const ST = { selectiveLogic: 0 }
type Draft = Partial<LorebookEntry>
const st = (over: Draft = {}): LorebookEntry => ({
  ...sampleEntry({ constant: false, keys: ['cat'], content: over.comment ?? 'text' }),
  ...over,
  extensions: { ...ST, ...over.extensions },
})
const v3 = (over: Draft = {}): LorebookEntry => ({
  ...sampleEntry({ constant: false, keys: ['cat'] }),
  ...over,
})
const user = (text: string): LoreMessage => ({ role: 'user', name: 'Tom', text })
const assistant = (text: string): LoreMessage => ({ role: 'assistant', name: 'Ana', text })
const says = (...texts: string[]): LoreMessage[] => texts.map(user)

interface Options {
  book?: Record<string, unknown>
  settings?: Partial<LoreSettings>
}

const SETTINGS: LoreSettings = {
  budgetTokens: 1_000,
  countTokens: (text) => text.length,
  render: ({ content }) => content,
  hidden: () => [],
  draw: () => 0.5,
  character: { names: ['Ana Kell', 'Ana'], tags: ['Sailor'] },
  sources: {},
  clockMs: () => 0,
}

const run = (entries: LorebookEntry[], messages: LoreMessage[], { book, settings }: Options = {}) =>
  activate([compileBook({ extensions: {}, entries, ...book })], messages, { ...SETTINGS, ...settings })
/** Labels of what is on, in the order in which it is printed. */
const on = (...args: Parameters<typeof run>): string[] => run(...args).active.map(({ entry }) => entry.label)
const isOn = (entry: LorebookEntry, messages: LoreMessage[], options: Options = {}) =>
  on([entry], messages, options).length === 1

describe('a key', () => {
  test.each([
    ['1 inside a word', st(), 'concatenate', false],
    ['2 beside a sign', st(), "a cat's tail", true],
    ['3 of two words', st({ keys: ['black cat'] }), 'black cats', true],
    ['4 inside a Cyrillic word', st({ keys: ['кот'] }), 'который', false],
    ['4 as a Cyrillic word', st({ keys: ['кот'] }), 'чёрный кот.', true],
    ['5 in a script without spaces', st({ keys: ['猫'] }), '黒猫が', true],
    ['beside an accent', st({ keys: ['lan'] }), 'élan', false],
    ['6 as a pattern', st({ keys: ['/dragons?\\b/i'] }), 'DRAGON!', true],
    ['7 that only looks like a pattern', st({ keys: ['a.c'], use_regex: true }), 'abc', false],
    ['8 that is a pattern in V3', v3({ keys: ['a.c'], use_regex: true }), 'abc', true],
    ['that is a pattern of letters', v3({ keys: ['cat'], use_regex: true }), 'conCATenate', true],
    ['that is a pattern of small letters', st({ keys: ['/cat/'] }), 'a Cat', false],
    ['that is a pattern of letters inside a word', st({ keys: ['/cat/'] }), 'concatenate', true],
    ['9 that is no pattern', v3({ keys: ['('], use_regex: true }), '(', false],
    ['in other letters', st(), 'CAT', true],
    ['in other letters where they count', st({ case_sensitive: true }), 'CAT', false],
    [
      'as part of a word where that is allowed',
      st({ extensions: { match_whole_words: false } }),
      'concatenate',
      true,
    ],
    ['12 that is the name of who spoke', st({ keys: ['Tom'] }), 'hello', true],
    ['36 that is empty or blank', st({ keys: ['', ' '] }), 'anything', false],
    ['with a look-around', v3({ keys: ['(?<=x)y'], use_regex: true }), 'xy', false],
  ])('%s', (_name, entry, text, expected) => {
    expect(isOn(entry, says(text))).toBe(expected)
  })

  test('10 out of the scan depth is not seen, nor is one at a depth of 0', () => {
    expect(isOn(st(), says('cat', 'a', 'b'))).toBe(false)
    expect(isOn(st(), says('cat', 'b'))).toBe(true)
    expect(isOn(st({ extensions: { scan_depth: 3 } }), says('cat', 'a', 'b'))).toBe(true)
    expect(isOn(st({ extensions: { scan_depth: 0 } }), says('cat'))).toBe(false)
    expect(isOn(st({ constant: true, extensions: { scan_depth: 0 } }), says('x'))).toBe(true)
  })

  test('a pattern that stalls other engines costs nothing', () => {
    const startedCpuMs = cpuNowMs()
    expect(isOn(v3({ keys: ['(a+)+$'], use_regex: true }), says(`${'a'.repeat(5_000)}!`))).toBe(false)
    expect(cpuNowMs() - startedCpuMs).toBeLessThan(500)
  })
})

describe('secondary keys', () => {
  const [AND_ANY, NOT_ALL, NOT_ANY, AND_ALL] = [0, 1, 2, 3]
  test.each([
    ['13-16', 'cat x', [true, false, false, true]],
    ['17', 'cat', [false, false, true, true]],
    ['18', 'cat x y', [true, true, false, false]],
  ])('%s: "%s" with any, all, none, not all of x and y', (_name, text, expected) => {
    const found = [AND_ANY, AND_ALL, NOT_ANY, NOT_ALL].map((selectiveLogic) =>
      isOn(st({ secondary_keys: ['x', 'y'], extensions: { selectiveLogic } }), says(text)),
    )
    expect(found).toEqual(expected)
  })
})

describe('recursion', () => {
  const first = (over: Draft = {}) =>
    st({ keys: ['cat'], content: 'It fears the dog.', comment: 'A', ...over })
  const second = (over: Draft = {}) =>
    st({ keys: ['dog'], content: 'It fears the cat.', comment: 'B', ...over })
  test.each([
    ['19 calls up what another entry names', [first(), second()], {}, ['A', 'B']],
    [
      '19 but not what cannot be called up',
      [first(), second({ extensions: { exclude_recursion: true } })],
      {},
      ['A'],
    ],
    [
      '19 nor from what calls up nothing',
      [first({ extensions: { prevent_recursion: true } }), second()],
      {},
      ['A'],
    ],
    ['20 ends where two name each other', [second(), first()], {}, ['B', 'A']],
    ['21 is off where the book says so', [first(), second()], { recursive_scanning: false }, ['A']],
    ['waits for its level', [first(), second({ extensions: { delay_until_recursion: 1 } })], {}, ['A', 'B']],
  ])('%s', (_name, entries, book, expected) => {
    expect(on(entries, says('cat'), { book })).toEqual(expected)
  })

  test('an entry that waits for recursion is not called up by a message', () => {
    expect(on([second({ extensions: { delay_until_recursion: true } })], says('dog'))).toEqual([])
  })

  test('hidden keys call up without being printed', () => {
    const settings = { hidden: ({ label }: { label: string }) => (label === 'A' ? ['dragon'] : []) }
    const entries = [first({ content: 'Sleeps.' }), st({ keys: ['dragon'], comment: 'D' })]
    expect(on(entries, says('cat'), { settings })).toEqual(['A', 'D'])
  })

  test('a ring of a thousand ends', () => {
    const ring = Array.from({ length: 1_000 }, (_, index) =>
      st({ keys: [`k${index}x`], content: `k${(index + 1) % 1_000}x`, comment: `E${index}` }),
    )
    expect(on(ring, says('k0x'), { settings: { budgetTokens: 1e9 } }).length).toBeLessThanOrEqual(500)
  })
})

describe('the budget', () => {
  const sized = (order: number, length: number, over: Draft = {}) =>
    st({ insertion_order: order, content: 'x'.repeat(length), comment: String(order), ...over })
  test.each([
    [
      '22 goes to the more important of two constants',
      [sized(10, 60, { constant: true }), sized(20, 60, { constant: true })],
      100,
      ['20'],
    ],
    ['23 skips what does not fit, and takes what does', [sized(100, 90), sized(50, 5)], 60, ['50']],
    [
      'counts priority before order',
      [sized(10, 60, { priority: 9 }), sized(20, 60, { priority: 1 })],
      100,
      ['10'],
    ],
    [
      'lets go first what says so',
      [sized(10, 60), { ...sized(20, 0), content: `@@ignore_on_max_context\n${'x'.repeat(60)}` }],
      100,
      ['10'],
    ],
    ['does not bind what ignores it', [sized(10, 600, { extensions: { ignore_budget: true } })], 100, ['10']],
  ])('%s', (_name, entries, budgetTokens, expected) => {
    expect(on(entries, says('cat'), { settings: { budgetTokens } })).toEqual(expected)
  })

  test('37 is no matter of printing: lower orders first, equal ones as they stand', () => {
    const entries = [
      sized(5, 1, { comment: 'a' }),
      sized(5, 1, { comment: 'b' }),
      sized(1, 1, { comment: 'c' }),
    ]
    expect(on(entries, says('cat'))).toEqual(['c', 'a', 'b'])
  })
})

describe('a group', () => {
  /** In the lottery, which these must not come to. */
  const FIRST_WINS = { draw: () => 0 }
  const member = (comment: string, extensions: object, over: Draft = {}) =>
    st({ comment, ...over, extensions: { group: 'g', ...extensions } })
  test('24 goes to the one that is prioritised', () => {
    const entries = [member('E1', {}), member('E2', { group_override: true })]
    expect(on(entries, says('cat'), { settings: FIRST_WINS })).toEqual(['E2'])
  })
  test('25 goes to the one with more keys found, where it scores', () => {
    const scoring = { use_group_scoring: true }
    const entries = [member('E2', scoring), member('E1', scoring, { keys: ['cat', 'tail'] })]
    expect(on(entries, says("a cat's tail"), { settings: FIRST_WINS })).toEqual(['E1'])
  })
  test('is a lottery by weight otherwise, the same for the same turn', () => {
    const entries = [member('light', { group_weight: 10 }), member('heavy', { group_weight: 90 })]
    const drawn = (draw: number) => on(entries, says('cat'), { settings: { draw: () => draw } })
    expect([drawn(0.05), drawn(0.2), drawn(0.99)]).toEqual([['light'], ['heavy'], ['heavy']])
  })
})

describe('what lasts', () => {
  const hitAt5 = (count: number, after: string) => [
    ...says('1', '2', '3', '4', 'cat'),
    ...Array.from({ length: count - 5 }, () => user(after)),
  ]
  const over = (extensions: object, after: string) =>
    [6, 7, 8, 9].map((count) =>
      isOn(st({ extensions: { scan_depth: 1, ...extensions } }), hitAt5(count, after)),
    )
  test.each([
    ['26 sticky 3, no key any more', { sticky: 3 }, '-', [true, true, false, false]],
    ['27 cooldown 2, the key always', { cooldown: 2 }, 'cat', [false, true, false, true]],
    ['28 both of 2, the key always', { sticky: 2, cooldown: 2 }, 'cat', [true, false, false, true]],
  ])('%s', (_name, extensions, after, expected) => {
    expect(over(extensions, after)).toEqual(expected)
  })

  test('29 a delay waits for messages', () => {
    const entry = st({ extensions: { delay: 4 } })
    expect(isOn(entry, says('a', 'b', 'cat'))).toBe(false)
    expect(isOn(entry, says('a', 'b', 'c', 'cat'))).toBe(true)
  })

  test('an entry stays after its first match, or fires once', () => {
    const chat = says('cat', 'a', 'b', 'c', 'd', 'e')
    expect(isOn(v3({ content: '@@keep_activate_after_match\nx' }), chat)).toBe(true)
    expect(isOn(v3({ content: '@@dont_activate_after_match\nx' }), says('cat', 'cat'))).toBe(false)
    expect(isOn(v3({ content: '@@dont_activate_after_match\nx' }), says('cat'))).toBe(true)
  })
})

describe('decorators', () => {
  test('30 wait for answers', () => {
    const entry = v3({ content: '@@activate_only_after 2\nx' })
    expect(isOn(entry, [assistant('a'), user('cat')])).toBe(false)
    expect(isOn(entry, [assistant('a'), user('b'), assistant('c'), user('cat')])).toBe(true)
  })

  test('31 fall back where one is not known', () => {
    expect(run([v3({ content: '@@foo 1\n@@@activate\ntext' })], says('-')).active).toMatchObject([
      { text: 'text' },
    ])
    expect(isOn(v3({ content: '@@depth 2\n@@@activate\ntext' }), says('-'))).toBe(false)
  })

  test('33 on wins over off, and switched off wins over both', () => {
    const content = '@@activate\n@@dont_activate\nx'
    expect(isOn(v3({ content }), says('-'))).toBe(true)
    expect(isOn(v3({ content, enabled: false }), says('-'))).toBe(false)
    expect(isOn(v3({ content: '@@dont_activate\nx' }), says('cat'))).toBe(false)
  })

  test('34 alone print nothing', () => {
    expect(run([v3({ content: '@@activate' })], says('-')).active).toMatchObject([{ text: '' }])
  })

  test('35 know with which greeting the chat began', () => {
    const entry = v3({ content: '@@is_greeting 1\nx' })
    expect(isOn(entry, says('cat'), { settings: { greeting: () => 0 } })).toBe(false)
    expect(isOn(entry, says('cat'), { settings: { greeting: () => 1 } })).toBe(true)
    expect(isOn(entry, says('cat'))).toBe(false)
  })

  test('ask for further keys, each line for one of its own, and against others', () => {
    const entry = v3({ content: '@@additional_keys red,blue\n@@additional_keys big\n@@exclude_keys toy\nx' })
    expect(isOn(entry, says('a big red cat'))).toBe(true)
    expect(isOn(entry, says('a red cat'))).toBe(false)
    expect(isOn(entry, says('a big blue toy cat'))).toBe(false)
  })

  test.each<[string, string, object]>([
    ['a chance', '@@probability 40\n@@probability 90', { probability: 40 }],
    ['a chance beyond all', '@@probability 400', { probability: 100 }],
    ['a rank', '@@priority -7', { priority: -7 }],
    ['the end of the chat', '@@end', { place: { kind: 'at_depth', depth: 0 } }],
    ['whole words', '@@match_full_word', { keys: [{ isWholeWord: true }] }],
    ['parts of words', '@@match_partial_word', { keys: [{ isWholeWord: false }] }],
    ['to call up no others', '@@unrecursive', { preventsRecursion: true }],
    ['not to be called up by others', '@@no_recursive_search', { excludesRecursion: true }],
  ])('of RisuAI ask for %s', (_what, content, expected) => {
    const { entries } = compileBook({ extensions: {}, entries: [v3({ content: `${content}\nx` })] })
    expect(entries[0]).toMatchObject({ ...expected, content: 'x' })
  })

  test.each([
    ['@@foo\n@@exclude_keys_all a\nx', ['foo', 'exclude_keys_all']],
    ['@@foo\n@@@bar\n@@@end\n@@disable_ui_prompt system_prompt\nx', ['disable_ui_prompt']],
    ['@@depth many\n@@@foo\n@@probability\nx', ['depth', 'foo', 'probability']],
    ['@@instruct_depth 5\n@@@depth 2\n@@activate\nx', []],
  ])('without effect are named: %j', (content, ignored) => {
    expect(readDecorators(content)).toMatchObject({ ignored, text: 'x' })
  })
})

describe('a place', () => {
  const SYSTEM = { role: 'system' }
  const DEEP = { kind: 'at_depth', countedFrom: 'newest', role: 'system' }
  test.each<[string, LorebookEntry, object]>([
    ['is before the character if nothing says more', v3(), { kind: 'before_character', ...SYSTEM }],
    ['is one of two words', v3({ position: 'after_char' }), { kind: 'after_character', ...SYSTEM }],
    ...(
      [
        'before_character',
        'after_character',
        'before_note',
        'after_note',
        'at_depth',
        'before_examples',
        'after_examples',
        'outlet',
      ] as const
    ).map((kind, position): [string, LorebookEntry, object] => [
      `is number ${String(position)} of SillyTavern, which wins over the word`,
      st({ position: 'after_char', extensions: { position } }),
      { kind },
    ]),
    [
      'is no number that SillyTavern does not know',
      st({ position: 'after_char', extensions: { position: 8 } }),
      { kind: 'after_character' },
    ],
    ['is at depth 4 if no depth is given', st({ extensions: { position: 4 } }), { ...DEEP, depth: 4 }],
    [
      'has a depth and a role',
      st({ extensions: { position: 4, depth: 2, role: 2 } }),
      { ...DEEP, depth: 2, role: 'assistant' },
    ],
    ['is no depth below 0', st({ extensions: { position: 4, depth: -3 } }), { ...DEEP, depth: 0 }],
    [
      'is an outlet with a name',
      st({ extensions: { position: 7, outlet_name: ' hall ' } }),
      { kind: 'outlet', name: 'hall' },
    ],
    ['is the depth of a decorator', v3({ content: '@@depth 3\nx' }), { ...DEEP, depth: 3 }],
    ['is the end for a depth below 1', v3({ content: '@@depth -2\nx' }), { ...DEEP, depth: 0 }],
    [
      'is counted from the oldest message',
      v3({ content: '@@reverse_depth 3\n@@role user\nx' }),
      { kind: 'at_depth', depth: 3, countedFrom: 'oldest', role: 'user' },
    ],
    [
      'of a decorator wins over the number',
      st({ content: '@@depth 1\nx', extensions: { position: 1, role: 1 } }),
      { ...DEEP, depth: 1, role: 'user' },
    ],
    [
      '32 of a decorator wins over the depth of another',
      v3({ content: '@@depth 3\n@@position after_desc\nx' }),
      { kind: 'after_character', ...SYSTEM },
    ],
    ['is the scenario', v3({ content: '@@position scenario\nx' }), { kind: 'with_scenario', ...SYSTEM }],
    [
      'that is not known counts as none, nor does such a role',
      v3({ content: '@@position ceiling\n@@role narrator\nx' }),
      { kind: 'before_character', ...SYSTEM },
    ],
  ])('%s', (_name, entry, expected) => {
    expect(compileBook({ extensions: {}, entries: [entry] }).entries[0]?.place).toMatchObject(expected)
  })

  test('does not end the decorators of an entry', () => {
    expect(readDecorators('@@depth 3\n@@role user\n\ntext\n@@later').text).toBe('text\n@@later')
  })
})

describe('an entry that is meant for some', () => {
  const reasonOf = (entry: LorebookEntry) => run([entry], says('cat')).trace.map(({ reason }) => reason)
  const FOUND = '"cat" in the newest message'
  const OTHERS = 'it is meant for other characters'
  const OTHER_TAGS = 'it is meant for characters with other tags'
  test.each<[string, object, string]>([
    ['ordinary requests', { triggers: ['normal', 'swipe'] }, FOUND],
    ['all requests', { triggers: [] }, FOUND],
    ['others', { triggers: ['swipe', 'quiet'] }, 'it is meant for other kinds of requests (swipe, quiet)'],
    ['this name', { character_filter: { names: ['Bo', 'ana'] } }, FOUND],
    ['other names', { character_filter: { names: ['Bo'], isExclude: false } }, OTHERS],
    ['all but this name', { character_filter: { names: ['Ana Kell'], isExclude: true } }, OTHERS],
    ['all but another name', { character_filter: { names: ['Bo'], isExclude: true } }, FOUND],
    ['this tag', { characterFilter: { tags: ['sailor'] } }, FOUND],
    ['another tag', { characterFilter: { names: ['Ana'], tags: ['farmer'] } }, OTHER_TAGS],
    ['nobody in particular', { character_filter: { names: [], tags: [], isExclude: true } }, FOUND],
    ['what cannot be read', { character_filter: 'Ana', triggers: 7 }, FOUND],
  ])('%s', (_name, extensions, expected) => {
    expect(reasonOf(st({ extensions: { ...extensions } }))).toEqual([expected])
  })

  test('is read from the fields of a lorebook file too', () => {
    expect(reasonOf({ ...st(), triggers: ['quiet'] })).not.toEqual([FOUND])
    expect(reasonOf({ ...st(), characterFilter: { names: ['Bo'] } })).toEqual([OTHERS])
  })
})

describe('a text that nobody said', () => {
  const sources = {
    persona_description: 'owns a cat',
    character_description: 'owns a cat',
    character_personality: 'like a cat',
    character_depth_prompt: 'mention the cat',
    scenario: 'a cat in the rain',
    creator_notes: 'for friends of the cat',
  }
  const traced = (extensions: Record<string, unknown>) =>
    run([st({ extensions })], says('-'), { settings: { sources } }).trace[0]
  test.each([
    ['match_persona_description', "the user's description"],
    ['match_character_description', "the character's description"],
    ['match_character_personality', "the character's personality"],
    ['match_character_depth_prompt', "the character's note"],
    ['match_scenario', 'the scenario'],
    ['match_creator_notes', "the creator's notes"],
  ])('calls up what says %s', (mark, name) => {
    expect(traced({ [mark]: true })).toMatchObject({ isActive: true, reason: `"cat" in ${name}` })
  })

  test('calls up nothing else, nor what looks at nothing', () => {
    expect(traced({})).toMatchObject({ isActive: false })
    expect(traced({ match_scenario: true, scan_depth: 0 })).toMatchObject({ isActive: false })
  })
})

test('a number that is null is one that the program sets', () => {
  const extensions = { scan_depth: null, probability: null, sticky: null, group_weight: null, delay: null }
  expect(isOn(st({ extensions }), says('cat'))).toBe(true)
  expect(isOn(st({ extensions: { scan_depth: '1' } }), says('cat', '-'))).toBe(false)
})

test('dice fall the same way for the same turn', () => {
  const entry = st({ extensions: { probability: 50, useProbability: true } })
  const draw = (id: string, count: number) => frozenDraw('secret', 'chat', id)(String(count))
  const results = Array.from({ length: 400 }, (_, turn) => {
    const chat = [...says(...Array.from({ length: turn }, () => '-')), user('cat')]
    const settings = { draw }
    expect(isOn(entry, chat, { settings })).toBe(isOn(entry, chat, { settings }))
    return isOn(entry, chat, { settings })
  })
  expect(Math.abs(results.filter(Boolean).length - 200)).toBeLessThan(50)
})

test('every entry has a line that says why it is there or not', () => {
  const { trace } = run(
    [
      st({ comment: 'found' }),
      st({ comment: 'none', keys: ['dog'] }),
      st({ comment: 'off', enabled: false }),
      st({ comment: 'long', content: 'x'.repeat(2_000) }),
      st({ comment: 'unlucky', extensions: { probability: 10, useProbability: true } }),
    ],
    says('cat', 'yes'),
  )
  expect(trace.map(({ entry, isActive, reason }) => [entry.label, isActive, reason])).toEqual([
    ['found', true, '"cat" in the message before the newest'],
    ['none', false, 'no key was found'],
    ['off', false, 'it is switched off'],
    ['long', false, '"cat" in the message before the newest, but there was no room for its 2000 tokens'],
    ['unlucky', false, '"cat" in the message before the newest, but its dice said no (10 %)'],
  ])
})

test('a line tells the pass in which an entry came on, what its dice showed, and where it stands', () => {
  const { trace } = run(
    [
      st({ comment: 'first', content: 'a dog', extensions: { probability: 90, useProbability: true } }),
      st({ comment: 'second', keys: ['dog'] }),
      st({ comment: 'never', keys: ['bird'] }),
    ],
    says('cat'),
    { settings: { draw: () => 0.25 } },
  )
  expect(trace.map(({ entry, pass, dice }) => [entry.label, pass, dice])).toEqual([
    ['first', 1, 25],
    ['second', 2, null],
    ['never', null, null],
  ])
  expect(new Set(trace.map(({ place }) => place)).size).toBe(1)
})

test('whatever a book holds, the budget is kept and each entry is there once', () => {
  const entry = fc.record({
    keys: fc.array(fc.constantFrom('cat', 'dog', '', '/c.t/', '(', 'x'), { maxLength: 3 }),
    content: fc.constantFrom('cat', 'dog x', '@@activate\nlong text', '', '@@@x'),
    constant: fc.boolean(),
    insertion_order: fc.integer({ min: -5, max: 5 }),
    extensions: fc.record(
      {
        selectiveLogic: fc.integer({ min: -1, max: 5 }),
        probability: fc.integer({ min: -10, max: 200 }),
        sticky: fc.integer({ min: -2, max: 4 }),
        cooldown: fc.integer({ min: -2, max: 4 }),
        group: fc.constantFrom('', 'g', 'g,h', ','),
        delay_until_recursion: fc.constantFrom(true, false, 1, 2),
        scan_depth: fc.integer({ min: -3, max: 5 }),
      },
      { requiredKeys: [] },
    ),
  })
  const message = fc.constantFrom(user('cat'), user('x'), assistant('dog'), assistant(''))
  fc.assert(
    fc.property(
      fc.array(entry, { maxLength: 12 }),
      fc.array(message, { maxLength: 12 }),
      fc.integer({ min: 0, max: 40 }),
      (entries, messages, budgetTokens) => {
        const { active } = run(entries.map(st), [...messages, user('cat')], { settings: { budgetTokens } })
        expect(active.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(budgetTokens)
        expect(new Set(active.map((hit) => hit.entry.id)).size).toBe(active.length)
      },
    ),
    { seed: 20_261_123, numRuns: 2_000 },
  )
})

describe('patterns that cost too much', () => {
  const entries = ['/(a+)+b/', '/(a|a?)+c/', '/harbour/i'].map((key) =>
    st({ keys: [key], constant: false, comment: key }),
  )
  /** Each search takes longer than a turn waits. */
  const slowly = () => {
    let nowMs = 0
    return () => (nowMs += 100)
  }

  test('are given up, said by name, and looked for again in the next turn; what was found stays found', () => {
    const book = compileBook({ extensions: {}, entries })
    const turn = () =>
      activate([book], says(`${'a'.repeat(100)} c`), { ...SETTINGS, clockMs: slowly() }).trace.map(
        ({ isActive, reason }) => (isActive ? 'on' : reason),
      )
    const lost = (key: string) => expect.stringContaining(`no time to look for ${key}`) as string
    expect(turn()).toEqual([expect.not.stringContaining('no time'), lost('/(a|a?)+c/'), expect.anything()])
    expect(turn()[1]).toBe('on')
  })

  test('and are too large are never looked for', () => {
    const key = '/(a{1,30}){1,30}b/'
    const { trace } = run([st({ keys: [key], constant: false })], says('ab'))
    expect(trace[0]?.reason).toMatch(/too large/)
  })

  test('a long text is searched to its beginning, and across its parts', () => {
    const found = (text: string) => run([st({ keys: ['/x+y/'], constant: false })], says(text)).active.length
    for (const before of [0, 100, 8_000, 8_190, 20_000])
      expect(found(`${'-'.repeat(before)}xxy${'-'.repeat(30_000)}`)).toBe(1)
    expect(found('-'.repeat(60_000))).toBe(0)
  })
})
