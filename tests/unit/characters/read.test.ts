import { readFileSync } from 'node:fs'
import path from 'node:path'
import { deflateSync } from 'node:zlib'

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import { Card } from '#characters/card.ts'
import { readCard, type ReadCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'

import { cpuTime } from '../../support/cpu-time.ts'
import { base64Of, HEADER, pngChunk, pngOf, PNG_SIGNATURE, textChunk } from '../../support/png.ts'
import { asRefusal } from '../../support/refusal.ts'
import { CARD_FILES } from '../../support/sample-files.ts'
import { sampleCard, sampleEntry } from '../../support/samples.ts'

const FIXTURES = path.resolve('tests/fixtures/cards')
const samples = CARD_FILES.map(({ name, bytes }) => [name, bytes] as const)
const read = (value: unknown, name = 'file.json') => readCard(Buffer.from(JSON.stringify(value)), name)
const v3 = (data: unknown) => ({ spec: 'chara_card_v3', spec_version: '3.0', data })
const codes = (notes: readonly { code: string }[]) => notes.map(({ code }) => code)
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('every sample', () => {
  test.each(samples)('%s is read into a strict card with a name', async (_name, bytes) => {
    const { card } = await readCard(bytes, 'sample')
    expect(Card.safeParse(card).success).toBe(true)
    expect(card.name).not.toBe('')
  })

  test.each(samples)('%s comes back the same from JSON, from YAML and from PNG', async (_name, bytes) => {
    const { card, container, picture } = await readCard(bytes, 'sample')
    const modifiedAtSeconds = 1_700_000_000
    const expected = plain({ ...card, modification_date: modifiedAtSeconds })
    expect(plain((await readCard(writeCard(card, 'json', { modifiedAtSeconds }), 'again')).card)).toEqual(
      expected,
    )
    const yaml = writeCard(card, 'yaml', { modifiedAtSeconds })
    expect(plain((await readCard(yaml, 'again')).card)).toEqual(expected)
    const png = writeCard(card, 'png', {
      modifiedAtSeconds,
      picture: container.includes('png') && picture !== undefined ? picture : pngOf(),
    })
    expect(plain((await readCard(png, 'again')).card)).toEqual(expected)
  })
})

describe('versions', () => {
  test.each([
    ['V1', { name: 'A', description: 'd', first_mes: 'hi' }, 'v1'],
    [
      'V1 with the names of another program',
      { char_name: 'A', char_persona: 'd', char_greeting: 'hi' },
      'v1',
    ],
    [
      'V2',
      { spec: 'chara_card_v2', spec_version: '2.0', data: { name: 'A', description: 'd', first_mes: 'hi' } },
      'v2',
    ],
    [
      'V3 with V1 repeated at the root',
      { ...v3({ name: 'A', description: 'd', first_mes: 'hi' }), name: 'old', description: 'old' },
      'v3',
    ],
    ['V3 fields at the root', { spec: 'chara_card_v3', name: 'A', description: 'd', first_mes: 'hi' }, 'v3'],
    ['data without a spec', { data: { name: 'A', description: 'd', first_mes: 'hi' } }, 'v2'],
    [
      'data without a spec, with the version of V3',
      { spec_version: '3.0', data: { name: 'A', description: 'd', first_mes: 'hi' } },
      'v3',
    ],
  ])('%s', async (_name, value, spec) => {
    const result = await read(value)
    expect(result.spec).toBe(spec)
    expect(result.card).toMatchObject({ name: 'A', description: 'd', first_mes: 'hi' })
  })

  test('unknown keys beside and inside the data survive a round trip', async () => {
    const { card } = await read({
      ...v3({ ...sampleCard(), new_field: { a: 1 } }),
      create_date: 'today',
      fav: true,
    })
    const exported = JSON.parse(
      Buffer.from(writeCard(card, 'json', { modifiedAtSeconds: 1 })).toString(),
    ) as Record<string, unknown>
    expect(exported).toMatchObject({
      create_date: 'today',
      fav: true,
      data: { new_field: { a: 1 }, extensions: {} },
    })
  })
})

const BOOK = { extensions: {}, entries: [sampleEntry()] }

describe('the card inside a picture', () => {
  const [newer, older] = [v3(sampleCard({ name: 'Newer' })), v3(sampleCard({ name: 'Older' }))]
  test.each([
    [
      'ccv3 wins over chara',
      pngOf(textChunk('chara', base64Of(older)), textChunk('ccv3', base64Of(newer))),
      'Newer',
      [],
    ],
    [
      'the last of several',
      pngOf(textChunk('chara', base64Of(older)), textChunk('chara', base64Of(newer))),
      'Newer',
      ['several_cards'],
    ],
    [
      'a broken ccv3 falls back',
      pngOf(textChunk('ccv3', 'e30='.slice(0, 3)), textChunk('chara', base64Of(older))),
      'Older',
      ['second_choice'],
    ],
    ['JSON instead of base64', pngOf(textChunk('chara', JSON.stringify(newer))), 'Newer', []],
    [
      'base64 with a data prefix',
      pngOf(textChunk('chara', `data:application/json;base64,${base64Of(newer)}`)),
      'Newer',
      [],
    ],
    ['base64 in lines', pngOf(textChunk('chara', base64Of(newer).replace(/(.{76})/g, '$1\n'))), 'Newer', []],
    [
      'base64 for addresses',
      pngOf(textChunk('chara', Buffer.from(JSON.stringify(newer)).toString('base64url'))),
      'Newer',
      [],
    ],
    [
      'a compressed chunk',
      pngOf(pngChunk('zTXt', Buffer.concat([Buffer.from('chara\0\0'), deflateSync(base64Of(newer))]))),
      'Newer',
      [],
    ],
    ['an international chunk', pngOf(pngChunk('iTXt', `chara\0\0\0\0\0${base64Of(newer)}`)), 'Newer', []],
    [
      'a wrong checksum',
      pngOf(pngChunk('tEXt', `chara\0${base64Of(newer)}`, 1)),
      'Newer',
      ['wrong_checksum'],
    ],
    [
      'no end',
      Buffer.concat([PNG_SIGNATURE, HEADER, textChunk('chara', base64Of(newer))]),
      'Newer',
      ['truncated_picture'],
    ],
    [
      'the last that can be read',
      pngOf(textChunk('chara', base64Of(older)), textChunk('chara', 'e30='.slice(0, 3))),
      'Older',
      ['several_cards', 'second_choice'],
    ],
    [
      'the one with a lorebook, though a later save lost it',
      pngOf(
        textChunk('chara', base64Of(v3(sampleCard({ name: 'With lore', character_book: BOOK })))),
        textChunk('chara', base64Of(newer)),
      ),
      'With lore',
      ['several_cards'],
    ],
    [
      'a megabyte of something behind it',
      Buffer.concat([pngOf(textChunk('chara', base64Of(newer))), Buffer.alloc(1_000_000, 7)]),
      'Newer',
      [],
    ],
  ])('%s', async (_name, bytes, name, expected) => {
    const { card, notes } = await readCard(bytes, 'x.png')
    expect(card.name).toBe(name)
    expect(codes(notes)).toEqual(expected)
  })
})

const DATA_URL = `data:image/png;base64,${'A'.repeat(400_000)}`

describe('a repair', () => {
  test.each([
    ['null instead of a text', { personality: null }, { personality: '' }, ['null_value']],
    ['a number instead of a text', { character_version: 2 }, { character_version: '2' }, ['converted']],
    ['an object instead of a text', { scenario: {} }, { scenario: '' }, ['wrong_type']],
    [
      'a time where greetings belong',
      { alternate_greetings: '2024-01-01T00:00:00Z' },
      { alternate_greetings: [] },
      ['wrong_type'],
    ],
    [
      'one text where greetings belong',
      { alternate_greetings: 'Hi' },
      { alternate_greetings: ['Hi'] },
      ['converted'],
    ],
    [
      'dates in milliseconds',
      { creation_date: 1_700_000_000_000 },
      { creation_date: 1_700_000_000 },
      ['converted'],
    ],
    ['a date that is none', { creation_date: 'soon' }, { creation_date: undefined }, ['wrong_date']],
    [
      'a remote picture',
      { assets: [{ type: 'icon', uri: 'https://a/b.png', name: 'main', ext: 'png' }] },
      {},
      ['remote_asset'],
    ],
    ['no book', { character_book: null }, { character_book: undefined }, []],
    [
      'scripts of other programs',
      {
        extensions: {
          regex_scripts: [{ findRegex: 'x' }],
          risuai: { triggerscript: [{}], customScripts: [] },
        },
      },
      {
        extensions: {
          regex_scripts: [{ findRegex: 'x' }],
          risuai: { triggerscript: [{}], customScripts: [] },
        },
      },
      ['scripts_not_run', 'scripts_not_run'],
    ],
    [
      'options that make no sense',
      { extensions: { troupe: { layout: 'round', options: { temperature: 'hot', seed: 7 } } } },
      {},
      ['senseless_setting', 'senseless_setting'],
    ],
    [
      'no options that are given in part, or in another order',
      { extensions: { troupe: { sampling: { days: 3, share: 0.5 }, lore: { deepest: 4 } } } },
      {},
      [],
    ],
    [
      'options by names that there are not',
      { extensions: { troupe: { modle: 'small', sampling: { share: 1, hours: 3 } } } },
      {},
      ['senseless_setting', 'senseless_setting'],
    ],
    ['options that are none', { extensions: { troupe: 'x' } }, {}, ['senseless_setting']],
    [
      'a note with a macro that nothing replaces',
      { extensions: { depth_prompt: { prompt: '{{foo}}' } } },
      {},
      ['unknown_macros'],
    ],
    [
      'keys that reach into prototypes',
      { extensions: JSON.parse('{"__proto__":{"polluted":true}}') as object },
      {},
      ['refused_key'],
    ],
    [
      'a NUL that hides such a key',
      { extensions: JSON.parse('{"__pro\\u0000to__":{"polluted":true}}') as object },
      { extensions: {} },
      ['broken_characters', 'refused_key'],
    ],
    [
      'a picture in a data URL longer than any text',
      { assets: [{ type: 'icon', uri: DATA_URL, name: 'main', ext: 'png' }] },
      { assets: [{ type: 'icon', uri: DATA_URL, name: 'main', ext: 'png' }] },
      [],
    ],
    ['half of an emoji', { scenario: 'a \uD83D b' }, { scenario: 'a \uFFFD b' }, ['broken_characters']],
  ])('%s', async (_name, broken, mended, expected) => {
    const { card, notes } = await read(v3({ ...sampleCard(), ...broken }))
    for (const [key, value] of Object.entries(mended)) expect(card[key]).toEqual(value)
    expect(codes(notes)).toEqual(expected)
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  test.each([
    [
      'entries as an object',
      { entries: { 0: { keys: ['a'], content: 'x' } } },
      { keys: ['a'], content: 'x', enabled: true },
    ],
    ['keys with commas', { entries: [{ keys: 'a, b', content: 'x' }] }, { keys: ['a', 'b'] }],
    [
      'key for keys, numbers as texts',
      { entries: [{ key: ['a'], content: 'x', insertion_order: '7' }] },
      { keys: ['a'], insertion_order: 7 },
    ],
    [
      'an empty position',
      { entries: [{ keys: ['a'], content: 'x', position: '' }] },
      { keys: ['a'], content: 'x', position: undefined },
    ],
    [
      'an entry that another program switched off',
      { entries: [{ key: ['a'], content: 'x', disable: true }] },
      { enabled: false },
    ],
    [
      'a place by its number',
      { entries: [{ keys: ['a'], content: 'x', position: 4 }] },
      { extensions: { position: 4 } },
    ],
  ])('a lorebook with %s', async (_name, book, expected) => {
    const { card } = await read(v3({ ...sampleCard(), character_book: book }))
    expect({ position: undefined, ...card.character_book?.entries[0] }).toMatchObject(expected)
  })

  test('a card in UTF-16 is read as it was meant', async () => {
    const text = JSON.stringify(v3(sampleCard({ name: 'Zoë' })))
    const marked = Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(text, 'utf16le')])
    for (const bytes of [marked, Buffer.from(text, 'utf16le')]) {
      const { card, notes } = await readCard(bytes, 'x.json')
      expect(card.name).toBe('Zoë')
      expect(codes(notes)).toEqual(['not_utf8'])
    }
  })

  test('one fault in every item of a long list is one note', async () => {
    const greetings = Array.from({ length: 300_000 }, (_, index) => index)
    const { notes } = await read(v3({ ...sampleCard(), alternate_greetings: greetings }))
    expect(codes(notes)).toEqual(['shortened', 'converted'])
    expect(notes[1]?.message).toContain('1999 more like this')
  })

  test('faults of too many kinds are counted up to a bound', async () => {
    const fields = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`field${index}`, 'a\0']))
    const { notes } = await read(v3({ ...sampleCard(), ...fields }))
    expect(notes).toHaveLength(101)
    expect(notes.at(-1)?.code).toBe('more_notes')
  })

  test('an empty name is taken from the file', async () => {
    const { card, notes } = await read(v3({ ...sampleCard(), name: ' ' }), '../cards/Old Sailor.png')
    expect(card.name).toBe('Old Sailor')
    expect(codes(notes)).toEqual(['no_name'])
  })

  test('every field of every wrong type still gives a card, with at most a note for it', async () => {
    for (const field of Object.keys(sampleCard())) {
      for (const value of [null, 7, true, [], {}, 'text', [null], [{}]]) {
        const { card } = await read(v3({ ...sampleCard(), [field]: value }))
        expect(Card.safeParse(card).success).toBe(true)
      }
    }
  })
})

const BOMB = pngChunk(
  'zTXt',
  Buffer.concat([Buffer.from('chara\0\0'), deflateSync(Buffer.alloc(17_000_000))]),
)

const CARD = Buffer.from(JSON.stringify(sampleCard())).toString('base64')

const chatLog = (head: object) =>
  Buffer.from([head, { name: 'Tom', mes: 'Hello' }].map((line) => `${JSON.stringify(line)}\n`).join(''))

test('a picture that breaks off behind the text of its card is read', async () => {
  const whole = pngOf(textChunk('chara', CARD))
  const end = whole.indexOf('IEND') - 4
  // Without the end of the picture, and without the checksum of the text as well.
  for (const bytes of [whole.subarray(0, end), whole.subarray(0, end - 4)])
    expect(codes((await readCard(bytes, 'x')).notes)).toContain('truncated_picture')
})

describe('a file that cannot be a card says what to do', () => {
  const deep = '['.repeat(200_000)
  test.each([
    ['an empty file', Buffer.alloc(0), /no card file/],
    ['a picture without a card', pngOf(), /without a character in it/],
    ['a zip', Buffer.from('PK\x03\x04'), /cut off/],
    ['a JPEG', Buffer.from([0xff, 0xd8, 0xff, 0xd9]), /without a character/],
    ['the beginning of a JPEG', Buffer.from([0xff, 0xd8, 0xff, 0xe0]), /cut off.*download it again/],
    ['a picture that breaks off in its card', pngOf(textChunk('chara', CARD)).subarray(0, 200), /cut off/],
    ['a picture that breaks off before its card', pngOf().subarray(0, 40), /cut off.*download it again/],
    ['the log of a chat', chatLog({ user_name: 'Tom', character_name: 'Mira' }), /log of a chat.*export/],
    ['a newer log of a chat', chatLog({ chat_metadata: {} }), /log of a chat/],
    ['the log of a chat without a message', Buffer.from('{"chat_metadata":{}}'), /log of a chat/],
    ['a lorebook', readFileSync(path.join(FIXTURES, 'own-cc0/lorebook_v3.json')), /lorebook/],
    ['a card encrypted by RisuAI', pngOf(textChunk('chara', 'rcc||rccv1||abc')), /encrypted/],
    ['a RisuAI-only card', pngOf(textChunk('risuai', 'abc')), /RisuAI-only/],
    ['half of a JSON', Buffer.from('{"spec":'), /not valid JSON/],
    ['JSON about something else', Buffer.from('{"a":1}'), /neither a name nor a description/],
    ['JSON nested without end', Buffer.from(`{"data":${deep}`), /nested deeper/],
    [
      'a length that lies',
      Buffer.concat([PNG_SIGNATURE, HEADER, Buffer.from([0xff, 0xff, 0xff, 0xf0]), Buffer.from('tEXtchara')]),
      /truncated/,
    ],
    [
      'too many parts',
      pngOf(...Array.from({ length: 20_000 }, () => textChunk('x', ''))),
      /more than 10000 parts/,
    ],
    [
      'a text that unpacks without end',
      pngOf(
        pngChunk('zTXt', Buffer.concat([Buffer.from('chara\0\0'), deflateSync(Buffer.alloc(40_000_000))])),
      ),
      /more than 16 MB/,
    ],
    [
      'many texts that unpack without end',
      pngOf(...Array.from({ length: 100 }, () => BOMB)),
      /more than 16 MB/,
    ],
  ])('%s', async (_name, bytes, message) => {
    const { cpuMs } = await cpuTime(() => expect(readCard(bytes, 'x')).rejects.toThrow(message))
    expect(cpuMs).toBeLessThan(500)
  })
})

test('flipped bits never bring anything but a card, or a refusal for what the file is', async () => {
  const sources = samples.map(([, bytes]) => bytes)
  const flip = fc.record({
    source: fc.nat(sources.length - 1),
    flips: fc.array(fc.tuple(fc.nat(300_000), fc.nat(255)), { minLength: 1, maxLength: 12 }),
  })
  await fc.assert(
    fc.asyncProperty(flip, async ({ source, flips }) => {
      const bytes = Buffer.from(sources[source] ?? Buffer.alloc(0))
      for (const [at, value] of flips) bytes[at % bytes.length] = value
      const read = () => readCard(bytes, 'x').catch((thrown: unknown) => thrown)
      let { value, cpuMs } = await cpuTime(read)
      if (value instanceof Error) asRefusal(value)
      else expect(Card.safeParse((value as ReadCard).card).success).toBe(true)
      // Of twenty thousand one is measured while the garbage of the others is collected.
      if (cpuMs >= 200) ({ value, cpuMs } = await cpuTime(read))
      expect(cpuMs).toBeLessThan(200)
    }),
    { seed: 20_261_123, numRuns: 20_000 },
  )
}, 120_000)
