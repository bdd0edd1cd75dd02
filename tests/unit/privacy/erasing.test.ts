/** What is left of somebody who was erased, where it could come back from. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

import { beforeEach, describe, expect, test } from 'vitest'

import { createVault } from '#base/vault.ts'
import { openUsage, type Usage } from '#gateway/usage.ts'
import type { Kv } from '#kv/kv.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openPrivacy, type Privacy } from '#privacy/privacy.ts'
import { openRegister, type Register } from '#privacy/register.ts'
import { openStore } from '#store/open.ts'
import { rowsOf, type Store } from '#store/store.ts'

import { sampleRecord } from '../../support/sample-record.ts'
import { silentLog } from '../../support/silent-log.ts'

const NOW = Date.parse('2026-11-27T12:00Z')
const SECRET = 'a secret of the installation, long enough'

let dataDir: string
let characters: Store
let analytics: Store
let kv: Kv
/** The first step of every wipe. */
let forgetTexts: () => Promise<void>
let privacy: Privacy
let usage: Usage

const openAnother = () =>
  openPrivacy({
    ...{ stores: { characters, analytics }, kv },
    vault: createVault(['a secret of more than thirty-two characters']),
    ...{ secret: SECRET, dataDir, pseudonymDays: undefined, log: silentLog, now: () => NOW },
    texts: { forget: () => forgetTexts(), texts: () => Promise.resolve([]) },
  })
const open = async () => {
  privacy = await openAnother()
}

beforeEach(async () => {
  dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-erasing-'))
  ;[characters, analytics] = [await openStore('file::memory:'), await openStore('file::memory:')]
  kv = openMemoryKv({ now: () => NOW })
  forgetTexts = () => Promise.resolve()
  await open()
  usage = openUsage({
    ...{ store: characters, log: silentLog, now: () => NOW },
    isErased: (person) => privacy.isBuried('person', person),
  })
  return async () => {
    await Promise.all([usage.close(), privacy.close()])
    await Promise.all([characters.close(), analytics.close()])
    await rm(dataDir, { recursive: true, force: true })
  }
})

function gate(): { open: () => void; opened: Promise<void> } {
  let letGo = (): void => undefined
  const opened = new Promise<void>((resolve) => (letGo = resolve))
  return {
    open() {
      letGo()
    },
    opened,
  }
}

const keyOf = (id: string) => `used:person:${privacy.pseudonyms.lasting(id)}:turns:2026-11`
async function use(id: string): Promise<void> {
  usage.add(keyOf(id), 1, NOW + 1_000)
  await usage.flush()
}
const counted = async () =>
  (await characters.db.select().from(characters.t.usageSums)).map(({ key }) => key).sort()

describe('what somebody used up of a quota', () => {
  test('is exported, goes with them, and is not written by a later flush', async () => {
    await use('ann')
    await use('bob')
    expect((await privacy.state('ann')).rows['characters']).toMatchObject({ usage_sums: 1 })
    const { receipt } = await privacy.erase('ann', 'test')
    expect(receipt).toMatchObject({
      rowsBefore: { characters: { usage_sums: 1 } },
      rowsAfter: { characters: { usage_sums: 0 } },
    })
    // An answer that ended after it.
    await use('ann')
    expect(await counted()).toEqual([keyOf('bob')])
  })

  test('does not come back with a restored database', async () => {
    await use('ann')
    await use('bob')
    const saved = await characters.db.select().from(characters.t.usageSums)
    await privacy.erase('ann', 'test')
    await characters.db.delete(characters.t.usageSums)
    await characters.db.insert(characters.t.usageSums).values(saved)
    await privacy.close()
    await open()
    // What it owes from the start is done.
    await privacy.close()
    expect(await counted()).toEqual([keyOf('bob')])
  })

  test('goes also when only the comparison with Open WebUI finds that they are gone', async () => {
    await use('ann')
    await use('bob')
    const bob = privacy.pseudonyms.of('person', 'bob')
    await analytics.append([rowsOf(analytics.t.callRecords, [sampleRecord({ person: bob })])])
    expect(await privacy.reconcile(new Set(['bob']), { force: false })).toEqual({ erased: 1, refused: false })
    expect(await counted()).toEqual([keyOf('bob')])
    await use('ann')
    expect(await counted()).toEqual([keyOf('bob')])
  })
})

describe('another sidecar over the same databases', () => {
  let other: Privacy
  const rows = () => analytics.db.select().from(analytics.t.callRecords)
  const record = (person: string) =>
    analytics.append([rowsOf(analytics.t.callRecords, [sampleRecord({ person })])])
  beforeEach(async () => {
    const zoe = privacy.pseudonyms.of('person', 'zoe')
    await privacy.erase('zoe', 'test')
    await record(zoe)
    other = await openAnother()
    // The last of what it owes from the start, which would learn of the rest too.
    await expect.poll(rows, { interval: 5 }).toEqual([])
    return () => other.close()
  })

  test('knows at once who objected, and who does no more', async () => {
    await privacy.setObjection('ann', true)
    await expect.poll(() => other.isHidden('ann'), { interval: 5 }).toBe(true)
    await privacy.setObjection('ann', false)
    await expect.poll(() => other.isHidden('ann'), { interval: 5 }).toBe(false)
  })

  test.each(['person', 'chat'] as const)('knows of an erased %s while the wipe goes on', async (kind) => {
    const wipe = gate()
    forgetTexts = () => wipe.opened
    const erasing = kind === 'person' ? privacy.erase('ann', 'test') : privacy.eraseChat('ann')
    await expect.poll(() => other.isBuried(kind, 'ann'), { interval: 5 }).toBe(true)
    wipe.open()
    await erasing
  })

  test('knows at once of somebody whose wipe failed', async () => {
    forgetTexts = () => Promise.reject(new Error('away'))
    await expect(privacy.erase('ann', 'test')).rejects.toThrow('away')
    await expect.poll(() => other.isHidden('ann'), { interval: 5 }).toBe(true)
  })

  test('goes on with the pseudonyms of a new epoch at once', async () => {
    await privacy.rotatePseudonyms()
    const newest = privacy.pseudonyms.of('person', 'ann')
    await expect.poll(() => other.pseudonyms.of('person', 'ann'), { interval: 5 }).toBe(newest)
  })
})

describe('a sidecar that is told of what another one erased', () => {
  let elsewhere: Register
  const tell = () => kv.publish('people', '')
  const rows = () => analytics.db.select().from(analytics.t.callRecords)
  async function buryElsewhere(id: string): Promise<void> {
    const person = privacy.pseudonyms.of('person', id)
    await analytics.append([rowsOf(analytics.t.callRecords, [sampleRecord({ person })])])
    await elsewhere.bury('person', [id, person])
  }
  beforeEach(async () => {
    const otherDir = await mkdtemp(path.join(tmpdir(), 'troupe-erasing-'))
    elsewhere = await openRegister({
      ...{ store: characters, secret: SECRET, dataDir: otherDir, now: () => NOW },
    })
    await privacy.close()
    await buryElsewhere('zoe')
    await open()
    // The last of what it owes from the start, which would learn of the rest too.
    await expect.poll(rows, { interval: 5 }).toEqual([])
    return () => rm(otherDir, { recursive: true, force: true })
  })

  test('wipes what it wrote before it knew', async () => {
    await buryElsewhere('ann')
    await tell()
    await expect.poll(rows, { interval: 5 }).toEqual([])
  })

  test('does a wipe that failed when it is next told of anything', async () => {
    let failed = 0
    forgetTexts = () => {
      failed += 1
      forgetTexts = () => Promise.resolve()
      return Promise.reject(new Error('away'))
    }
    await buryElsewhere('ann')
    await tell()
    await expect.poll(() => failed, { interval: 5 }).toBe(1)
    await tell()
    await expect.poll(rows, { interval: 5 }).toEqual([])
  })

  test('looks once for many who are told of at the same time', async () => {
    let looked = 0
    forgetTexts = () => {
      looked += 1
      return Promise.reject(new Error('away'))
    }
    await buryElsewhere('ann')
    await Promise.all(Array.from({ length: 200 }, tell))
    await privacy.close()
    expect(looked).toBe(1)
  })

  test('learns of whom it is told while it wipes', async () => {
    const [started, wipe] = [gate(), gate()]
    forgetTexts = () => {
      started.open()
      return wipe.opened
    }
    await buryElsewhere('ann')
    await tell()
    await started.opened
    await buryElsewhere('bob')
    await tell()
    wipe.open()
    await expect.poll(() => privacy.isHidden('bob'), { interval: 5 }).toBe(true)
  })
})
