import { expect, test } from 'vitest'

import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'

const read = (value: object) => readCard(Buffer.from(JSON.stringify(value)), 'card.json')

const AGNAI = {
  kind: 'character',
  name: 'Mira',
  description: 'For people who like harbours.',
  persona: { kind: 'boostyle', attributes: { job: ['keeper', 'diver'], mood: ['calm'] } },
  greeting: 'Good evening.',
  sampleChat: '{{user}}: Hello\n{{char}}: Hello.',
  scenario: 'A lighthouse.',
  systemPrompt: 'Speak slowly.',
  alternateGreetings: ['Good morning.'],
  tags: ['sea'],
  voice: { service: 'none' },
  characterBook: {
    kind: 'memory',
    name: 'Coast',
    entries: [
      {
        name: 'Reef',
        keywords: ['reef'],
        entry: 'The reef is sharp.',
        weight: 4,
        priority: 2,
        enabled: true,
      },
    ],
  },
}

const SITE = {
  id: 7,
  fullPath: 'tess/mira',
  name: 'Mira',
  description: 'For people who like harbours.',
  topics: ['sea'],
  starCount: 3,
  definition: {
    name: 'Mira Holt',
    personality: 'A calm keeper of a lighthouse.',
    tavern_personality: 'calm',
    first_message: 'Good evening.',
    example_dialogs: '{{char}}: Hello.',
    scenario: 'A lighthouse.',
    system_prompt: '',
    alternate_greetings: ['Good morning.'],
    embedded_lorebook: { entries: [{ keys: ['reef'], content: 'The reef is sharp.' }] },
    bound_preset: { id: 9 },
  },
}

test("a card in Agnai's own form is read with its persona, and loses nothing", async () => {
  const { card, notes } = await read(AGNAI)
  expect(card).toMatchObject({
    name: 'Mira',
    description: 'job: keeper, diver\nmood: calm',
    creator_notes: 'For people who like harbours.',
    first_mes: 'Good evening.',
    mes_example: AGNAI.sampleChat,
    scenario: 'A lighthouse.',
    system_prompt: 'Speak slowly.',
    alternate_greetings: ['Good morning.'],
    tags: ['sea'],
    character_book: {
      name: 'Coast',
      entries: [
        { keys: ['reef'], content: 'The reef is sharp.', insertion_order: 4, priority: 2, enabled: true },
      ],
    },
    // Without a place in a card.
    ...{ voice: AGNAI.voice, persona: AGNAI.persona },
  })
  expect(notes.map(({ code }) => code)).toContain('foreign_form')
  const plain = { ...AGNAI, persona: { kind: 'text', attributes: { text: ['A calm keeper.'] } } }
  expect((await read(plain)).card.description).toBe('A calm keeper.')
})

test('an answer of a card site is read under the names that it has there, and loses nothing', async () => {
  const { card, notes } = await read(SITE)
  expect(card).toMatchObject({
    name: 'Mira',
    description: 'A calm keeper of a lighthouse.',
    personality: 'calm',
    creator_notes: 'For people who like harbours.',
    first_mes: 'Good evening.',
    mes_example: '{{char}}: Hello.',
    scenario: 'A lighthouse.',
    alternate_greetings: ['Good morning.'],
    tags: ['sea'],
    character_book: { entries: [{ keys: ['reef'], content: 'The reef is sharp.' }] },
    ...{ id: 7, fullPath: 'tess/mira', starCount: 3, bound_preset: { id: 9 } },
    // The site's own name wins; the other one stays.
    definition: { name: 'Mira Holt' },
  })
  expect(notes.map(({ code }) => code)).toContain('foreign_form')
  const flat = {
    ...SITE,
    ...SITE.definition,
    name: 'Mira',
    description: SITE.description,
    definition: undefined,
  }
  expect((await read(flat)).card).toMatchObject({
    description: 'A calm keeper of a lighthouse.',
    personality: 'calm',
  })
})

test('an answer of a card site that has a text under both names keeps both', async () => {
  const both = { ...SITE, definition: { ...SITE.definition, first_mes: 'Come in.' } }
  expect((await read(both)).card).toMatchObject({ first_mes: 'Come in.', first_message: 'Good evening.' })
})

test.each([
  ['Agnai', AGNAI],
  ['a card site', SITE],
])('what comes from %s is the same after it was exported and read again', async (_name, file) => {
  const { card } = await read(file)
  const again = await readCard(writeCard(card, 'json', { modifiedAtSeconds: 5 }), 'x.json')
  expect(again.card).toEqual({ ...card, modification_date: 5 })
})
