import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'

import sharp from 'sharp'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createLog } from '#base/log.ts'
import type { Lorebook } from '#characters/card.ts'
import { writeCard } from '#characters/write.ts'
import { openLibrary, type OpenLibrary } from '#library/characters.ts'
import { exportArchive } from '#library/export-archive.ts'
import type { Kv } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openImportJobs, type ImportJobs } from '#library/import-jobs.ts'
import { openLorebooks, type Lorebooks, type StoredLorebook } from '#library/lorebooks.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { sampleCard } from '../../support/samples.ts'
import { zipOf, type Packed } from '../../support/zip.ts'

const WISH = { name: 'cards.zip', actor: 'Tess', publishes: true }
const log = createLog('silent')

interface House {
  dataDir: string
  store: Store
  library: OpenLibrary
  lorebooks: Lorebooks
  imports: ImportJobs
}

const houses: House[] = []
let nowMs: number

async function openHouse(known?: House & { kv?: Kv }): Promise<House> {
  const dataDir = known?.dataDir ?? (await mkdtemp(path.join(tmpdir(), 'troupe-imports-')))
  const store = known?.store ?? (await openStore(`file:${path.join(dataDir, 'x.sqlite')}`))
  const now = () => nowMs++
  const library = await openLibrary({ store, dataDir, now })
  const lorebooks = await openLorebooks({ store, now })
  // One of its own, as a process that was killed leaves nothing in it.
  const kv = known?.kv ?? openMemoryKv({ now })
  const imports = await openImportJobs({ store, library, lorebooks, kv, dataDir, log, now })
  const house = { dataDir, store, library, lorebooks, imports }
  if (known === undefined) houses.push(house)
  return house
}

let house: House
beforeEach(async () => {
  nowMs = 1_000
  house = await openHouse()
})
afterEach(async () => {
  for (const { dataDir, store, imports } of houses.splice(0)) {
    await imports.close()
    await store.close()
    await rm(dataDir, { recursive: true, force: true })
  }
})

const bookOf = (content: string, over: object = {}): Lorebook => ({
  extensions: {},
  entries: [
    {
      keys: ['sea'],
      content,
      extensions: { probability: 50 },
      enabled: true,
      insertion_order: 1,
      use_regex: false,
    },
  ],
  ...over,
})
const json = (name: string) => writeCard(sampleCard({ name }), 'json', { modifiedAtSeconds: 1 })
const card = (name: string): Packed => ({ name: `${name}.json`, content: Buffer.from(json(name)) })
const start = (files: Packed[], on = house) => on.imports.start([zipOf(files)] as never, WISH)
const ended = async (id: string, on = house) => {
  await expect
    .poll(async () => (await on.imports.get(id)).state, { interval: 5, timeout: 15_000 })
    .not.toBe('running')
  return on.imports.get(id)
}
const ids = async (on = house) => (await on.library.list()).map(({ id }) => id)

test('reads every card of an archive, tells what became of each, and forgets the archive', async () => {
  const picture = await sharp({ create: { width: 64, height: 64, channels: 3, background: '#369' } })
    .png()
    .toBuffer()
  const { id, totalFiles } = await start([
    card('Ada'),
    { name: 'deep/down/Bea.json', content: Buffer.from(json('Bea')) },
    { name: 'broken.json', content: 'no card' },
    { name: 'cleo/card.json', content: Buffer.from(json('Cleo')) },
    { name: 'cleo/avatar.png', content: picture },
    { name: '__MACOSX/._Ada.json', content: 'litter' },
    { name: '.DS_Store', content: 'litter' },
  ])
  expect(totalFiles).toBe(4)
  expect(await ended(id)).toMatchObject({
    state: 'done',
    counts: { created: 3, updated: 0, skipped: 0, failed: 1 },
    failure: null,
  })
  expect(await ids()).toEqual(['ada', 'bea', 'cleo'])
  expect((await house.library.get('cleo')).pictureHash).not.toBeNull()
  const { results } = await house.imports.results(id, { status: 'failed' })
  expect(results).toMatchObject([{ file: 'broken.json', status: 'failed', notes: [{ code: 'invalid' }] }])
  await expect.poll(() => readdir(path.join(house.dataDir, 'imports'))).toEqual([])
})

test('lorebooks among the cards of an archive come in as well, and nobody has them', async () => {
  const world = { entries: { 0: { uid: 0, key: ['reef'], content: 'Sharp.' } } }
  const files = [card('Ada'), { name: 'worlds/Harbour.json', content: JSON.stringify(world) }]
  for (const counts of [
    { created: 2, skipped: 0 },
    { created: 0, skipped: 2 },
  ]) {
    const { id } = await start(files)
    expect((await ended(id)).counts).toMatchObject({ ...counts, failed: 0 })
  }
  expect(house.lorebooks.list()).toMatchObject([{ id: 'harbour', name: 'Harbour', characterIds: [] }])
  const [{ id } = { id: '' }] = await house.imports.list().then((jobs) => jobs.toReversed())
  const { results } = await house.imports.results(id, {})
  expect(results).toMatchObject([
    { file: 'Ada.json', id: 'ada' },
    { file: 'worlds/Harbour.json', notes: [{ code: 'lorebook' }] },
  ])
  expect(results[1]).not.toHaveProperty('id')
})

test('an archive whose import ended without deleting it goes at the next start', async () => {
  const folder = path.join(house.dataDir, 'imports')
  for (const name of ['left.zip', 'arriving.zip']) await writeFile(path.join(folder, name), 'x')
  nowMs = Date.now()
  await utimes(path.join(folder, 'left.zip'), 0, (nowMs - 7_200_000) / 1_000)
  await openHouse(house)
  // Another process may be receiving it.
  expect(await readdir(folder)).toEqual(['arriving.zip'])
})

test('of two processes one reads an archive in, the other takes over when it dies, and both can stop it', async () => {
  const kv = openMemoryKv({ now: () => nowMs })
  const other = await openHouse({ ...house, kv })
  const first = await openHouse({ ...house, kv })
  const { id } = await start(
    Array.from({ length: 60 }, (_, at) => card(`N${String(at)}`)),
    first,
  )
  await expect.poll(async () => (await ids(first)).length, { interval: 1 }).toBeGreaterThan(2)
  // A third one starts while the first reads, and leaves it alone.
  await openHouse({ ...house, kv })
  expect((await other.imports.stop(id)).state).toBe('stopped')
  await first.imports.close()
  const stoppedAt = (await other.imports.get(id)).counts.created
  expect(stoppedAt).toBeLessThan(60)
  await other.imports.resume(id)
  expect((await ended(id, other)).counts).toEqual({ created: 60, updated: 0, skipped: 0, failed: 0 })
})

test('stopped, it goes on where it was', async () => {
  const { id } = await start(Array.from({ length: 40 }, (_, at) => card(`N${String(at)}`)))
  await expect.poll(async () => (await ids()).length, { interval: 1 }).toBeGreaterThan(2)
  expect((await house.imports.stop(id)).state).toBe('stopped')
  const count = (await ids()).length
  expect(count).toBeLessThan(40)
  await house.imports.resume(id)
  expect((await ended(id)).counts).toEqual({ created: 40, updated: 0, skipped: 0, failed: 0 })
  expect(await ids()).toHaveLength(40)
})

test('a restart in the middle goes on by itself, and no card comes twice', async () => {
  const { id } = await start(Array.from({ length: 40 }, (_, at) => card(`N${String(at)}`)))
  await expect.poll(async () => (await ids()).length, { interval: 1 }).toBeGreaterThan(2)
  await house.imports.close()
  expect((await house.imports.get(id)).state).toBe('running')
  const again = await openHouse(house)
  expect((await ended(id, again)).counts.created).toBe(40)
  expect(await ids(again)).toHaveLength(40)
})

test.each([
  ['no archive', Buffer.from('text'), 'invalid'],
  ['an archive without files', zipOf([]), 'invalid'],
  ['an archive that is cut off', zipOf([card('Ada')]).subarray(0, 60), 'invalid'],
])('%s is refused and leaves nothing', async (_name, bytes, code) => {
  await expect(house.imports.start([bytes] as never, WISH)).rejects.toMatchObject({ code })
  expect(await readdir(path.join(house.dataDir, 'imports'))).toEqual([])
  expect(await house.imports.list()).toEqual([])
})

test('a file that lies about its length is that file’s failure only', async () => {
  const { id } = await start([
    { ...card('Ada'), claimedBytes: 3 },
    card('Bea'),
    { ...card('Cleo'), isEncrypted: true },
  ])
  expect((await ended(id)).counts).toMatchObject({ created: 1, failed: 2 })
})

test('drafts are not published', async () => {
  const { id } = await house.imports.start([zipOf([card('Ada')])] as never, { ...WISH, publishes: false })
  await ended(id)
  expect(await house.library.get('ada')).toMatchObject({ publishedVersion: null })
})

test('results are paged, and forgotten a month after the end', async () => {
  const { id } = await start([card('A'), card('B'), card('C')])
  await ended(id)
  const first = await house.imports.results(id, { limit: 2 })
  expect(first.results.map(({ file }) => file)).toEqual(['A.json', 'B.json'])
  const second = await house.imports.results(id, { limit: 2, after: first.nextAfter ?? 0 })
  expect(second).toMatchObject({ results: [{ file: 'C.json' }], nextAfter: null })
  await house.imports.purge()
  expect(await house.imports.list()).toHaveLength(1)
  nowMs += 31 * 86_400_000
  await house.imports.purge()
  expect(await house.imports.list()).toEqual([])
})

describe('a library archive', () => {
  const WHO = { actor: 'Tess' }
  const exported = async (on = house) => buffer((await exportArchive(on)).stream)

  async function fill(): Promise<void> {
    const bytes = await readFile('tests/fixtures/cards/own-cc0/v3_assets.charx')
    await house.library.importFile({ name: 'a.charx', bytes }, WHO)
    await house.library.importFile({ name: 'mira.json', bytes: json('Mira') }, WHO)
    await house.library.edit('mira', { card: { scenario: 'Calm.' }, groups: ['Club'], note: 'why', ...WHO })
  }

  test('brings every version, picture, original and group into another house', async () => {
    await fill()
    const other = await openHouse()
    const { id } = await other.imports.start([await exported()] as never, WISH)
    expect((await ended(id, other)).counts).toEqual({ created: 2, updated: 0, skipped: 0, failed: 0 })
    const without = ({ updatedAtMs: _at, ...rest }: Awaited<ReturnType<OpenLibrary['get']>>) => rest
    const [before, after] = [await house.library.list(), await other.library.list()]
    expect(after.map(without)).toEqual(before.map(without))
    expect(await other.library.versions('mira')).toEqual(await house.library.versions('mira'))
    expect((await other.library.version('mira', 2)).card).toEqual(
      (await house.library.version('mira', 2)).card,
    )
    for (const { id: each } of before) {
      const [one, two] = [
        await house.library.exportFile(each, 'original'),
        await other.library.exportFile(each, 'original'),
      ]
      expect(Buffer.from(two.bytes).equals(one.bytes)).toBe(true)
    }
  })

  test('counts every file that the data folder lacks once', async () => {
    await fill()
    await house.library.edit('mira', { card: { scenario: 'Loud.' }, ...WHO })
    const missing = async () => {
      const archive = await exportArchive(house)
      await buffer(archive.stream)
      return archive.missing
    }
    expect(await missing()).toBe(0)
    const versions = (await house.library.list()).map(({ id }) => house.library.versions(id))
    const { files } = house.library
    for (const { originalHash, pictureHash } of (await Promise.all(versions)).flat()) {
      await files.dropOriginal(originalHash)
      if (pictureHash !== null) await files.dropPicture(pictureHash)
    }
    expect(await missing()).toBe(3)
  })

  test('changes nothing where it came from, and never touches another character of the same id', async () => {
    await fill()
    const archive = await exported()
    const again = await house.imports.start([archive] as never, WISH)
    expect((await ended(again.id)).counts).toMatchObject({ created: 0, skipped: 2 })
    await house.library.edit('mira', { card: { scenario: 'Loud.' }, ...WHO })
    const third = await house.imports.start([archive] as never, WISH)
    expect((await ended(third.id)).counts).toMatchObject({ created: 1, skipped: 1 })
    expect((await house.library.version('mira', 3)).card.scenario).toBe('Loud.')
    expect((await house.library.version('mira-2', 2)).card.scenario).toBe('Calm.')
    const fourth = await house.imports.start([archive] as never, WISH)
    expect((await ended(fourth.id)).counts).toMatchObject({ created: 0, skipped: 2 })
  })

  test('tells of a character that says the same and has another history, and leaves it', async () => {
    await fill()
    const archive = await exported()
    const notesOf = async () => {
      const { id } = await house.imports.start([archive] as never, WISH)
      await ended(id)
      const { results } = await house.imports.results(id, {})
      return results.map(({ id: character, notes }) => [character, notes.map(({ code }) => code)])
    }
    expect((await notesOf()).map(([, codes]) => codes)).toEqual([[], []])
    for (const scenario of ['Loud.', 'Calm.'])
      await house.library.edit('mira', { card: { scenario }, ...WHO })
    expect(await notesOf()).toContainEqual(['mira', ['other_history']])
  })

  const REALM = bookOf('The realm lies by the sea.', { scan_depth: 7, token_budget: 300, realm: { own: 1 } })
  const TOWN = bookOf('The town has a bell.')

  test('brings the lorebooks beside the cards, with their settings and whose they are', async () => {
    await fill()
    await house.lorebooks.add({ name: 'Realm', book: REALM, characterIds: null }, WHO)
    await house.lorebooks.add({ name: 'Town', book: TOWN, characterIds: ['mira', 'gone'] }, WHO)
    await house.lorebooks.add({ name: 'Unused', book: bookOf('Nobody reads it.'), characterIds: [] }, WHO)
    const archive = await exported()
    const other = await openHouse()
    const { id, totalFiles } = await other.imports.start([archive] as never, WISH)
    expect(totalFiles).toBe(5)
    expect((await ended(id, other)).counts).toEqual({ created: 5, updated: 0, skipped: 0, failed: 0 })
    const kept = ({ id: book, name, book: content, characterIds, createdAtMs }: StoredLorebook) => ({
      ...{ book, name, content, createdAtMs },
      characterIds: characterIds?.filter((each) => each !== 'gone') ?? null,
    })
    expect(other.lorebooks.list().map(kept)).toEqual(house.lorebooks.list().map(kept))
    expect(other.lorebooks.of('mira').map(({ name }) => name)).toEqual(['Town', 'Realm'])
    const { results } = await other.imports.results(id, {})
    expect(results.find(({ file }) => file === 'lorebooks/town.json')?.notes).toMatchObject([
      { code: 'no_such_character' },
    ])
    // It is in the database and not in memory alone.
    expect((await openLorebooks({ store: other.store, now: () => 1 })).list().map(kept)).toEqual(
      other.lorebooks.list().map(kept),
    )
    const again = await other.imports.start([archive] as never, WISH)
    expect((await ended(again.id, other)).counts).toMatchObject({ created: 0, updated: 0, skipped: 5 })
    expect(other.lorebooks.list()).toHaveLength(3)
  })

  test('attaches a lorebook to what its characters are called here, and overwrites no other lorebook', async () => {
    await fill()
    await house.lorebooks.add({ name: 'Town', book: TOWN, characterIds: ['mira'] }, WHO)
    await house.lorebooks.add({ name: 'Realm', book: REALM, characterIds: ['mira'] }, WHO)
    const archive = await exported()
    const other = await openHouse()
    const another = writeCard(sampleCard({ name: 'Mira', scenario: 'Somebody else.' }), 'json', {
      modifiedAtSeconds: 1,
    })
    await other.library.importFile({ name: 'other.json', bytes: another }, WHO)
    await other.lorebooks.add({ name: 'Town', book: bookOf('Another town.'), characterIds: ['mira'] }, WHO)
    // The same book, brought alone before.
    await other.lorebooks.add({ name: 'Realm', book: REALM, characterIds: ['mira'] }, WHO)
    for (const counts of [
      { created: 3, updated: 1, skipped: 0 },
      { created: 0, updated: 0, skipped: 4 },
    ]) {
      const { id } = await other.imports.start([archive] as never, WISH)
      expect((await ended(id, other)).counts).toMatchObject(counts)
      expect(other.lorebooks.list().map(({ id: book, characterIds }) => [book, characterIds])).toEqual([
        ['realm', ['mira', 'mira-2']],
        ['town', ['mira']],
        ['town-2', ['mira-2']],
      ])
      expect(other.lorebooks.get('town').book).toEqual(bookOf('Another town.'))
    }
  })

  test('of lorebooks alone is one too', async () => {
    await house.lorebooks.add({ name: 'Realm', book: REALM, characterIds: null }, WHO)
    const other = await openHouse()
    const { id } = await other.imports.start([await exported()] as never, WISH)
    expect((await ended(id, other)).counts).toMatchObject({ created: 1 })
    expect(other.lorebooks.get('realm').book).toEqual(REALM)
  })

  test('that was tampered with is refused character by character', async () => {
    const good = {
      format: 'troupe-character/1',
      id: 'x',
      name: 'X',
      groups: null,
      publishedVersion: 1,
      createdAtMs: 1,
    }
    const version = { number: 1, originalHash: '../../etc/passwd', originalName: 'x', pictureHash: null }
    const rest = { notes: [], note: null, createdBy: null, createdAtMs: 1, publishedAtMs: null }
    const archived = (over: object) =>
      JSON.stringify({ ...good, versions: [{ ...version, ...rest }], ...over })
    const { id } = await start([
      { name: 'characters/a.json', content: archived({ id: '../a' }) },
      { name: 'characters/b.json', content: archived({ publishedVersion: 7 }) },
      { name: 'characters/c.json', content: archived({ id: 'lost' }) },
      { name: 'characters/d.json', content: archived({ id: 'whole' }) },
      { name: 'cards/whole/1.json', content: JSON.stringify(sampleCard()) },
      { name: 'lorebooks/e.json', content: JSON.stringify({ format: 'troupe-lorebook/1', id: '../e' }) },
      { name: 'lorebooks/f.json', content: 'no book' },
    ])
    expect((await ended(id)).counts).toMatchObject({ created: 1, failed: 5 })
    expect(house.lorebooks.list()).toEqual([])
    expect(await ids()).toEqual(['whole'])
  })
})
