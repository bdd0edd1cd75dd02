import { readFile } from 'node:fs/promises'
import path from 'node:path'

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { Lorebook } from '#characters/card.ts'
import { compileBook } from '#characters/lore/book.ts'
import { readLorebook, writeLorebook } from '#characters/lorebooks.ts'

import { cpuTime } from '../../support/cpu-time.ts'
import { pngOf } from '../../support/png.ts'
import { asRefusal } from '../../support/refusal.ts'
import { LOREBOOK_FILES } from '../../support/sample-files.ts'
import { sampleCard, sampleEntry } from '../../support/samples.ts'

const SAMPLES = 'tests/fixtures/cards'
const sample = (name: string) => readFile(path.join(SAMPLES, name))
const json = (value: unknown) => Buffer.from(JSON.stringify(value))

describe('a lorebook is read', () => {
  test.each([
    ['V3', 'own-cc0/lorebook_v3.json', 'Tarn', 'Grey Bell'],
    [
      'inside a card',
      'mit-tavern_kit/playground_test_fixtures_files_characters_with_lorebook.json',
      'Test Lorebook',
      'test entry',
    ],
    ['inside an archive', 'mit-tavern_kit/test_character_with_lorebook.charx', undefined, undefined],
  ])('%s, the same after it was written', async (_form, file, name, key) => {
    const read = await readLorebook(await sample(file), file)
    expect(Lorebook.safeParse(read.lorebook).success).toBe(true)
    expect(read.lorebook.entries.length).toBeGreaterThan(0)
    if (name !== undefined) expect(read.name).toBe(name)
    if (key !== undefined) expect(read.lorebook.entries[0]?.keys).toContain(key)
    const again = await readLorebook(writeLorebook(read.lorebook), 'again.json')
    expect(again).toMatchObject({ lorebook: read.lorebook, notes: [] })
  })

  test('from a world file of SillyTavern, with everything in its place and nothing to complain of', async () => {
    const world = {
      name: 'Coast',
      scanDepth: 3,
      originalFile: 'kept',
      entries: {
        0: {
          ...{ uid: 0, key: ['reef'], keysecondary: ['tide'], comment: 'The reef', content: 'Sharp rocks.' },
          ...{ constant: false, selective: true, selectiveLogic: 3, order: 50, position: 4, disable: false },
          ...{
            depth: 2,
            role: 1,
            scanDepth: 1,
            matchWholeWords: false,
            probability: 40,
            useProbability: true,
          },
          ...{ group: 'sea', sticky: 2, excludeRecursion: true, displayIndex: 7, addMemo: true },
          characterFilter: { isExclude: true, names: ['Otto'], tags: [] },
        },
        1: { uid: 1, key: ['gull'], content: 'Gulls steal.', disable: true },
      },
    }
    const { name, lorebook, notes } = await readLorebook(json(world), 'coast.json')
    expect([name, notes]).toEqual(['Coast', []])
    expect(lorebook).toMatchObject({ scan_depth: 3, originalFile: 'kept' })
    const book = compileBook(lorebook)
    expect(book.dialect).toBe('st')
    expect(book.entries).toMatchObject([
      {
        ...{ label: 'The reef', logic: 'and_all', order: 50, isEnabled: true, scanDepth: 1, probability: 40 },
        ...{ groups: ['sea'], sticky: 2, excludesRecursion: true },
        place: { kind: 'at_depth', depth: 2, role: 'user' },
      },
      { isEnabled: false },
    ])
    expect(lorebook.entries[0]).toMatchObject({
      addMemo: true,
      extensions: { display_index: 7, character_filter: { isExclude: true, names: ['Otto'] } },
    })
  })

  test('from a lorebook of RisuAI, whose folders are kept and never called up', async () => {
    const risu = {
      ...{ type: 'risu', ver: 1 },
      data: [
        {
          ...{ key: 'reef, rocks', secondkey: 'tide', selective: true, insertorder: 30, mode: 'normal' },
          ...{ comment: 'The reef', content: 'Sharp rocks.', alwaysActive: false, activationPercent: 40 },
        },
        { key: '\uf000folder:1', comment: 'Folder', content: '', insertorder: 1, mode: 'folder' },
      ],
    }
    const { lorebook, notes } = await readLorebook(json(risu), 'coast.json')
    expect(notes).toEqual([])
    expect(lorebook).toMatchObject({
      ver: 1,
      entries: [
        {
          ...{ keys: ['reef', 'rocks'], secondary_keys: ['tide'], insertion_order: 30, constant: false },
          ...{ content: 'Sharp rocks.', comment: 'The reef', extensions: { probability: 40 } },
        },
        { enabled: false, mode: 'folder' },
      ],
    })
  })

  test('from a lorebook of NovelAI', async () => {
    const novel = {
      ...{ lorebookVersion: 5, settings: { orderByKeyLocations: false } },
      entries: [
        {
          ...{ text: 'Sharp rocks.', displayName: 'The reef', keys: ['reef', '/ro.ks/i'], enabled: true },
          ...{ forceActivation: true, contextConfig: { budgetPriority: 400, prefix: '' } },
        },
      ],
    }
    const { lorebook, notes } = await readLorebook(json(novel), 'coast.lorebook')
    expect(notes).toEqual([])
    expect(lorebook.entries).toMatchObject([
      {
        ...{ keys: ['reef', '/ro.ks/i'], content: 'Sharp rocks.', name: 'The reef', constant: true },
        ...{ insertion_order: 400, contextConfig: { prefix: '' } },
      },
    ])
    expect(lorebook).toMatchObject({ lorebookVersion: 5 })
  })

  test('from a memory book of Agnai', async () => {
    const memory = {
      kind: 'memory',
      name: 'Sea',
      entries: [
        { name: 'Reef', entry: 'Sharp rocks.', keywords: ['reef'], priority: 3, weight: 5, enabled: true },
      ],
    }
    const { lorebook } = await readLorebook(json(memory), 'x.json')
    expect(lorebook.entries).toMatchObject([
      { keys: ['reef'], content: 'Sharp rocks.', insertion_order: 5, priority: 3, name: 'Reef' },
    ])
  })

  test('called by its file when it has no name', async () => {
    expect((await readLorebook(json({ entries: [] }), 'C:\\books\\the coast.json')).name).toBe('the coast')
  })
})

test.each([
  ['text', Buffer.from('hello')],
  ['a list', json([1, 2])],
  ['a number', json(7)],
  ['a card without a book', json({ name: 'Mira', description: 'x' })],
  ['broken JSON', Buffer.from('{"entries": [')],
  ['a V3 lorebook without content', json({ spec: 'lorebook_v3', data: 3 })],
  ['nothing', Buffer.alloc(0)],
])('%s is refused with what to do', async (_name, bytes) => {
  await expect(readLorebook(bytes, 'x.json')).rejects.toMatchObject({ name: 'AppError', code: 'invalid' })
})

test('entries that make no sense are left out with a note, the others are read', async () => {
  const { lorebook, notes } = await readLorebook(
    json({ entries: [3, { key: 'reef', content: 'Rocks.' }, null] }),
    'x.json',
  )
  expect(lorebook.entries).toMatchObject([{ keys: ['reef'], content: 'Rocks.' }])
  expect(notes.length).toBeGreaterThan(0)
})

test('instructions of entries that have no effect here are told of', async () => {
  const book = { entries: [{ keys: ['a'], content: '@@inject_lore x\n@@end\ntext' }] }
  const { notes } = await readLorebook(json(book), 'x')
  expect(notes.map(({ code, message }) => [code, message])).toEqual([
    [
      'ignored_decorators',
      'The lorebook uses @@inject_lore, without effect here; the entries count as if that were not there.',
    ],
  ])
})

// -- hostile files ----------------------------------------------------------------------------------------------------

const sampleBook = { name: 'Coast', extensions: {}, entries: [sampleEntry({ keys: ['reef'] })] }

/** The same book in the form of each program, with these entries in place of its own. */
const FORMS: Readonly<Record<string, (entries: unknown) => unknown>> = {
  V3: (entries) => ({ spec: 'lorebook_v3', data: { ...sampleBook, entries } }),
  SillyTavern: (entries) => ({ name: 'Coast', scanDepth: 2, entries }),
  RisuAI: (data) => ({ type: 'risu', ver: 1, data }),
  Agnai: (entries) => ({ kind: 'memory', name: 'Coast', entries }),
  NovelAI: (entries) => ({ lorebookVersion: 5, entries }),
  'a card': (character_book) => ({
    ...{ spec: 'chara_card_v3', spec_version: '3.0' },
    data: { ...sampleCard(), character_book: { extensions: {}, entries: character_book } },
  }),
}

/** One entry with the fields that each program looks at. */
const FULL_ENTRY = {
  ...{ uid: 1, key: ['reef'], keys: ['reef'], keysecondary: [], secondkey: 'a, b', keywords: ['reef'] },
  ...{ content: 'Rocks.', entry: 'Rocks.', text: 'Rocks.', extensions: {}, position: 4, disable: false },
  ...{ order: 1, insertorder: 1, weight: 1, contextConfig: { budgetPriority: 1 }, activationPercent: 50 },
  ...{ mode: 'folder', characterFilter: { names: [] }, probability: 1, alwaysActive: true },
}

const WRONG = [null, 7, true, '', 'x', [], {}, [null], [[]], { a: 1 }]

describe('a hostile lorebook', () => {
  test.each(Object.entries(FORMS))(
    'in the form of %s is read into a strict book or refused with a sentence',
    async (_form, make) => {
      const wrong = Object.keys(FULL_ENTRY).flatMap((field) =>
        WRONG.map((value) => make([{ ...FULL_ENTRY, [field]: value }, value])),
      )
      for (const file of [...wrong, ...WRONG.map(make), make(Object.fromEntries([['a', FULL_ENTRY]]))]) {
        const read = await readLorebook(json(file), 'x').catch(asRefusal)
        if (!(read instanceof Error)) expect(Lorebook.safeParse(read.lorebook).success).toBe(true)
      }
    },
  )

  test.each(Object.entries(FORMS))(
    'of 100,000 entries in the form of %s is cut, and says so',
    async (_form, make) => {
      const entries = Array.from({ length: 100_000 }, (_, at) => ({
        key: 'a',
        keys: ['a'],
        content: String(at),
      }))
      const { value, cpuMs } = await cpuTime(() => readLorebook(json(make(entries)), 'x'))
      expect(value.lorebook.entries).toHaveLength(5_000)
      expect(value.notes.map(({ code }) => code)).toContain('shortened')
      expect(cpuMs).toBeLessThan(2_000)
    },
  )

  test.each([
    ['nothing', Buffer.alloc(0), /no lorebook/],
    ['half of one', Buffer.from('{"entries":{'), /not valid JSON/],
    ['nested without end', Buffer.from(`{"entries":${'['.repeat(100_000)}`), /nested deeper/],
    ['of 9 MB', json({ entries: [{ content: 'x'.repeat(9 * 1024 * 1024) }] }), /8 MB/],
    ['of another kind', json({ spec: 'lorebook_v3', data: [] }), /no lorebook/],
    ['a picture', pngOf(), /no lorebook/],
    ['a card that is too large', Buffer.alloc(65 * 1024 * 1024), /64 MB/],
  ])('that is %s says what is wrong', async (_what, bytes, message) => {
    const refusal = await readLorebook(bytes, 'x').catch(asRefusal)
    expect(refusal).toMatchObject({ message: expect.stringMatching(message) as unknown })
  })

  test('in UTF-16 is read, and keys that reach into prototypes are not', async () => {
    const written =
      '{"entries":[{"keys":["a"],"content":"b","__proto__":{"polluted":1}}],"constructor":{"prototype":{}}}'
    const bytes = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(written, 'utf16le')])
    const { lorebook, notes } = await readLorebook(bytes, 'x')
    expect(lorebook.entries[0]?.content).toBe('b')
    expect(notes.map(({ code }) => code)).toEqual(['not_utf8', 'refused_key', 'refused_key'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  test('with flipped bits is read or refused', async () => {
    const sources = [
      ...LOREBOOK_FILES.map(({ bytes }) => bytes),
      ...Object.values(FORMS).map((make) => json(make([FULL_ENTRY, sampleEntry()]))),
    ]
    const flip = fc.record({
      source: fc.nat(sources.length - 1),
      flips: fc.array(fc.tuple(fc.nat(300_000), fc.nat(255)), { minLength: 1, maxLength: 4 }),
    })
    await fc.assert(
      fc.asyncProperty(flip, async ({ source, flips }) => {
        const bytes = Buffer.from(sources[source] ?? Buffer.alloc(0))
        for (const [at, value] of flips) bytes[at % bytes.length] = value
        const read = await readLorebook(bytes, 'x').catch(asRefusal)
        if (!(read instanceof Error)) expect(Lorebook.safeParse(read.lorebook).success).toBe(true)
      }),
      { seed: 20_261_128, numRuns: 4_000 },
    )
  })
})
