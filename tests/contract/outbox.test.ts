/** The outbox on a real disk, and the recorder over it while a database is slow, away, or refuses. */
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, rm, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'

import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'

import { openRecorder, type Recorder, type RecorderParts } from '#analytics/recorder.ts'
import { AppError } from '#base/errors.ts'
import { openStore } from '#store/open.ts'
import { openOutbox, type Outbox } from '#store/outbox.ts'
import type { Store } from '#store/store.ts'

import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

const MEGABYTE = 1_048_576

let dir: string
const opened: { close(): Promise<unknown> }[] = []
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-outbox-'))
})
afterEach(async () => {
  for (const each of opened.splice(0).reverse()) await each.close()
  await rm(dir, { recursive: true, force: true })
})

function later<T extends { close(): Promise<unknown> }>(resource: T): T {
  opened.push(resource)
  return resource
}

const open_ = async (mostBytes = 64 * MEGABYTE, where = dir) =>
  later(await openOutbox({ dir: where, mostBytes }))
const event = (at: number, padding = '') => ({
  id: `event-${String(at)}`,
  kind: 'call',
  body: JSON.stringify({ at, padding }),
})
const idsIn = async (outbox: Outbox) => (await outbox.oldest(100_000)).map(({ id }) => id)

describe('the outbox', () => {
  test('keeps each event once, in the order in which they came, over an end of the process', async () => {
    const first = await openOutbox({ dir, mostBytes: MEGABYTE })
    await first.append([event(2), event(1)])
    await first.append([event(2), event(3)])
    await first.close()
    const second = await open_()
    expect(await idsIn(second)).toEqual(['event-2', 'event-1', 'event-3'])
    const [oldest] = await second.oldest(1)
    await second.remove(oldest?.seq ?? 0)
    expect(await idsIn(second)).toEqual(['event-1', 'event-3'])
    expect(second.state()).toMatchObject({ pending: 2, quarantined: 0 })
  })

  test('forgets after thirty days what it put aside, also what a version before this one put there', async () => {
    const DAY_MS = 86_400_000
    const file = path.join(dir, 'outbox-1.sqlite')
    const damaged = (daysAgo: number) => `${file}.damaged-${String(Date.now() - daysAgo * DAY_MS)}`
    for (const daysAgo of [29, 31]) await (await open(damaged(daysAgo), 'w')).close()
    const older = new Database(file)
    older.exec('create table set_aside (id text primary key, kind text not null, body text not null)')
    older.exec("insert into set_aside values ('undated', 'call', '{}')")
    older.close()
    const after = async (days: number) => {
      const aside = new Database(file)
      aside.prepare('update set_aside set at_ms = at_ms - ?').run(days * DAY_MS)
      aside.close()
      const outbox = await openOutbox({ dir, mostBytes: MEGABYTE })
      await outbox.close()
      const left = new Database(file)
      const ids = left.prepare('select id from set_aside order by id').pluck().all()
      left.close()
      return ids
    }
    const first = await openOutbox({ dir, mostBytes: MEGABYTE })
    await first.append([event(1)])
    const [refused] = await first.oldest(1)
    await first.setAside(refused?.seq ?? 0)
    await first.close()
    expect((await readdir(dir)).filter((name) => name.includes('damaged'))).toHaveLength(1)
    expect(await after(29)).toEqual(['event-1', 'undated'])
    expect(await after(2)).toEqual([])
  })

  test('two processes on one folder have a file each, and what one leaves behind the next takes over', async () => {
    const one = await openOutbox({ dir, mostBytes: MEGABYTE })
    const two = await openOutbox({ dir, mostBytes: MEGABYTE })
    await one.append([event(1)])
    await two.append([event(2)])
    await one.close()
    await two.close()
    expect((await idsIn(await open_())).sort()).toEqual(['event-1', 'event-2'])
  })

  test('refuses what goes beyond its bound, keeps what it has, and takes more when there is room again', async () => {
    const outbox = await open_(2 * MEGABYTE)
    const taken: number[] = []
    let refusal: unknown
    for (let at = 0; refusal === undefined; at++)
      await outbox.append([event(at, 'x'.repeat(20_000))]).then(
        () => taken.push(at),
        (error: unknown) => (refusal = error),
      )
    expect(refusal).toMatchObject({ code: 'unavailable' })
    expect(await idsIn(outbox)).toEqual(taken.map((at) => `event-${String(at)}`))
    expect(outbox.state().usedShare).toBeGreaterThan(0.8)
    await outbox.remove((await outbox.oldest(10)).at(-1)?.seq ?? 0)
    await outbox.append([event(9_999)])
    expect(await idsIn(outbox)).toHaveLength(taken.length - 10 + 1)
  })

  test.each([
    ['its beginning', () => 0],
    ['its middle', (size: number) => Math.floor(size / 2 / 4_096) * 4_096],
  ])(
    'a file damaged in %s is put aside, what can be read is saved, and the start goes on',
    async (_, place) => {
      const first = await openOutbox({ dir, mostBytes: 8 * MEGABYTE })
      for (let at = 0; at < 200; at += 20)
        await first.append(Array.from({ length: 20 }, (__, more) => event(at + more, 'x'.repeat(2_000))))
      await first.close()
      const file = await open(path.join(dir, 'outbox-1.sqlite'), 'r+')
      const { size } = await file.stat()
      await file.write(Buffer.alloc(8_192, 0xa5), 0, 8_192, place(size))
      await file.close()
      const second = await open_()
      const saved = await idsIn(second)
      expect(second.state().quarantined).toBe(1)
      expect(new Set(saved).size).toBe(saved.length)
      if (place(size) > 0) expect(saved.length).toBeGreaterThan(50)
      expect((await readdir(dir)).some((name) => name.includes('.damaged-'))).toBe(true)
      await second.append([event(1_000)])
      expect(await idsIn(second)).toContain('event-1000')
    },
  )

  test('no second process gets into a file that is in use', async () => {
    const outbox = await open_()
    await outbox.append([event(1)])
    const other = new Database(path.join(dir, 'outbox-1.sqlite'), { timeout: 0 })
    expect(() => other.prepare('select * from events').all()).toThrow(/locked/)
    other.close()
  })

  test.runIf(process.getuid?.() === 0 && process.platform === 'linux')(
    'a full disk takes nothing and loses nothing; it is used again when there is space',
    async () => {
      const disk = path.join(dir, 'disk')
      await mkdir(disk)
      const run = promisify(execFile)
      await run('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'tmpfs', disk])
      try {
        const outbox = await openOutbox({ dir: disk, mostBytes: 64 * MEGABYTE })
        const taken: string[] = []
        let refused = 0
        for (let at = 0; refused < 3; at++)
          await outbox.append([event(at, 'x'.repeat(10_000))]).then(
            () => taken.push(`event-${String(at)}`),
            () => refused++,
          )
        expect(taken.length).toBeGreaterThan(20)
        expect(await idsIn(outbox)).toEqual(taken)
        // The database took them all: nothing is left that would need the old file.
        await outbox.remove((await outbox.oldest(100_000)).at(-1)?.seq ?? 0)
        await outbox.append([event(5_000)])
        expect(await idsIn(outbox)).toEqual(['event-5000'])
        await outbox.close()
      } finally {
        await run('umount', ['-l', disk])
      }
    },
  )
})

describe('the recorder over it', () => {
  type Behaviour = 'works' | 'refuses' | 'hangs'

  /** A store whose appends do as told; what they took is in its table. */
  async function fakeDatabase() {
    const store = later(await openStore('file::memory:'))
    const told = { behaviour: 'works' as Behaviour, appends: 0 }
    const append: Store['append'] = async (batch) => {
      told.appends += 1
      if (told.behaviour === 'refuses') throw new AppError('unavailable', 'away')
      if (told.behaviour === 'hangs') await new Promise(() => undefined)
      await store.append(batch)
    }
    const ids = async () => (await store.db.select().from(store.t.callRecords)).map(({ id }) => id)
    return { told, ids, store: { ...store, append } }
  }

  const record = (over: Partial<RecorderParts> & { store: Store }): Recorder =>
    later(openRecorder({ log: silentLog, now: Date.now, ...over }))
  const add = (recorder: Recorder, ...numbers: number[]) =>
    Promise.all(numbers.map((at) => recorder.add(sampleRecord({ id: `r${String(at)}` }))))

  test('a database that hangs costs a quarter of a second once, and then nothing', async () => {
    const { told, store } = await fakeDatabase()
    const outbox = await open_()
    let diskMs = 0
    const append: Outbox['append'] = async (events) => {
      const startedAtMs = performance.now()
      await outbox.append(events)
      diskMs += performance.now() - startedAtMs
    }
    const recorder = record({ store, outbox: { ...outbox, append } })
    told.behaviour = 'hangs'
    // Less what the disk took: that may be long, and the database has no part in it.
    const timed = async (...numbers: number[]) => {
      const [startedAtMs, diskBeforeMs] = [performance.now(), diskMs]
      await add(recorder, ...numbers)
      return performance.now() - startedAtMs - (diskMs - diskBeforeMs)
    }
    const firstMs = await timed(1)
    const secondMs = await timed(2, 3)
    expect(firstMs).toBeGreaterThan(240)
    expect(firstMs).toBeLessThan(1_000)
    expect(secondMs).toBeLessThan(240)
    expect(recorder.state()).toMatchObject({ isSpilling: true, isFailing: false })
    expect(told.appends).toBeLessThanOrEqual(2)
  })

  test('what waited goes in oldest first, and then records take the straight way again', async () => {
    const { told, ids, store } = await fakeDatabase()
    const recorder = record({ store, outbox: await open_() })
    told.behaviour = 'refuses'
    await add(recorder, 1)
    await add(recorder, 2)
    expect(await ids()).toEqual([])
    told.behaviour = 'works'
    await vi.waitFor(() => expect(recorder.state().isSpilling).toBe(false), 5_000)
    await add(recorder, 3)
    expect(await ids()).toEqual(['r1', 'r2', 'r3'])
    expect(recorder.state()).toMatchObject({ pending: 0, dropped: 0 })
  })

  test('what is put aside in the moment in which the rest has gone in still goes in before what comes next', async () => {
    const { told, ids, store } = await fakeDatabase()
    const outbox = await open_()
    const append: Outbox['append'] = async (events) => {
      if (events.some(({ id }) => id === 'r2')) {
        told.behaviour = 'works'
        await vi.waitFor(() => expect(recorder.state().isSpilling).toBe(false), 5_000)
      }
      await outbox.append(events)
    }
    const oldest: Outbox['oldest'] = async (limit) => {
      await sleep(20)
      return outbox.oldest(limit)
    }
    const recorder = record({ store, outbox: { ...outbox, append, oldest } })
    told.behaviour = 'refuses'
    for (const at of [3, 2, 1]) await add(recorder, at)
    await vi.waitFor(() => expect(recorder.state()).toMatchObject({ isSpilling: false, pending: 0 }), 5_000)
    expect(await ids()).toEqual(['r3', 'r2', 'r1'])
  })

  test('what an earlier process left in the outbox goes in at the start', async () => {
    const { told, store, ids } = await fakeDatabase()
    told.behaviour = 'refuses'
    const outbox = await openOutbox({ dir, mostBytes: MEGABYTE })
    const before = openRecorder({ store, outbox, log: silentLog, now: Date.now })
    await add(before, 1)
    await before.close()
    await outbox.close()
    told.behaviour = 'works'
    record({ store, outbox: await open_() })
    await vi.waitFor(async () => expect(await ids()).toEqual(['r1']), 5_000)
  })

  test('a record that the database will never take is set aside and holds up no other', async () => {
    const { told, ids, store } = await fakeDatabase()
    const recorder = record({ store, outbox: await open_() })
    told.behaviour = 'refuses'
    await add(recorder, 1)
    await recorder.add(sampleRecord({ id: 'bad', status: null as never }))
    await add(recorder, 2)
    told.behaviour = 'works'
    await vi.waitFor(async () => expect(await ids()).toEqual(['r1', 'r2']), 5_000)
    await vi.waitFor(() => expect(recorder.state().pending).toBe(0), 5_000)
  })

  test('nothing comes back of a person who was erased meanwhile', async () => {
    const { told, ids, store } = await fakeDatabase()
    const recorder = record({ store, outbox: await open_(), isErased: (person) => person === 'gone' })
    told.behaviour = 'refuses'
    await recorder.add(sampleRecord({ id: 'theirs', person: 'gone' }))
    await recorder.add(sampleRecord({ id: 'other', person: 'here' }))
    told.behaviour = 'works'
    await vi.waitFor(() => expect(recorder.state().isSpilling).toBe(false), 5_000)
    expect(await ids()).toEqual(['other'])
  })

  const full: Outbox = {
    append: () => Promise.reject(new AppError('unavailable', 'full')),
    oldest: () => Promise.resolve([]),
    remove: () => Promise.resolve(),
    setAside: () => Promise.resolve(),
    state: () => ({ pending: 0, usedShare: 1, quarantined: 0 }),
    close: () => Promise.resolve(),
  }

  test('with nowhere to write, strict refuses new answers before a model works, until a record can be written', async () => {
    const { told, store } = await fakeDatabase()
    const recorder = record({ store, outbox: full })
    told.behaviour = 'refuses'
    recorder.admit()
    await expect(add(recorder, 1)).rejects.toMatchObject({ code: 'unavailable' })
    expect(() => recorder.admit()).toThrow(/could not be recorded/)
    told.behaviour = 'works'
    await vi.waitFor(() => recorder.admit(), 5_000)
    await add(recorder, 2)
  })

  test('with nowhere to write, lax lets answers pass and counts those without a record', async () => {
    const { told, ids, store } = await fakeDatabase()
    const lost: number[] = []
    const recorder = record({ store, outbox: full, isStrict: false, onDropped: (count) => lost.push(count) })
    told.behaviour = 'refuses'
    await add(recorder, 1)
    await add(recorder, 2, 3)
    recorder.admit()
    expect(recorder.state()).toMatchObject({ dropped: 2, isFailing: true })
    told.behaviour = 'works'
    await vi.waitFor(() => expect(recorder.state().isFailing).toBe(false), 5_000)
    // The first was kept in memory to find out when writing works again.
    expect(await ids()).toEqual(['r1'])
    expect(lost).toEqual([2])
  })
})
