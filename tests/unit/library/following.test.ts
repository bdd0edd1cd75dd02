import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { afterEach, beforeEach, expect, test, vi } from 'vitest'

import { createLog } from '#base/log.ts'
import { writeCard } from '#characters/write.ts'
import { openLibrary, type OpenLibrary } from '#library/characters.ts'
import { followChanges } from '#library/following.ts'
import { openLorebooks, type Lorebooks } from '#library/lorebooks.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { sampleCard } from '../../support/samples.ts'

interface Process {
  library: OpenLibrary
  lorebooks: Lorebooks
}

let dataDir: string
let store: Store
let ours: Process
let theirs: Process
let following: ReturnType<typeof followChanges>
let told: string[]

async function openProcess(): Promise<Process> {
  const now = Date.now
  return {
    library: await openLibrary({ store, dataDir, now }),
    lorebooks: await openLorebooks({ store, now }),
  }
}

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-following-'))
  store = await openStore('file::memory:')
  ours = await openProcess()
  theirs = await openProcess()
  told = []
  ours.library.onChange((id) => told.push(id))
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
  following = followChanges({
    store,
    refreshCharacter: ours.library.refresh,
    refreshLorebook: ours.lorebooks.refresh,
    log: createLog('silent'),
    now: Date.now,
  })
})
afterEach(async () => {
  await following.stop()
  vi.useRealTimers()
  await store.close()
  await rm(dataDir, { recursive: true, force: true })
})

const by = { actor: 'Tess' }
const names = async () => (await ours.library.list()).map(({ name }) => name)
const aSecond = () => vi.advanceTimersByTime(1_000)

test('what another process imports, edits and deletes is here a second later, and told to nobody here', async () => {
  const bytes = writeCard(sampleCard({ name: 'Mira' }), 'json', { modifiedAtSeconds: 1 })
  const { id = '' } = await theirs.library.importFile({ name: 'a.json', bytes }, { ...by, publishes: true })
  expect(await names()).toEqual([])
  aSecond()
  await expect.poll(names).toEqual(['Mira'])
  await theirs.library.edit(id, { ...by, card: { name: 'Mira Holt' }, publishes: true })
  aSecond()
  await expect.poll(names).toEqual(['Mira Holt'])
  expect((await ours.library.published(id))?.card.name).toBe('Mira Holt')
  await theirs.library.delete(id, { ...by, forGood: true })
  aSecond()
  await expect.poll(names).toEqual([])
  expect(told).toEqual([])
})

test('lorebooks as well', async () => {
  const book = { name: 'Harbour', entries: [], extensions: {} }
  const { id } = await theirs.lorebooks.add({ name: 'Harbour', book, characterIds: null }, by)
  aSecond()
  await expect.poll(() => ours.lorebooks.list().map(({ name }) => name)).toEqual(['Harbour'])
  await theirs.lorebooks.edit(id, { name: 'The harbour' }, by)
  aSecond()
  await expect.poll(() => ours.lorebooks.get(id).name).toBe('The harbour')
  await theirs.lorebooks.delete(id, by)
  aSecond()
  await expect.poll(() => ours.lorebooks.list()).toEqual([])
})
