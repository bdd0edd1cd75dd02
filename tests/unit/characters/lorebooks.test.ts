import { readFile } from 'node:fs/promises'
import path from 'node:path'

import { describe, expect, test } from 'vitest'

import { Lorebook } from '#characters/card.ts'
import { compileBook } from '#characters/lore/book.ts'
import { readLorebook, writeLorebook } from '#characters/lorebooks.ts'

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
