import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { sha256Hex } from '#base/ids.ts'
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
const WHO = { actor: 'Tess' }
const file = (card: Partial<Card> = {}, name = 'card.json') => ({
  name,
  bytes: writeCard(sampleCard(card), 'json', { modifiedAtSeconds: 1 }),
})
const portrait = (colour: string) =>
  sharp({ create: { width: 600, height: 700, channels: 3, background: colour } })
    .png()
    .toBuffer()
const pixels = async (picture: Uint8Array | undefined) => {
  const { data, info } = await sharp(picture).ensureAlpha().raw().toBuffer({ resolveWithObject: true })
  return { width: info.width, height: info.height, hash: sha256Hex(data) }
}
const pngFile = async (card: Partial<Card> = {}) => ({
  name: 'card.png',
  bytes: writeCard(sampleCard(card), 'png', { modifiedAtSeconds: 1, picture: await portrait('#336699') }),
})

describe('an import', () => {
  test('makes a published character that survives a restart', async () => {
    expect(await library.importFile(file(), WHO)).toMatchObject({
      status: 'created',
      id: 'mira-holt',
      notes: [],
    })
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
      const { status, id = '' } = await library.importFile({ name: path.basename(name), bytes }, WHO)
      expect(status).toBe('created')
      expect(Buffer.from((await library.exportFile(id, 'original')).bytes).equals(bytes)).toBe(true)
      const exported = await readCard((await library.exportFile(id, 'png')).bytes, 'x.png')
      expect(exported.card.name).toBe((await library.published(id))?.card.name)
    },
  )

  test('of the same file is skipped, of the same name never overwrites', async () => {
    await library.importFile(file(), WHO)
    expect(await library.importFile(file({}, 'other-name.json'), WHO)).toMatchObject({
      status: 'skipped',
      id: 'mira-holt',
    })
    expect(await library.importFile(file({ scenario: 'Calm.' }), WHO)).toMatchObject({
      status: 'created',
      id: 'mira-holt-2',
    })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('A storm is coming.')
  })

  test('of an edited export is a new version of its character, published, with the old one kept', async () => {
    await library.importFile(file(), WHO)
    const { card: exported } = await readCard((await library.exportFile('mira-holt', 'json')).bytes, 'x')
    const edited = {
      name: 'edited.json',
      bytes: writeCard({ ...exported, scenario: 'Calm.' }, 'json', { modifiedAtSeconds: 2 }),
    }
    expect(await library.importFile(edited, WHO)).toMatchObject({ status: 'updated', id: 'mira-holt' })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('Calm.')
    expect((await library.versions('mira-holt')).map(({ number }) => number)).toEqual([1, 2])
    await library.publish('mira-holt', 1, WHO)
    expect((await library.published('mira-holt'))?.card.scenario).toBe('A storm is coming.')
    await expect(library.publish('mira-holt', 9, WHO)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('of many files at once gives each its own id', async () => {
    const results = await Promise.all(
      Array.from({ length: 12 }, (_, at) => library.importFile(file({ scenario: String(at) }), WHO)),
    )
    expect(new Set(results.map(({ id }) => id)).size).toBe(12)
  })

  test('through two processes on one database never loses one to the other', async () => {
    const other = await reopen()
    const results = await Promise.all(
      [library, other].flatMap((each, who) =>
        Array.from({ length: 5 }, (_, at) =>
          each.importFile(file({ scenario: `${String(who)} ${String(at)}` }), WHO),
        ),
      ),
    )
    expect(new Set(results.map(({ id }) => id)).size).toBe(10)
  })

  test('that fails says why and leaves nothing', async () => {
    expect(await library.importFile({ name: 'x', bytes: Buffer.from('no') }, WHO)).toMatchObject({
      status: 'failed',
      notes: [{ code: 'invalid' }],
    })
    expect(await library.list()).toEqual([])
  })
})

describe('a portrait', () => {
  test('is re-encoded as WebP and AVIF in three widths', async () => {
    await library.importFile(await pngFile(), WHO)
    const [{ pictureHash } = { pictureHash: null }] = await library.list()
    for (const width of [96, 256, 512]) {
      const { format, width: found } = await sharp(await library.picture(pictureHash ?? '', width)).metadata()
      expect([format, found]).toEqual(['webp', width])
      const small = await sharp(await library.picture(pictureHash ?? '', width, 'avif')).metadata()
      expect([small.format, small.compression, small.width]).toEqual(['heif', 'av1', width])
    }
    await expect(library.picture(pictureHash ?? '', 100)).rejects.toMatchObject({ code: 'not_found' })
    await expect(library.picture('../../x.sqlite', 96)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('that cannot be decoded is a note, not a failure', async () => {
    const { bytes } = await pngFile()
    const broken = Buffer.from(bytes)
    broken.fill(0, broken.indexOf('IDAT') + 4, broken.length - 12)
    expect(await library.importFile({ name: 'x.png', bytes: broken }, WHO)).toMatchObject({
      status: 'created',
      notes: [{ code: 'unreadable_picture' }],
    })
  })

  test('is one, whatever file it came in', async () => {
    await library.importFile(await pngFile({ name: 'One' }), WHO)
    await library.importFile(await pngFile({ name: 'Two' }), WHO)
    const [one, two] = await library.list()
    expect(one?.pictureHash).toBe(two?.pictureHash)
  })
})

describe('an export', () => {
  test('gives the original back byte by byte, and a PNG card that reads the same', async () => {
    const uploaded = await pngFile({ nickname: 'M' })
    await library.importFile(uploaded, WHO)
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

  test('as CHARX brings the picture along, and the files of an uploaded archive', async () => {
    await library.importFile(await pngFile(), WHO)
    const plain = await readCard((await library.exportFile('mira-holt', 'charx')).bytes, 'x.charx')
    expect(plain.card.assets).toMatchObject([{ type: 'icon', name: 'main', ext: 'png' }])
    expect(await pixels(plain.picture)).toEqual(await pixels(await portrait('#336699')))
    // The card in the picture would be an old one as soon as somebody edits it.
    expect(Buffer.from(plain.picture ?? []).includes('ccv3')).toBe(false)
    const bytes = await readFile('tests/fixtures/cards/own-cc0/v3_assets.charx')
    const { id = '' } = await library.importFile({ name: 'a.charx', bytes }, WHO)
    const packed = await readCard((await library.exportFile(id, 'charx')).bytes, 'x.charx')
    const original = await readCard(bytes, 'a.charx')
    expect(packed.card.assets).toEqual(original.card.assets)
    expect(Buffer.from(packed.picture ?? []).equals(Buffer.from(original.picture ?? []))).toBe(true)
  })

  test('has the picture in full, also when a later version came without one, or when it is no PNG', async () => {
    await library.importFile(await pngFile(), WHO)
    await library.importFile(file({ scenario: 'Calm.' }), { ...WHO, into: 'mira-holt' })
    for (const format of ['png', 'charx'] as const) {
      const { picture } = await readCard((await library.exportFile('mira-holt', format, 2)).bytes, '')
      expect(await pixels(picture)).toEqual(await pixels(await portrait('#336699')))
    }
    const bytes = await readFile('tests/fixtures/cards/own-cc0/exif_usercomment.webp')
    const { id = '' } = await library.importFile({ name: 'a.webp', bytes }, WHO)
    const packed = await readCard((await library.exportFile(id, 'charx')).bytes, '')
    expect(packed.card.assets).toMatchObject([{ ext: 'webp' }])
    expect(await pixels(packed.picture)).toEqual(await pixels(bytes))
    const { picture } = await readCard((await library.exportFile(id, 'png')).bytes, '')
    expect(await pixels(picture)).toEqual(await pixels(bytes))
  })

  test('as PNG works for a card that came without a picture', async () => {
    await library.importFile(file(), WHO)
    const { bytes } = await library.exportFile('mira-holt', 'png')
    expect((await sharp(bytes).metadata()).width).toBe(512)
  })
})

const ids = async () => (await library.list()).map(({ id }) => id)

describe('a version', () => {
  test('that is edited is a draft until it is published, and says who made it and why', async () => {
    await library.importFile(file(), WHO)
    const edited = await library.edit('mira-holt', {
      card: { scenario: 'Calm.', nickname: 'M', extensions: { troupe: { model: 'llama3.2:1b' } } },
      note: 'quieter',
      actor: 'Ada',
    })
    expect(edited).toMatchObject({ publishedVersion: 1, latestVersion: 2 })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('A storm is coming.')
    expect(await library.versions('mira-holt')).toMatchObject([
      { number: 1, createdBy: 'Tess', note: null, publishedAtMs: expect.any(Number) as number },
      { number: 2, createdBy: 'Ada', note: 'quieter', publishedAtMs: null },
    ])
    await library.publish('mira-holt', 2, WHO)
    expect((await library.published('mira-holt'))?.card).toMatchObject({
      scenario: 'Calm.',
      nickname: 'M',
      extensions: { troupe: { model: 'llama3.2:1b' } },
    })
  })

  test('shows how it differs from another', async () => {
    await library.importFile(file({ tags: ['a', 'b'] }), WHO)
    await library.edit('mira-holt', { card: { scenario: 'Calm.', tags: ['a', 'x', 'b'] }, ...WHO })
    expect(await library.diff('mira-holt', 1, 2)).toEqual([
      { path: 'scenario', before: 'A storm is coming.', after: 'Calm.' },
      { path: 'tags[1]', after: 'x' },
    ])
    expect(await library.diff('mira-holt', 1, 1)).toEqual([])
    await expect(library.diff('mira-holt', 1, 3)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('is not made for an edit that changes nothing', async () => {
    await library.importFile(file(), WHO)
    expect(
      await library.edit('mira-holt', { card: { scenario: 'A storm is coming.' }, ...WHO }),
    ).toMatchObject({
      latestVersion: 1,
    })
  })

  test('of somebody else in the meantime is not edited over', async () => {
    await library.importFile(file(), WHO)
    await library.edit('mira-holt', { card: { scenario: 'Calm.' }, baseVersion: 1, ...WHO })
    await expect(
      library.edit('mira-holt', { card: { scenario: 'Loud.' }, baseVersion: 1, ...WHO }),
    ).rejects.toMatchObject({ code: 'conflict' })
  })

  test.each([
    [{ name: '' }, 'card.name'],
    [{ tags: 'one' }, 'card.tags'],
    [{ name: null }, 'card.name'],
    [{ description: 7 }, 'card.description'],
    [{ extensions: { troupe: 'x' } }, 'card.extensions.troupe'],
    [{ extensions: { troupe: { modle: 'x' } } }, 'card.extensions.troupe.modle'],
  ])('with %j is refused and names the field', async (card, param) => {
    await library.importFile(file(), WHO)
    await expect(library.edit('mira-holt', { card, ...WHO })).rejects.toMatchObject({
      code: 'invalid',
      param,
    })
    expect((await library.get('mira-holt')).latestVersion).toBe(1)
  })

  test('can empty what every card has, and take away what not every card has', async () => {
    await library.importFile(file({ nickname: 'Mi', tags: ['sea'] }), WHO)
    await library.edit('mira-holt', { card: { scenario: null, tags: null, nickname: null }, ...WHO })
    const { card } = await library.version('mira-holt', 2)
    expect(card).toMatchObject({ scenario: '', tags: [] })
    expect(card).not.toHaveProperty('nickname')
  })

  test('of a card that brought nonsense can be set and mended all the same', async () => {
    const troupe = { layout: 'round', sampling: { share: 4 } }
    await library.importFile(file({ extensions: { troupe } }), WHO)
    const set = (changed: object) =>
      library.edit('mira-holt', { card: { extensions: { troupe: changed } }, ...WHO })
    expect(await set({ ...troupe, options: { seed: 1 } })).toMatchObject({ latestVersion: 2 })
    expect(await set({ sampling: { share: 4 } })).toMatchObject({ latestVersion: 3 })
    await expect(set({ sampling: { share: 5 } })).rejects.toMatchObject({ code: 'invalid' })
  })

  test('that answered before comes back by a roll back, and goes again by another', async () => {
    await library.importFile(file(), WHO)
    await expect(library.rollback('mira-holt', undefined, WHO)).rejects.toMatchObject({ code: 'conflict' })
    await library.edit('mira-holt', { card: { scenario: 'Calm.' }, publishes: true, ...WHO })
    expect(await library.rollback('mira-holt', undefined, WHO)).toMatchObject({ publishedVersion: 1 })
    expect(await library.rollback('mira-holt', undefined, WHO)).toMatchObject({ publishedVersion: 2 })
  })

  test('is not made again from a file that was here before: an edit outlives the next import', async () => {
    await library.importFile(file({ extensions: { troupe: { id: 'mira-holt' } } }), WHO)
    await library.edit('mira-holt', { card: { scenario: 'Calm.' }, publishes: true, ...WHO })
    expect(
      await library.importFile(file({ extensions: { troupe: { id: 'mira-holt' } } }), WHO),
    ).toMatchObject({
      status: 'skipped',
    })
    expect((await library.published('mira-holt'))?.card.scenario).toBe('Calm.')
  })

  test('made from another file of the same name joins the character that the wish names', async () => {
    await library.importFile(file(), WHO)
    const other = file({ scenario: 'Calm.' })
    expect(await library.importFile(other, { ...WHO, into: 'mira-holt', publishes: false })).toMatchObject({
      status: 'updated',
      id: 'mira-holt',
    })
    expect(await library.get('mira-holt')).toMatchObject({ publishedVersion: 1, latestVersion: 2 })
    expect(await library.importFile(other, { ...WHO, into: 'nobody' })).toMatchObject({ status: 'failed' })
  })
})

test('a second character of the same name is told of', async () => {
  await library.importFile(file(), WHO)
  const { notes } = await library.importFile(file({ scenario: 'Calm.' }), WHO)
  expect(notes).toMatchObject([{ code: 'same_name' }])
  expect(notes[0]?.message).toContain('"mira-holt"')
  expect(notes[0]?.message).toContain('import FILE --into mira-holt')
})

test.each(['json', 'yaml', 'png'] as const)('the same card as %s is not taken twice', async (format) => {
  await library.importFile(file(), WHO)
  const { name, bytes } = await library.exportFile('mira-holt', format)
  expect(await library.importFile({ name, bytes }, WHO)).toMatchObject({
    status: format === 'png' ? 'updated' : 'skipped',
    id: 'mira-holt',
  })
})

describe('the trash', () => {
  test('takes a character away, tells listeners, and gives it back', async () => {
    const changes: string[] = []
    await library.importFile(file(), WHO)
    const stop = library.onChange((id) => changes.push(id))
    await library.delete('mira-holt', WHO)
    stop()
    expect(changes).toEqual(['mira-holt'])
    expect(await library.published('mira-holt')).toBeUndefined()
    expect(await ids()).toEqual([])
    expect((await library.find({ state: 'trash' })).characters).toMatchObject([{ id: 'mira-holt' }])
    await library.restore('mira-holt', WHO)
    expect((await library.published('mira-holt'))?.number).toBe(1)
  })

  test('is emptied of what has lain there for 30 days, and of nothing else', async () => {
    await library.importFile(await pngFile({ name: 'Old' }), WHO)
    await library.importFile(file({ name: 'Young' }), WHO)
    await library.delete('old', WHO)
    nowMs += 29 * 86_400_000
    await library.delete('young', WHO)
    expect(await library.purge()).toBe(0)
    nowMs += 2 * 86_400_000
    expect(await library.purge()).toBe(1)
    await expect(library.get('old')).rejects.toMatchObject({ code: 'not_found' })
    await library.restore('young', WHO)
    expect(await ids()).toEqual(['young'])
    expect(await readdir(path.join(dataDir, 'originals'))).toHaveLength(1)
    expect(await readdir(path.join(dataDir, 'pictures'))).toHaveLength(0)
  })

  test('is passed over by a deletion for good, which keeps the files that others have', async () => {
    const uploaded = await pngFile()
    await library.importFile(uploaded, WHO)
    await library.edit('mira-holt', { card: { name: 'Other' }, ...WHO })
    await library.importFile({ ...(await pngFile({ name: 'Third' })) }, WHO)
    await library.delete('mira-holt', { ...WHO, forGood: true })
    expect(await readdir(path.join(dataDir, 'originals'))).toHaveLength(1)
    expect(await readdir(path.join(dataDir, 'pictures'))).toHaveLength(6)
    await expect(library.delete('mira-holt', { ...WHO, forGood: true })).rejects.toMatchObject({
      code: 'not_found',
    })
  })

  test('gives a character back when its own file comes again', async () => {
    const own = file({ extensions: { troupe: { id: 'mira-holt' } } })
    await library.importFile(own, WHO)
    await library.delete('mira-holt', WHO)
    expect(await library.importFile(own, WHO)).toMatchObject({ status: 'updated', id: 'mira-holt' })
    expect(await ids()).toEqual(['mira-holt'])
  })
})

describe('the list', () => {
  test('is searched without accents and case, filtered by tag and state, and paged', async () => {
    for (const name of ['Zoë', 'Ada', 'Bea', 'Cleo'])
      await library.importFile(file({ name, tags: name === 'Bea' ? ['Sea'] : ['Land', 'Old'] }), WHO)
    await library.importFile(file({ name: 'Draft' }), { ...WHO, publishes: false })
    const found = async (find: Parameters<Library['find']>[0]) =>
      (await library.find(find)).characters.map(({ name }) => name)
    expect(await found({ search: 'zoe' })).toEqual(['Zoë'])
    expect(await found({ search: 'LAND ad' })).toEqual(['Ada'])
    expect(await found({ tag: 'sea' })).toEqual(['Bea'])
    expect(await found({ state: 'draft' })).toEqual(['Draft'])
    expect(await found({ state: 'published' })).toEqual(['Ada', 'Bea', 'Cleo', 'Zoë'])
    const first = await library.find({ limit: 2 })
    expect(first).toMatchObject({ total: 5, tags: [{ name: 'Land', characters: 3 }, {}, {}, {}] })
    const second = await library.find({ limit: 2, cursor: first.nextCursor ?? '' })
    const third = await library.find({ limit: 2, cursor: second.nextCursor ?? '' })
    expect([first, second, third].flatMap(({ characters }) => characters.map(({ name }) => name))).toEqual([
      ...['Ada', 'Bea', 'Cleo', 'Draft', 'Zoë'],
    ])
    expect(third.nextCursor).toBeNull()
    await expect(library.find({ cursor: 'x' })).rejects.toMatchObject({ code: 'invalid', param: 'cursor' })
  })

  test('tells what the persona costs', async () => {
    await library.importFile(file({ name: 'Short' }), WHO)
    await library.importFile(file({ name: 'Talker', description: 'word '.repeat(500) }), WHO)
    const [short, long] = await library.list()
    expect((long?.promptTokens ?? 0) - (short?.promptTokens ?? 0)).toBeGreaterThan(450)
  })
})

test('every action leaves a row that says who did it', async () => {
  await library.importFile(file(), WHO)
  await library.edit('mira-holt', { card: { scenario: 'Secret words.' }, groups: ['Club'], actor: 'Ada' })
  await library.publish('mira-holt', 2, { actor: 'Ada' })
  await library.rollback('mira-holt', undefined, { actor: 'Bo' })
  await library.unpublish('mira-holt', { actor: 'Bo' })
  await library.delete('mira-holt', WHO)
  await library.restore('mira-holt', WHO)
  await library.delete('mira-holt', { ...WHO, forGood: true })
  const { events, nextCursor } = await library.audit({ target: 'mira-holt', limit: 100 })
  expect(events.map(({ action, actor }) => `${action} ${actor}`).reverse()).toEqual([
    ...['import Tess', 'groups Ada', 'edit Ada', 'publish Ada', 'rollback Bo', 'unpublish Bo'],
    ...['delete Tess', 'restore Tess', 'delete_for_good Tess'],
  ])
  expect(nextCursor).toBeNull()
  expect(JSON.stringify(events)).not.toContain('Secret words')
  const page = await library.audit({ limit: 4 })
  expect((await library.audit({ limit: 100, cursor: page.nextCursor ?? '' })).events).toHaveLength(5)
})

test('rows of the first release get their summary when the library is opened', async () => {
  await library.importFile(file(), WHO)
  await store.db.update(store.t.characterVersions).set({ summary: null, contentHash: null })
  const opened = await reopen()
  expect(await opened.list()).toEqual(await library.list())
  expect(await opened.importFile(file(), WHO)).toMatchObject({ status: 'skipped' })
})
