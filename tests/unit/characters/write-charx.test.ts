import { readFile } from 'node:fs/promises'

import { describe, expect, test } from 'vitest'

import { findArchive, openArchive } from '#characters/formats/zip.ts'
import { createNotebook } from '#characters/notes.ts'
import { readCard } from '#characters/read.ts'
import { writeCharx } from '#characters/write-charx.ts'

import { sampleCard } from '../../support/samples.ts'
import { zipOf } from '../../support/zip.ts'

const PNG = Buffer.from('\x89PNG\r\n\x1a\n pixels', 'latin1')
const OPTIONS = { modifiedAtSeconds: 5, picture: { bytes: PNG, extension: 'png' as const } }

describe('a CHARX', () => {
  test('has the card first, the picture where the specification wants it, and no clock', async () => {
    const bytes = Buffer.from(await writeCharx(sampleCard(), OPTIONS))
    const place = findArchive(bytes)
    const archive = place && (await openArchive(bytes, place, createNotebook()))
    expect(archive?.names).toEqual(['card.json', 'assets/icon/images/main.png'])
    expect(bytes.equals(Buffer.from(await writeCharx(sampleCard(), OPTIONS)))).toBe(true)
    const read = await readCard(bytes, 'x.charx')
    expect(read.picture && Buffer.from(read.picture).equals(PNG)).toBe(true)
    expect(read.card.assets).toEqual([
      { type: 'icon', uri: 'embeded://assets/icon/images/main.png', name: 'main', ext: 'png' },
    ])
  })

  test('keeps assets of other kinds, and further icons', async () => {
    const assets = [
      { type: 'icon', uri: 'https://example.com/alt.png', name: 'alt', ext: 'png' },
      { type: 'icon', uri: 'ccdefault:', name: 'main', ext: 'png' },
      { type: 'emotion', uri: 'https://example.com/joy.png', name: 'joy', ext: 'png' },
    ]
    const { card } = await readCard(await writeCharx(sampleCard({ assets }), OPTIONS), 'x.charx')
    expect(card.assets?.map(({ type, name }) => `${type} ${name}`)).toEqual([
      'icon main',
      'icon alt',
      'emotion joy',
    ])
  })

  test('takes over the files that the card names, and no others', async () => {
    const original = await readFile('tests/fixtures/cards/own-cc0/risu_like_stream.charx')
    const { card } = await readCard(original, 'x.charx')
    const bytes = Buffer.from(await writeCharx(card, { original, modifiedAtSeconds: 5 }))
    expect(bytes.includes('module.risum')).toBe(false)
    const again = await readCard(bytes, 'x.charx')
    expect(again.card).toEqual({ ...card, modification_date: 5 })
  })

  const video = (path: string) => ({ type: 'other', uri: `embeded://${path}`, name: path, ext: 'mp4' })
  const cardOf = (names: string[]) => sampleCard({ assets: names.map(video) })

  test('is whole however large the files are that it takes over, and its own size stays that of the upload', async () => {
    const large = Buffer.alloc(24 * 1024 * 1024, 'film ')
    const names = ['a.mp4', 'b.mp4', 'c.mp4', 'd.mp4']
    const original = zipOf([
      { name: 'card.json', content: '{}' },
      ...names.map((name) => ({ name, content: large })),
    ])
    const bytes = Buffer.from(await writeCharx(cardOf(names), { original, modifiedAtSeconds: 5 }))
    expect(bytes.length).toBeLessThan(original.length * 1.1)
    const place = findArchive(bytes)
    const archive = place && (await openArchive(bytes, place, createNotebook()))
    expect(archive?.names).toEqual(['card.json', ...names])
    expect((await archive?.open('d.mp4', large.length))?.equals(large)).toBe(true)
  })

  test.each([
    [
      'unpack to more than a server should write',
      { claimedBytes: 600 * 1024 * 1024 },
      'too_large',
      /"original"/,
    ],
    ['lie about their length', { claimedBytes: 3 }, 'invalid', /damaged/],
  ])('of files that %s is refused with what to do', async (_name, lie, code, message) => {
    const original = zipOf([
      { name: 'card.json', content: '{}' },
      { name: 'a.mp4', content: 'film', ...lie },
    ])
    const writing = writeCharx(cardOf(['a.mp4']), { original, modifiedAtSeconds: 5 })
    await expect(writing).rejects.toMatchObject({ code, message: expect.stringMatching(message) as string })
  })
})
