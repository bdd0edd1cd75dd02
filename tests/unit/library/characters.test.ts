import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import type { Card } from '#characters/card.ts'
import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'
import { openLibrary } from '#library/characters.ts'
import type { Library } from '#library/library.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { sampleCard } from '../../support/samples.ts'

let dataDir: string
let store: Store
let library: Library
let nowMs: number

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-library-'))
  store = await openStore(`file:${path.join(dataDir, 'x.sqlite')}`)
  nowMs = 1_000
  library = await reopen()
})
afterEach(async () => {
  await store.close()
  await rm(dataDir, { recursive: true, force: true })
})

const reopen = () => openLibrary({ store, dataDir, now: () => nowMs++ })
const file = (card: Partial<Card> = {}, name = 'card.json') => ({
  name,
  bytes: writeCard(sampleCard(card), 'json', { modifiedAtSeconds: 1 }),
})
const portrait = (colour: string) =>
  sharp({ create: { width: 600, height: 700, channels: 3, background: colour } })
    .png()
    .toBuffer()
const pngFile = async (card: Partial<Card> = {}) => ({
  name: 'card.png',
  bytes: writeCard(sampleCard(card), 'png', { modifiedAtSeconds: 1, picture: await portrait('#336699') }),
})

describe('an import', () => {
  test('makes a published character that survives a restart', async () => {
    expect(await library.importFile(file())).toMatchObject({ status: 'created', id: 'mira-holt', notes: [] })
    for (const opened of [library, await reopen()]) {
      expect(await opened.list()).toMatchObject([
        {
          id: 'mira-holt',
          name: 'Mira Holt',
          tagline: 'A calm keeper.',
          publishedVersion: 1,
          pictureHash: null,
        },
      ])
      expect((await opened.published('mira-holt'))?.card.description).toContain('lighthouse')
    }
  })

  test.each(['own-cc0/exif_usercomment.webp', 'own-cc0/jpeg_followed_by_zip.jpg', 'own-cc0/v3_assets.charx'])(
    'of %s keeps the file, and exports it as PNG with its picture',
    async (name) => {
      const bytes = await readFile(path.join('tests/fixtures/cards', name))
      const { status, id = '' } = await library.importFile({ name: path.basename(name), bytes })
      expect(status).toBe('created')
      expect(Buffer.from((await library.exportFile(id, 'original')).bytes).equals(bytes)).toBe(true)
      const exported = await readCard((await library.exportFile(id, 'png')).bytes, 'x.png')
      expect(exported.card.name).toBe((await library.published(id))?.card.name)
    },
  )

  test('of the same file is skipped, of the same name never overwrites', async () => {
    await library.importFile(file())
    expect(await library.importFile(file({}, 'other-name.json'))).toMatchObject({
      status: 'skipped',
      id: 'mira-holt',
    })
    expect(await library.importFile(file({ scenario: 'Calm.' }))).toMatchObject({
      status: 'created',
      id: 'mira-holt-2',
    })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('A storm is coming.')
  })

  test('of an edited export is a new version of its character, published, with the old one kept', async () => {
    await library.importFile(file())
    const { card: exported } = await readCard((await library.exportFile('mira-holt', 'json')).bytes, 'x')
    const edited = {
      name: 'edited.json',
      bytes: writeCard({ ...exported, scenario: 'Calm.' }, 'json', { modifiedAtSeconds: 2 }),
    }
    expect(await library.importFile(edited)).toMatchObject({ status: 'updated', id: 'mira-holt' })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('Calm.')
    expect((await library.versions('mira-holt')).map(({ number }) => number)).toEqual([1, 2])
    await library.publish('mira-holt', 1)
    expect((await library.published('mira-holt'))?.card.scenario).toBe('A storm is coming.')
    await expect(library.publish('mira-holt', 9)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('of many files at once gives each its own id', async () => {
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, at) => library.importFile(file({ scenario: String(at) }))),
    )
    expect(new Set(results.map(({ id }) => id)).size).toBe(12)
  })

  test('through two processes on one database never loses one to the other', async () => {
    const other = await reopen()
    const results = await Promise.all(
      [library, other].flatMap((each, who) =>
        Array.from({ length: 5 }, (_, at) =>
          each.importFile(file({ scenario: `${String(who)} ${String(at)}` })),
        ),
      ),
    )
    expect(new Set(results.map(({ id }) => id)).size).toBe(10)
  })

  test('that fails says why and leaves nothing', async () => {
    expect(await library.importFile({ name: 'x', bytes: Buffer.from('no') })).toMatchObject({
      status: 'failed',
      notes: [{ code: 'invalid' }],
    })
    expect(await library.list()).toEqual([])
  })
})

describe('a portrait', () => {
  test('is re-encoded as WebP in three widths', async () => {
    await library.importFile(await pngFile())
    const [{ pictureHash } = { pictureHash: null }] = await library.list()
    for (const width of [96, 256, 512]) {
      const { format, width: found } = await sharp(await library.picture(pictureHash ?? '', width)).metadata()
      expect([format, found]).toEqual(['webp', width])
    }
    await expect(library.picture(pictureHash ?? '', 100)).rejects.toMatchObject({ code: 'not_found' })
    await expect(library.picture('../../x.sqlite', 96)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('that cannot be decoded is a note, not a failure', async () => {
    const result = await library.importFile(file(), { name: 'x.png', bytes: Buffer.from('no picture') })
    expect(result).toMatchObject({ status: 'created', notes: [{ code: 'unreadable_picture' }] })
  })
})

describe('an export', () => {
  test('gives the original back byte by byte, and a PNG card that reads the same', async () => {
    const uploaded = await pngFile({ nickname: 'M' })
    await library.importFile(uploaded)
    expect(
      Buffer.from((await library.exportFile('mira-holt', 'original')).bytes).equals(uploaded.bytes),
    ).toBe(true)
    const png = await library.exportFile('mira-holt', 'png')
    expect(png).toMatchObject({ name: 'mira-holt.png', mediaType: 'image/png' })
    expect((await readCard(png.bytes, 'x')).card).toMatchObject({
      nickname: 'M',
      extensions: { troupe: { id: 'mira-holt' } },
    })
  })

  test('as PNG works for a card that came without a picture', async () => {
    await library.importFile(file())
    const { bytes } = await library.exportFile('mira-holt', 'png')
    expect((await sharp(bytes).metadata()).width).toBe(512)
  })
})

test('deleting takes the character away, tells listeners, and keeps the files of others', async () => {
  const changes: string[] = []
  await library.importFile(file())
  const stop = library.onChange((id) => changes.push(id))
  await library.delete('mira-holt')
  stop()
  await library.importFile(file({ name: 'Other' }))
  expect(changes).toEqual(['mira-holt'])
  expect(await library.published('mira-holt')).toBeUndefined()
  await expect(library.get('mira-holt')).rejects.toMatchObject({ code: 'not_found' })
  await expect(library.delete('mira-holt')).rejects.toMatchObject({ code: 'not_found' })
  expect(await readdir(path.join(dataDir, 'originals'))).toHaveLength(2)
})
