import { describe, expect, test } from 'vitest'

import { characterRow, taskRow, type SyncCharacter } from '#openwebui/rows.ts'

const mira: SyncCharacter = {
  id: 'mira',
  name: 'Mira',
  tagline: 'Keeps a lighthouse.',
  tags: ['Companion'],
  greetings: [],
  groups: null,
  portrait: null,
  takesPictures: false,
}

const chips = (...greetings: string[]) =>
  characterRow({
    ...mira,
    greetings: greetings.map((greeting, index) => ({ prompt: `(${String(index)})`, greeting })),
  }).meta.suggestion_prompts

describe('the row of a character', () => {
  test('shows no picture of another server, no HTML and no link in its description', () => {
    const tagline =
      '**Calm** ![](https://x.example/b.png)<img src="https://x.example/c.png"> [keeper](https://x.example)'
    expect(characterRow({ ...mira, tagline }).meta.description).toBe('Calm keeper')
  })

  test('shows name, tagline, tags and portrait', () => {
    expect(characterRow({ ...mira, portrait: Buffer.from('webp bytes') })).toMatchObject({
      id: 'mira',
      name: 'Mira',
      meta: {
        profile_image_url: 'data:image/webp;base64,d2VicCBieXRlcw==',
        description: 'Keeps a lighthouse.',
        tags: [{ name: 'Companion' }],
      },
    })
  })

  test.each([true, false])('lets people attach pictures where its model takes them: %s', (takesPictures) => {
    expect(characterRow({ ...mira, takesPictures }).meta.capabilities['vision']).toBe(takesPictures)
  })

  test('without a portrait leaves the place empty, so that an earlier one goes', () => {
    expect(characterRow(mira).meta.profile_image_url).toBe('')
  })

  test('names each tag once, without the spaces around it', () => {
    expect(characterRow({ ...mira, tags: [' Sea', 'Sea ', '', ' ', 'Calm'] }).meta.tags).toEqual([
      { name: 'Sea' },
      { name: 'Calm' },
    ])
  })

  test('offers each greeting by its first words; a click says the agreed prompt', () => {
    expect(chips('Who is there?', 'Come in.')).toEqual([
      { title: ['Begin the scene', 'Who is there?'], content: '(0)' },
      { title: ['Begin another way', 'Come in.'], content: '(1)' },
    ])
  })

  test('puts Open WebUI’s own tools away', () => {
    expect(characterRow(mira).meta.capabilities).toMatchObject({
      builtin_tools: false,
      vision: false,
      usage: true,
    })
  })
})

describe('the first words of a greeting', () => {
  test.each([
    ['markdown', '**Mira** _smiles_ at `you`.', 'Mira smiles at you.'],
    ['pictures and HTML', '![a](http://x/y.png)<b>Hello</b>\n\nthere', 'Hello there'],
    [
      'a long sentence is cut between words',
      'The storm has been howling around the tower since noon today.',
      'The storm has been howling around the tower…',
    ],
    ['a script without spaces', '海'.repeat(60), `${'海'.repeat(48)}…`],
    ['a smile of several code points is one character', '👩‍🚀'.repeat(49), `${'👩‍🚀'.repeat(48)}…`],
    ['nothing but a picture', '![a](b)', ''],
  ])('%s', (_, greeting, expected) => {
    expect(chips(greeting)[0]?.title[1]).toBe(expected)
  })
})

describe('the revision', () => {
  test('is the same for the same character', () => {
    expect(characterRow({ ...mira }).revision).toBe(characterRow(mira).revision)
  })

  test.each<[string, Partial<SyncCharacter>]>([
    ['name', { name: 'Mirabel' }],
    ['tagline', { tagline: 'Another.' }],
    ['tags', { tags: [] }],
    ['greetings', { greetings: [{ prompt: '(Begin the scene)', greeting: 'Hi' }] }],
    ['portrait', { portrait: Buffer.from('x') }],
    ['pictures that it takes', { takesPictures: true }],
  ])('changes with the %s', (_, over) => {
    expect(characterRow({ ...mira, ...over }).revision).not.toBe(characterRow(mira).revision)
  })
})

test('the model for tasks is hidden from the picker, a character is left as it is', () => {
  expect(taskRow('troupe-task')).toMatchObject({
    id: 'troupe-task',
    meta: { hidden: true, suggestion_prompts: [] },
  })
  expect(characterRow(mira).meta).not.toHaveProperty('hidden')
})
