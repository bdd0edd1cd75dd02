/** Cards in what is neither PNG nor JSON: archives, YAML, and the comments of other pictures. */
import { readFileSync } from 'node:fs'
import path from 'node:path'

import { describe, expect, test } from 'vitest'

import { readCard } from '#characters/read.ts'

import { cpuNowMs, timesAsMuch } from '../../support/cpu-time.ts'
import { HEADER, PNG_SIGNATURE } from '../../support/png.ts'
import { sampleCard } from '../../support/samples.ts'
import { zipOf, type Packed } from '../../support/zip.ts'

const FIXTURES = path.resolve('tests/fixtures/cards')
const sample = (name: string) => readFileSync(path.join(FIXTURES, name))
const codes = (notes: readonly { code: string }[]) => notes.map(({ code }) => code)
const cardJson = (over = {}) =>
  JSON.stringify({ spec: 'chara_card_v3', spec_version: '3.0', data: sampleCard({ name: 'Mira', ...over }) })
const card = (over = {}): Packed => ({ name: 'card.json', content: cardJson(over) })
const icon = (uri: string, name = 'main') => ({ type: 'icon', uri, name, ext: 'png' })
const PICTURE = Buffer.concat([PNG_SIGNATURE, HEADER])
const PIXELS: Packed = { name: 'assets/icon/images/main.png', content: PICTURE }

describe('a sample of each container', () => {
  test.each([
    ['own-cc0/v3_assets.charx', 'charx'],
    ['own-cc0/risu_like_stream.charx', 'charx'],
    ['own-cc0/jpeg_followed_by_zip.jpg', 'charx'],
    ['own-cc0/exif_usercomment.jpg', 'jpeg'],
    ['own-cc0/exif_usercomment.webp', 'webp'],
    ['mit-tavern_kit/test_character.charx', 'charx'],
    ['mit-tavern_kit/test_character_with_lorebook.charx', 'charx'],
  ])('%s', async (name, container) => {
    const read = await readCard(sample(name), 'sample')
    expect(read.container).toBe(container)
    expect(read.card.name).not.toBe('')
    expect(read.picture?.length).toBeGreaterThan(0)
  })
})

describe('YAML', () => {
  test.each([
    [
      'with names of text-generation-webui',
      'name: Mira\ngreeting: |-\n  Come in.\n  Sit.\ncontext: A keeper.\n',
    ],
    [
      'behind comments and a mark',
      '\uFEFF# a card\n\n---\n"name": Mira\nfirst_mes: "Come in.\\nSit."\ndescription: A keeper.',
    ],
  ])('%s', async (_name, text) => {
    const read = await readCard(Buffer.from(text), 'x.yaml')
    expect(read).toMatchObject({
      container: 'yaml',
      spec: 'v1',
      card: { name: 'Mira', first_mes: 'Come in.\nSit.', description: 'A keeper.' },
    })
  })

  test('with many keys costs no more than a long one', async () => {
    const withKeys = (length: number) => {
      const keys = Array.from({ length }, (_, index) => `key${index}: x`)
      const bytes = Buffer.from(`name: Mira\n${keys.join('\n')}`)
      return () => readCard(bytes, 'x.yaml')
    }
    // Four times as many; sixteen times the cost would be that of each key for each other one.
    expect(await timesAsMuch(withKeys(10_000), withKeys(40_000), 8)).toBeLessThanOrEqual(8)
  })

  test.each([
    ['not YAML at all', 'name: "Mira\ndescription: [', /not valid YAML/],
    ['about something else', 'version: 3\nservices: {}\n', /neither a name nor a description/],
    [
      'an alias bomb',
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${'*a,'.repeat(9)}]\nname: [${'*b,'.repeat(99)}]`,
      /not valid YAML/,
    ],
    ['nested without end', `name: ${'['.repeat(100_000)}`, /not valid YAML|nested deeper/],
    ['very long', `name: ${'x'.repeat(1024 * 1024)}`, /larger than 1 MB/],
  ])('%s', async (_name, text, message) => {
    await expect(readCard(Buffer.from(text), 'x.yaml')).rejects.toThrow(message)
  })
})

describe('an archive', () => {
  const assets = [icon('embeded://assets/icon/images/main.png')]
  test.each([
    [
      'brings the icon called main',
      [card({ assets: [icon('embeded://other.png', 'other'), ...assets] }), PIXELS],
      ['packed_assets'],
    ],
    [
      'and its other spelling',
      [card({ assets: [icon('embedded://assets/icon/images/main.png')] }), PIXELS],
      ['packed_assets'],
    ],
  ])('%s', async (_name, files, expected) => {
    const { card: read, picture, notes } = await readCard(zipOf(files), 'x.charx')
    expect(read.name).toBe('Mira')
    expect(Buffer.from(picture ?? []).equals(PICTURE)).toBe(true)
    expect(codes(notes)).toEqual(expected)
  })

  test.each([
    ['names a picture that is not there', [card({ assets })], ['missing_asset']],
    [
      'has a RisuAI module',
      [card(), { name: 'module.risum', content: 'x' }],
      ['risu_module', 'packed_assets'],
    ],
    [
      'has files that lead out of it',
      [
        card(),
        ...['../x', '/x', 'C:x', 'a\\x', 'a/../../x', 'y'.repeat(301)].map((name) => ({
          name,
          content: 'x',
        })),
      ],
      ['refused_file'],
    ],
    ['has a link', [card(), { name: 'link', content: '/etc/passwd', mode: 0o120777 }], ['refused_file']],
    ['has a folder of its own', [card(), { name: 'assets/', content: '' }], []],
    ['has a twin in other letters', [card(), { name: 'Card.json', content: '{}' }], ['packed_assets']],
    [
      'has a picture too large to open',
      [card({ assets }), { ...PIXELS, claimedBytes: 40 * 1024 * 1024 }],
      ['packed_assets', 'damaged_asset'],
    ],
  ])('that %s is read all the same', async (_name, files: Packed[], expected) => {
    const { card: read, picture, notes } = await readCard(zipOf(files), 'x.charx')
    expect(read.name).toBe('Mira')
    expect(picture).toBeUndefined()
    expect(codes(notes)).toEqual(expected)
  })

  const DECOY = Buffer.from('\xff\xd8\xff\xfe\x00\x08PK\x03\x04PK\x05\x06', 'latin1')
  test.each([
    ['a JPEG that pretends to be one', Buffer.concat([DECOY, Buffer.alloc(100)]), true],
    ['ten megabytes of something', Buffer.alloc(10 * 1024 * 1024, 7), false],
  ])('may stand behind %s', async (_name, before, hasPicture) => {
    const { card: read, picture } = await readCard(Buffer.concat([before, zipOf([card()])]), 'x.jpg')
    expect(read.name).toBe('Mira')
    expect(picture?.length).toBe(hasPicture ? before.length : undefined)
  })

  test('may have a comment that looks like its end', async () => {
    const fake = `PK\x05\x06${'\0'.repeat(18)}`
    const { card: read } = await readCard(zipOf([card()], { comment: `${fake} and more` }), 'x.charx')
    expect(read.name).toBe('Mira')
  })

  const ZEROS = Buffer.alloc(40 * 1024 * 1024)
  test.each([
    ['without a card', [{ name: 'a.txt', content: 'x' }], /without a card\.json/],
    ['with the card in a folder', [{ ...card(), name: 'x/card.json' }], /in a folder/],
    ['with the card spelled otherwise', [{ ...card(), name: 'CARD.JSON' }], /another spelling/],
    ['with two cards', [card(), card()], /"card\.json" twice/],
    ['that is encrypted', [{ ...card(), isEncrypted: true }], /encrypted/],
    ['with a card that unpacks without end', [{ name: 'card.json', content: ZEROS }], /larger than 8 MB/],
    [
      'that lies about the length of its card',
      [{ name: 'card.json', content: ZEROS, claimedBytes: 100 }],
      /damaged/,
    ],
    [
      'with too many files',
      Array.from({ length: 2_100 }, (_, index) => ({ name: `${index}`, content: '' })),
      /more than 2000 files/,
    ],
    ['with a card that is no JSON', [{ name: 'card.json', content: 'x' }], /not valid JSON/],
  ] as [string, Packed[], RegExp][])('%s says what to do', async (_name, files, message) => {
    const bytes = zipOf(files)
    const startedCpuMs = cpuNowMs()
    await expect(readCard(bytes, 'x.charx')).rejects.toThrow(message)
    expect(cpuNowMs() - startedCpuMs).toBeLessThan(1_000)
  })

  test('that is cut off says so', async () => {
    await expect(readCard(zipOf([card()]).subarray(0, -10), 'x.charx')).rejects.toThrow(/cut off/)
  })
})

describe('the comment of a picture', () => {
  const entry = (tag: number, type: number, count: number, value: number) => {
    const bytes = Buffer.alloc(12)
    bytes.writeUInt16LE(tag, 0)
    bytes.writeUInt16LE(type, 2)
    bytes.writeUInt32LE(count, 4)
    bytes.writeUInt32LE(value, 8)
    return bytes
  }
  const directory = (...entries: Buffer[]) =>
    Buffer.concat([Buffer.from([entries.length, 0]), ...entries, Buffer.alloc(4)])
  /** Exif with the comment in the nested directory. */
  const exifOf = (comment: Buffer) => {
    const header = Buffer.from('II*\0\x08\0\0\0', 'latin1')
    const first = directory(entry(0x8769, 4, 1, 26))
    const nested = directory(entry(0x9286, 7, comment.length, 44))
    return Buffer.concat([header, first, nested, comment])
  }
  const jpegOf = (exif: Buffer) => {
    const data = Buffer.concat([Buffer.from('Exif\0\0', 'latin1'), exif])
    const length = Buffer.alloc(2)
    length.writeUInt16BE(data.length + 2)
    return Buffer.concat([Buffer.from([0xff, 0xd8, 0xff, 0xe1]), length, data, Buffer.from([0xff, 0xd9])])
  }
  const webpOf = (exif: Buffer) => {
    const lead = Buffer.from('RIFF\0\0\0\0WEBPEXIF\0\0\0\0', 'latin1')
    lead.writeUInt32LE(exif.length + lead.length - 8, 4)
    lead.writeUInt32LE(exif.length, 16)
    return Buffer.concat([lead, exif])
  }
  const text = cardJson()
  test.each([
    ['as ASCII', Buffer.from(`ASCII\0\0\0${text}`)],
    ['padded', Buffer.from(`ASCII\0\0\0${text}\0\0`)],
    ['without a code', Buffer.from(text)],
    ['as UNICODE', Buffer.concat([Buffer.from('UNICODE\0'), Buffer.from(text, 'utf16le')])],
    ['as numbers', Buffer.from(`ASCII\0\0\0${[...Buffer.from(text)].join(',')}`)],
    ['as a list of numbers', Buffer.from(`[${[...Buffer.from(text)].join(', ')}]`)],
  ])('%s', async (_name, comment) => {
    const read = await readCard(jpegOf(exifOf(comment)), 'x.jpg')
    expect(read).toMatchObject({ container: 'jpeg', card: { name: 'Mira' } })
  })

  test.each([
    ['no Exif', Buffer.from([0xff, 0xd8, 0xff, 0xd9]), /without a character/],
    ['Exif cut off', jpegOf(exifOf(Buffer.from(text)).subarray(0, 40)), /without a character|not valid JSON/],
    [
      'a comment about something else',
      jpegOf(exifOf(Buffer.from('ASCII\0\0\0A nice day'))),
      /not valid JSON/,
    ],
    ['a length that lies', Buffer.from([0xff, 0xd8, 0xff, 0xe1, 0xff, 0xff, 1]), /cut off/],
    ['a JPEG cut off in its card', jpegOf(exifOf(Buffer.from(text))).subarray(0, -20), /cut off/],
    ['a JPEG cut off in its pixels', Buffer.from([0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 7]), /cut off/],
    ['a JPEG with pixels', Buffer.from([0xff, 0xd8, 0xff, 0xda, 0, 2, 7, 0xff, 0xd9]), /without a character/],
    ['a WebP without a card', Buffer.from('RIFF\x04\0\0\0WEBP', 'latin1'), /without a character/],
    ['a WebP cut off in its pixels', Buffer.from('RIFF\x40\0\0\0WEBPVP8 ', 'latin1'), /cut off/],
    ['a WebP cut off in its card', webpOf(exifOf(Buffer.from(text))).subarray(0, -20), /cut off/],
  ])('%s says what to do', async (_name, bytes, message) => {
    await expect(readCard(bytes, 'x.jpg')).rejects.toThrow(message)
  })
})
