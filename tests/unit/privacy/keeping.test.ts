/** Samples and pseudonyms over time, on a clock that is put forward. */
import { beforeEach, describe, expect, test } from 'vitest'

import { createVault } from '#base/vault.ts'
import { openPseudonyms, type Pseudonyms } from '#privacy/pseudonyms.ts'
import { createSamples } from '#privacy/samples.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

const DAY_MS = 86_400_000
const vault = createVault(['a secret of more than thirty-two characters'])

let store: Store
let nowMs: number
const now = () => nowMs
beforeEach(async () => {
  store = await openStore('file::memory:')
  nowMs = 1_795_000_000_000
  return () => store.close()
})

describe('samples', () => {
  const turn = {
    ...{ characterId: 'mira', person: 'p', chat: 'c', answered: 'Call 030 1234567.' },
    said: 'I am a@b.de and live at Gartenweg 7.',
  }

  test('are redacted before they are sealed, and gone when their days are over, not before', async () => {
    const samples = createSamples({ store, vault, now })
    await samples.keep({ ...turn, requestId: 'short', days: 1 })
    await samples.keep({ ...turn, requestId: 'long', days: 7 })
    expect((await samples.list({ limit: 10 }))[0]).toMatchObject({
      said: 'I am [EMAIL_1] and live at [ADDRESS_1].',
      answered: 'Call [PHONE_1].',
    })
    const [row] = await store.db.select().from(store.t.textSamples)
    expect(row?.text).not.toMatch(/EMAIL|live|Call/)
    const left = async () => {
      await samples.expire()
      return (await samples.list({ limit: 10 })).map(({ requestId }) => requestId)
    }
    nowMs += DAY_MS
    expect(await left()).toHaveLength(2)
    nowMs += 1
    expect(await left()).toEqual(['long'])
    nowMs += 6 * DAY_MS
    expect(await left()).toEqual([])
  })
})

describe('pseudonyms', () => {
  const open = (secret = 'a secret of the installation, long enough'): Promise<Pseudonyms> =>
    openPseudonyms({
      store,
      vault,
      secret,
      now,
      hasOlderRecords: () => Promise.resolve(false),
    })

  test('do not open under another secret, also where they are older than the check', async () => {
    const first = await open()
    await store.db.update(store.t.pseudonymEpochs).set({ secretCheck: null })
    expect((await open()).of('person', 'tom')).toBe(first.of('person', 'tom'))
    await expect(open('another secret of the installation')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringContaining('TROUPE_PSEUDONYM_SECRET') as string,
    })
  })

  test.each(['nothing there', 'what is there not stamped yet'])(
    'open under one of two secrets that start at the same moment, with %s',
    async (there) => {
      if (there !== 'nothing there') await open()
      await store.db.update(store.t.pseudonymEpochs).set({ secretCheck: null })
      const starts = await Promise.allSettled([open('one secret'), open('another secret')])
      expect(starts.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    },
  )

  test('begin anew under another secret when their epochs are deleted, where the old one is lost', async () => {
    const lost = (await open()).of('person', 'tom')
    // What docs/operations.md says.
    const { pseudonymEpochs, textSamples, webhookDeliveries, webhooks } = store.t
    for (const table of [pseudonymEpochs, textSamples, webhookDeliveries, webhooks])
      await store.db.delete(table)
    const secret = 'another secret of the installation'
    const anew = await openPseudonyms({
      ...{ store, secret, now, vault: createVault([secret]) },
      hasOlderRecords: () => Promise.resolve(true),
    })
    expect([lost, anew.lasting('tom')]).not.toContain(anew.of('person', 'tom'))
    await anew.rotate(0)
    expect(anew.all('person', 'tom')).not.toContain(lost)
  })

  test('are new after a rotation, can be told for thirty days more, and by nobody afterwards', async () => {
    const pseudonyms = await open()
    const first = pseudonyms.of('person', 'tom')
    expect(pseudonyms.of('chat', 'tom')).not.toBe(first)
    nowMs += DAY_MS
    await pseudonyms.rotate()
    const second = pseudonyms.of('person', 'tom')
    expect(second).not.toBe(first)
    const lasting = pseudonyms.lasting('tom')
    expect([first, second, pseudonyms.of('chat', 'tom')]).not.toContain(lasting)
    expect(pseudonyms.all('person', 'tom')).toEqual([second, first, lasting])
    expect(pseudonyms.all('chat', 'tom')).toHaveLength(2)
    // Another process, and a start after it.
    expect((await open()).all('person', 'tom')).toEqual([second, first, lasting])

    nowMs += 30 * DAY_MS
    expect(await pseudonyms.refresh()).toBe(0)
    nowMs += 1
    expect(await pseudonyms.refresh()).toBe(1)
    expect(pseudonyms.all('person', 'tom')).toEqual([second, lasting])
    // The salt itself is gone: the secret of the installation leads nowhere.
    expect((await store.db.select().from(store.t.pseudonymEpochs)).map(({ salt }) => salt === null)).toEqual([
      true,
      false,
    ])
  })

  test('are rotated once by all processes whose time it is', async () => {
    const replicas = [await open(), await open(), await open()]
    nowMs += 10 * DAY_MS
    // Two at the same moment, and one that has not heard of it yet.
    await Promise.all(replicas.slice(0, 2).map((one) => one.rotate(10 * DAY_MS)))
    await replicas[2]?.rotate(10 * DAY_MS)
    const epochs = await store.db.select().from(store.t.pseudonymEpochs)
    expect(epochs.map(({ endedAtMs }) => endedAtMs)).toEqual([nowMs, null])
    for (const one of replicas) await one.refresh()
    expect(new Set(replicas.map((one) => one.of('person', 'tom'))).size).toBe(1)
  })

  test('end with the next ones, also where a kill came between the two', async () => {
    const pseudonyms = await open()
    nowMs += DAY_MS
    await pseudonyms.rotate()
    const { pseudonymEpochs } = store.t
    await store.db.update(pseudonymEpochs).set({ endedAtMs: null })
    nowMs += 31 * DAY_MS
    expect(await (await open()).refresh()).toBe(1)
  })
})
