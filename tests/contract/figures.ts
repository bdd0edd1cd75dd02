/** What roll-ups and figures must do on every database; `figures.test.ts` runs it on each. */
import fc from 'fast-check'
import { eq } from 'drizzle-orm'
import type { SQLiteTable } from 'drizzle-orm/sqlite-core'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'

import { createCalendar, DAY_MS, HOUR_MS } from '#analytics/calendar.ts'
import type { FigureName, FigureQuery } from '#analytics/figures/figure.ts'
import { makeFigure } from '#analytics/figures/figures.ts'
import { openRecorder } from '#analytics/recorder.ts'
import { createRollUp } from '#analytics/roll-up/roll-up.ts'
import type { CallDetails, CallRecord } from '#analytics/record.ts'
import { sha256Hex } from '#base/ids.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { sampleRecord } from '../support/sample-record.ts'
import { silentLog } from '../support/silent-log.ts'

/** A Friday. */
const NOW = Date.parse('2026-11-27T12:00Z')
const calendar = createCalendar('Europe/Berlin', NOW)

export function describeFigures(url: () => string): void {
  let store: Store
  let nowMs = NOW
  const now = () => nowMs
  beforeAll(async () => {
    store = await openStore(url())
  })
  afterAll(() => store.close())
  beforeEach(() => clear())

  async function clear(): Promise<void> {
    nowMs = NOW
    const { callRecords, loreHits, passageHits, ratings, rollUps, itemRollUps, personSets, people } = store.t
    const { peopleRollUps, cohortRollUps, rollUpQueue, rollUpMarks } = store.t
    for (const table of [
      ...[callRecords, loreHits, passageHits, ratings, rollUps, itemRollUps, personSets, people],
      ...[peopleRollUps, cohortRollUps, rollUpQueue, rollUpMarks],
    ])
      await store.db.delete(table)
  }

  const rollUpOf = (over: Partial<Parameters<typeof createRollUp>[0]> = {}) =>
    createRollUp({ store, calendar, now, retention: { recordDays: 90, months: 25 }, ...over })
  const figure = (name: FigureName, over: Partial<FigureQuery> = {}) =>
    makeFigure(
      { figure: name, fromMs: NOW - 30 * DAY_MS, toMs: NOW, smallest: null, ...over },
      { store, calendar, now },
    )
  async function record(calls: readonly Partial<CallRecord>[], details: CallDetails = {}): Promise<void> {
    const recorder = openRecorder({ store, log: silentLog, now })
    await Promise.all(calls.map((call) => recorder.add(sampleRecord(call), details)))
    await recorder.close()
  }

  /** Two months of calls of twelve people, without dice. */
  const calls = Array.from({ length: 300 }, (_, at): Partial<CallRecord> => ({
    id: `call-${String(at)}`,
    // Eight in an hour.
    startedAtMs: NOW - Math.floor(at / 8) * 38.4 * HOUR_MS - (at % 8) * 60_000,
    person: `person-${String(at % 12)}`,
    groups: at % 3 === 0 ? ['Club', 'School'] : ['Club'],
    chat: `chat-${String(at % 50)}`,
    message: `message-${String(at)}`,
    userMessage: `user-${String(at)}`,
    keyId: at % 5 === 1 ? 'script' : 'connection',
    characterId: at % 4 === 0 ? 'pia' : 'mira',
    characterVersion: at < 150 ? 2 : 1,
    kind: at % 10 === 9 ? 'task' : 'turn',
    status: at % 20 === 0 ? 'failed' : 'ok',
    errorCode: at % 20 === 0 ? 'upstream' : null,
    promptTokens: 100,
    completionTokens: 20,
    cachedTokens: 60,
    firstTokenMs: 100 + at,
    totalMs: 1_000 + at,
    prefillMs: 90,
    decodeMs: 400,
    costMicro: 1_500,
  }))
  const inPeriod = (fromMs: number, toMs: number) =>
    calls.filter(
      ({ startedAtMs = 0, kind }) => startedAtMs >= fromMs && startedAtMs < toMs && kind === 'turn',
    )

  test('a figure over hours, days or months counts exactly the calls of its period', async () => {
    await record(calls)
    await rollUpOf().run()
    for (const lengthDays of [1, 20, 58]) {
      const { base, total, rows } = await figure('overview', { fromMs: NOW - lengthDays * DAY_MS })
      const truth = inPeriod(base.fromMs, base.toMs)
      expect(base.n).toBe(truth.length)
      expect(total).toMatchObject({
        calls: truth.length,
        failed: truth.filter(({ status }) => status === 'failed').length,
        promptTokens: truth.length * 100,
        cacheShare: 0.6,
      })
      expect(rows.reduce((sum, row) => sum + Number(row['calls']), 0)).toBe(truth.length)
      expect(total?.['cost']).toBeCloseTo(truth.length * 0.0015, 9)
    }
    const { base } = await figure('overview', { fromMs: NOW - 200 * DAY_MS })
    expect(base).toMatchObject({ grain: 'month', n: inPeriod(base.fromMs, base.toMs).length })
    expect(base.n).toBeGreaterThan(100)
  })

  test('percentiles of a merged period are those of all its calls', async () => {
    await record(calls)
    await rollUpOf().run()
    const { base, total } = await figure('speed', { fromMs: NOW - 58 * DAY_MS })
    const times = inPeriod(base.fromMs, base.toMs)
      .filter(({ status }) => status === 'ok')
      .map(({ firstTokenMs }) => firstTokenMs ?? 0)
      .sort((a, b) => a - b)
    const truth = times[Math.ceil(times.length * 0.9) - 1] ?? 0
    expect(Math.abs(Number(total?.['firstTokenP90']) / truth - 1)).toBeLessThan(0.045)
  })

  test('filters, and rows by character, version and group, count the same calls', async () => {
    await record(calls)
    await rollUpOf().run()
    const whole = { fromMs: NOW - 70 * DAY_MS }
    const byCharacter = await figure('usage', whole)
    expect(byCharacter.rows.map(({ character, calls: n }) => [character, n])).toEqual([
      ['mira', calls.filter(({ characterId, kind }) => characterId === 'mira' && kind === 'turn').length],
      ['pia', calls.filter(({ characterId, kind }) => characterId === 'pia' && kind === 'turn').length],
    ])
    const versions = await figure('usage', { ...whole, by: 'version', character: 'pia' })
    expect(versions.rows.map(({ version }) => version).sort()).toEqual([1, 2])
    const keys = await figure('usage', { ...whole, by: 'key' })
    const ofScript = calls.filter(({ keyId, kind }) => keyId === 'script' && kind === 'turn').length
    expect(keys.rows.find(({ key }) => key === 'script')).toMatchObject({ calls: ofScript })
    expect((await figure('costs', { ...whole, key: 'script', character: 'pia' })).base.n).toBe(
      calls.filter(({ keyId, characterId }) => keyId === 'script' && characterId === 'pia').length,
    )
    await expect(figure('people', { ...whole, key: 'script' })).rejects.toMatchObject({ param: 'key' })
    const groups = await figure('usage', { ...whole, by: 'group' })
    const ofSchool = calls.filter(
      ({ groups: some, kind }) => some?.includes('School') && kind === 'turn',
    ).length
    expect(groups.rows.find(({ group }) => group === 'School')).toMatchObject({ calls: ofSchool })
    expect((await figure('usage', { ...whole, group: 'School' })).base.n).toBe(ofSchool)
    await expect(figure('overview', { ...whole, by: 'model' })).rejects.toMatchObject({ param: 'by' })
    const errors = await figure('errors', whole)
    expect(errors.rows).toMatchObject([{ kind: 'turn', error: 'upstream', failures: 15 }])
  })

  test('people of the day, the week and the month, new ones, and who of a week came back', async () => {
    const days = (count: number) => NOW - count * DAY_MS
    await record([
      { id: 'a1', person: 'ann', startedAtMs: days(20) },
      { id: 'a2', person: 'ann', startedAtMs: days(10) },
      { id: 'a3', person: 'ann', startedAtMs: days(0) - HOUR_MS },
      { id: 'b1', person: 'bob', startedAtMs: days(20) },
      { id: 'c1', person: 'cyd', startedAtMs: days(1) },
      { id: 'n1', person: null, startedAtMs: days(1) },
    ])
    await rollUpOf().run()
    const { rows, base } = await figure('people')
    expect(rows.at(-1)).toMatchObject({ daily: 1, weekly: 2, monthly: 3, fresh: 0, returning: 1 })
    expect(rows.at(-2)).toMatchObject({ daily: 1, fresh: 1, returning: 0 })
    expect(base.excludes.join()).toContain('name nobody')
    const retention = await figure('retention', { fromMs: days(40) })
    const first = retention.rows.filter(({ size }) => size === 2)
    expect(first.map(({ week, people: back }) => [week, back])).toEqual([
      [0, 2],
      [2, 1],
      [3, 1],
    ])
    await expect(figure('people', { model: 'base' })).rejects.toMatchObject({
      code: 'invalid',
      param: 'model',
    })
  })

  test('a day on which nobody asks has the people of the days before it', async () => {
    await record([{ id: 'a1', person: 'ann', startedAtMs: NOW - HOUR_MS }])
    await rollUpOf().run()
    // Open again after more than a month in which it did not run.
    nowMs = NOW + 40 * DAY_MS
    const before = await figure('people', { fromMs: NOW, toMs: nowMs })
    expect(before.rows).toHaveLength(1)
    await rollUpOf().run()
    const { rows } = await figure('people', { fromMs: NOW, toMs: nowMs })
    expect(rows).toHaveLength(41)
    expect(rows[1]).toMatchObject({ daily: 0, weekly: 1, monthly: 1, stickiness: 0, returning: 0 })
    expect(rows[7]).toMatchObject({ weekly: 0, monthly: 1 })
    expect(rows[29]).toMatchObject({ monthly: 1 })
    expect(rows[30]).toMatchObject({ monthly: 0 })
  })

  test('a late row, a rating and one taken back change the figures that they belong to', async () => {
    await record(calls)
    await rollUpOf().run()
    const before = (await figure('overview', { fromMs: NOW - 58 * DAY_MS })).base.n
    nowMs += 10 * 60_000
    await record([{ id: 'late', startedAtMs: NOW - 40 * DAY_MS, message: 'late' }])
    const recorder = openRecorder({ store, log: silentLog, now })
    await recorder.addRating({ id: 'f1', message: 'message-4', value: -1, atMs: nowMs })
    await recorder.addRating({ id: 'f2', message: 'message-8', value: 1, atMs: nowMs })
    await rollUpOf().run()
    expect((await figure('overview', { fromMs: NOW - 58 * DAY_MS })).base.n).toBe(before + 1)
    expect((await figure('ratings')).total).toMatchObject({ up: 1, down: 1, satisfaction: 0.5 })
    nowMs += 10 * 60_000
    await recorder.deleteRating('f1')
    await rollUpOf().run()
    expect((await figure('ratings')).total).toMatchObject({ up: 1, down: 0 })
    await recorder.close()
  })

  test('a second answer to the same message is a regeneration, a tool loop is not', async () => {
    const of = (id: string, message: string, minutes: number) => ({
      ...{ id, message, userMessage: 'question', startedAtMs: NOW - HOUR_MS + minutes * 60_000 },
    })
    await record([of('1', 'first', 0), of('2', 'first', 1), of('3', 'second', 2), of('4', 'third', 3)])
    await rollUpOf().run()
    expect((await figure('ratings')).total).toMatchObject({ regenerated: 2, regenerateRate: 0.5 })
  })

  test('lore and documents are counted by entry and by document', async () => {
    await record(
      [
        { id: 'x', startedAtMs: NOW - HOUR_MS },
        { id: 'y', startedAtMs: NOW - 2 * HOUR_MS },
      ],
      {
        lore: [
          { entry: 'The lamp', tokens: 12, isDropped: false },
          { entry: 'The cliff', tokens: 30, isDropped: true },
        ],
        passages: [{ document: 'manual', chunk: '3', score: 0.8, isUsed: true }],
      },
    )
    await rollUpOf().run()
    expect((await figure('lore')).rows).toEqual([
      { character: 'mira', entry: 'The lamp', used: 2, dropped: 0, tokens: 24 },
      { character: 'mira', entry: 'The cliff', used: 0, dropped: 2, tokens: 0 },
    ])
    expect((await figure('knowledge')).rows).toEqual([
      { character: 'mira', document: 'manual', used: 2, unused: 0, score: expect.closeTo(0.8, 9) },
    ])
  })

  test('an entry or a document that fewer than five people called up is not told, however often they did', async () => {
    const times = (count: number, people: readonly string[], entry: string) =>
      record(
        Array.from({ length: count }, (_, at) => ({
          id: `${entry}-${String(at)}`,
          person: people[at % people.length] ?? null,
          // Over a month and more, so that months of the days are read as well.
          startedAtMs: NOW - HOUR_MS - (at % 40) * DAY_MS,
        })),
        {
          lore: [{ entry, tokens: 12, isDropped: false }],
          passages: [{ document: entry, chunk: '3', score: 0.8, isUsed: true }],
        },
      )
    await times(80, ['ann', 'bob', 'cyd', 'dan'], 'few')
    await times(80, ['ann', 'bob', 'cyd', 'dan', 'eve', 'fay'], 'enough')
    await times(10, [], 'nobody that is known')
    await rollUpOf().run()
    for (const [name, column] of [
      ['lore', 'entry'],
      ['knowledge', 'document'],
    ] as const)
      for (const lengthDays of [45, 400]) {
        const period = { fromMs: NOW - lengthDays * DAY_MS }
        const told = await figure(name, { ...period, smallest: 5 })
        expect(told.rows.map((row) => row[column])).toEqual(['enough'])
        expect(told.base.hidden).toBe(2)
        expect((await figure(name, period)).rows).toHaveLength(3)
      }
    // On each of these days it was one or two people.
    const day = () => figure('lore', { fromMs: NOW - DAY_MS, smallest: 5 })
    expect((await day()).rows).toEqual([])
    // What an older version counted is told when it was counted anew.
    const month = async () => (await figure('lore', { fromMs: NOW - 45 * DAY_MS, smallest: 5 })).rows.length
    const { itemRollUps, rollUpQueue } = store.t
    await store.db.update(itemRollUps).set({ people: null })
    expect(await month()).toBe(0)
    const days = await store.db
      .select({ atMs: itemRollUps.atMs })
      .from(itemRollUps)
      .where(eq(itemRollUps.grain, 'day'))
      .groupBy(itemRollUps.atMs)
    await store.db.insert(rollUpQueue).values(days.map(({ atMs }) => ({ grain: 'day', atMs })))
    await rollUpOf().run()
    expect(await month()).toBe(1)
  })

  test('whenever records came, and late ones too, the roll-ups are what a recount of all of them says', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(drawnCall, { minLength: 1, maxLength: 25 }), async (drawn) => {
        await clear()
        const all = drawn.map(toCall)
        const recorder = openRecorder({ store, log: silentLog, now })
        for (const batch of [0, 1, 2]) {
          nowMs = NOW + batch * HOUR_MS
          const some = all.filter((call) => call.batch === batch)
          await record(some.map(({ batch: _, rating: __, ...call }) => call))
          for (const { id, message, rating } of some)
            if (rating !== 0) await recorder.addRating({ id, message, value: rating, atMs: nowMs })
          await rollUpOf().run()
        }
        await recorder.close()
        for (const filter of [{}, { character: 'pia' }, { group: 'Club' }]) await compare(all, filter)
      }),
      { numRuns: 6 },
    )
  }, 60_000)

  async function compare(
    all: readonly Drawn[],
    filter: { character?: string; group?: string },
  ): Promise<void> {
    const calls = all.filter(({ characterId, groups }) => isIn(filter, characterId, groups))
    const turns = calls.filter(({ kind }) => kind === 'turn')
    for (const lengthDays of [2, 45, 150]) {
      const { rows, base, total } = await figure('overview', { ...filter, fromMs: NOW - lengthDays * DAY_MS })
      const within = turns.filter(({ startedAtMs }) => startedAtMs >= base.fromMs && startedAtMs < base.toMs)
      expect(total).toMatchObject(recount(all, within))
      for (const row of rows) {
        const fromMs = Number(row['atMs'])
        const toMs = calendar.next(base.grain, fromMs)
        const ofRow = within.filter(({ startedAtMs }) => startedAtMs >= fromMs && startedAtMs < toMs)
        expect(row).toMatchObject(recount(all, ofRow))
      }
    }
    const known = turns.flatMap(({ person, startedAtMs }) =>
      person === null ? [] : [{ person, dayMs: calendar.startOf('day', startedAtMs) }],
    )
    const people = await figure('people', { ...filter, fromMs: NOW - 45 * DAY_MS })
    const firstDays = firstDaysOf(all)
    for (const { atMs, daily, weekly, monthly, fresh } of people.rows) {
      const dayMs = Number(atMs)
      const upTo = (days: number) => {
        const sinceMs = calendar.startOf('day', dayMs - (days - 1.5) * DAY_MS)
        return new Set(known.flatMap((of) => (of.dayMs >= sinceMs && of.dayMs <= dayMs ? [of.person] : [])))
      }
      expect({ atMs, daily, weekly, monthly, fresh }).toEqual({
        ...{ atMs, daily: upTo(1).size, weekly: upTo(7).size, monthly: upTo(30).size },
        fresh: [...upTo(1)].filter((person) => firstDays.get(person) === dayMs).length,
      })
    }
    const back = new Map<string, Set<string>>()
    for (const { person, dayMs } of known) {
      const cohortMs = calendar.startOf('week', firstDays.get(person) ?? 0)
      const week = Math.round((calendar.startOf('week', dayMs) - cohortMs) / (7 * DAY_MS))
      const key = `${String(cohortMs)} ${String(week)}`
      back.set(key, (back.get(key) ?? new Set()).add(person))
    }
    const retention = await figure('retention', { ...filter, fromMs: NOW - 60 * DAY_MS })
    const told = retention.rows.map(({ cohortMs, week, people: came }) => [`${cohortMs} ${week}`, came])
    expect(told.sort()).toEqual([...back].map(([key, came]) => [key, came.size]).sort())
  }

  test('whatever moment it is killed at, and however often it runs, the roll-ups are the same', async () => {
    await record(calls.slice(0, 120), { lore: [{ entry: 'The lamp', tokens: 1, isDropped: false }] })
    await rollUpOf().run()
    const clean = await contents()
    await rollUpOf().run()
    expect(await contents()).toEqual(clean)
    for (const table of [store.t.rollUps, store.t.rollUpMarks, store.t.peopleRollUps, store.t.personSets])
      await store.db.delete(table)
    let kills = 0
    for (let left = 1; ; left += 1) {
      let writes = 0
      const atomically: Store['atomically'] = async (make) => {
        writes += 1
        if (writes > left) throw new Error('killed')
        await store.atomically(make)
      }
      const isDone = await rollUpOf({ store: { ...store, atomically } })
        .run()
        .then(
          (done) => done,
          () => false,
        )
      nowMs += 61_000
      if (isDone) break
      kills += 1
    }
    expect(kills).toBeGreaterThan(5)
    expect(await contents()).toEqual(clean)
  })

  async function contents() {
    const { rollUps, itemRollUps, peopleRollUps, cohortRollUps, rollUpQueue } = store.t
    const read = async (table: SQLiteTable) =>
      sha256Hex((await store.db.select().from(table)).map(inOrder).sort().join('\n'))
    return {
      rollUps: await read(rollUps),
      items: await read(itemRollUps),
      people: await read(peopleRollUps),
      cohorts: await read(cohortRollUps),
      queue: await store.db.select().from(rollUpQueue),
    }
  }
  /** PostgreSQL keeps the keys of a JSON value in an order of its own. */
  const inOrder = (value: unknown): string =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? `{${Object.entries(value)
          .map(([key, of]) => `${key}:${inOrder(of)}`)
          .sort()
          .join()}}`
      : JSON.stringify(value)

  test('only one of two processes rolls up at a time', async () => {
    await record(calls.slice(0, 50))
    const [one, two] = [rollUpOf(), rollUpOf()]
    await store.db.insert(store.t.rollUpMarks).values({ name: 'lease', atMs: nowMs + 60_000 })
    expect(await one.run()).toBe(false)
    nowMs += 60_001
    expect(await two.run()).toBe(true)
    expect((await figure('overview')).base.n).toBe(45)
  })

  test('old records go with everything that has a pseudonym, and the figures stay', async () => {
    await record(calls)
    const { ratings } = store.t
    const rating = { message: 'somebody', value: 1, atMs: NOW - DAY_MS, source: null }
    await store.db.insert(ratings).values([
      { ...rating, id: 'first release', recordedAtMs: null },
      { ...rating, id: 'now', recordedAtMs: NOW - DAY_MS },
    ])
    await rollUpOf().run()
    const before = await figure('overview', { fromMs: NOW - 58 * DAY_MS })
    const people = await figure('people', { fromMs: NOW - 58 * DAY_MS })
    nowMs = NOW + 80 * DAY_MS
    const forgetful = rollUpOf()
    while (await forgetful.forget());
    await forgetful.run()
    const left = await store.db.select().from(store.t.callRecords)
    expect(Math.min(...left.map(({ startedAtMs }) => startedAtMs))).toBeGreaterThanOrEqual(
      nowMs - 91 * DAY_MS,
    )
    expect(left.length).toBeLessThan(100)
    for (const { dayMs } of await store.db.select().from(store.t.personSets))
      expect(dayMs).toBeGreaterThan(nowMs - 92 * DAY_MS)
    const after = await figure('overview', { fromMs: NOW - 58 * DAY_MS })
    expect(after.total).toEqual(before.total)
    expect((await figure('people', { fromMs: NOW - 58 * DAY_MS })).rows.slice(0, 58)).toEqual(
      people.rows.slice(0, 58),
    )
    expect(await store.db.select().from(ratings)).toHaveLength(2)
    nowMs = NOW + 27 * 31 * DAY_MS
    while (await forgetful.forget());
    expect(await store.db.select().from(ratings)).toEqual([])
    expect(await store.db.select().from(store.t.rollUps)).toEqual([])
    expect(await store.db.select().from(store.t.peopleRollUps)).toEqual([])
  })

  test('nothing goes where the time for which it is kept began before the calendar', async () => {
    await record(calls)
    const endless = rollUpOf({ retention: { recordDays: 36_500, months: 99_999 } })
    await endless.run()
    const before = await figure('overview', { fromMs: NOW - 58 * DAY_MS })
    while (await endless.forget());
    expect((await figure('overview', { fromMs: NOW - 58 * DAY_MS })).total).toEqual(before.total)
  })

  test('the number of somebody who was erased goes out of every set, those of others stay', async () => {
    await record(['ann', 'bob'].map((person) => ({ id: person, person, startedAtMs: NOW - DAY_MS })))
    await rollUpOf().run()
    const { people, personSets } = store.t
    const [ann] = await store.db.select().from(people).where(eq(people.person, 'ann'))
    await store.db.delete(people).where(eq(people.person, 'bob'))
    while (await rollUpOf().forget());
    const sets = await store.db.select().from(personSets)
    expect(sets.map(({ members }) => [...members])).toEqual(sets.map(() => [ann?.number]))
    expect(sets.map(({ characterId }) => characterId).sort()).toEqual(['*', 'mira'])
  })

  test('who may not see small groups sees none, by the day at least, in multiples of five', async () => {
    await record([
      ...calls,
      ...['ann', 'bob'].map((person) => ({
        id: person,
        person,
        characterId: 'rare',
        startedAtMs: NOW - DAY_MS,
      })),
    ])
    await rollUpOf().run()
    const { rows, base, total } = await figure('usage', { fromMs: NOW - DAY_MS, smallest: 5 })
    expect(rows.map(({ character }) => character)).not.toContain('rare')
    expect(base).toMatchObject({ grain: 'day', roundedTo: 5 })
    for (const row of [...rows, total]) expect(Number(row?.['calls']) % 5).toBe(0)
    const one = await figure('usage', { fromMs: NOW - 3 * DAY_MS, character: 'rare', smallest: 5 })
    expect(one).toMatchObject({ rows: [], total: null, base: { hidden: 1, n: 0 } })
    const series = await figure('overview', { fromMs: NOW - 3 * DAY_MS, character: 'rare', smallest: 5 })
    expect(series.rows.map((row) => row['calls'])).not.toContain(2)
  })
}

const drawnCall = fc.record({
  /** At the edges of weeks and of thirty days. */
  daysAgo: fc.constantFrom(0, 1, 6, 7, 29, 30),
  minutesAgo: fc.integer({ min: 1, max: 12 * 60 }),
  person: fc.constantFrom(null, 'ann', 'bob', 'cyd', 'dan'),
  groups: fc.subarray(['Club', 'School']),
  characterId: fc.constantFrom('mira', 'pia'),
  kind: fc.constantFrom('turn' as const, 'turn' as const, 'turn' as const, 'task' as const),
  isFailed: fc.boolean(),
  promptTokens: fc.integer({ min: 0, max: 100 }),
  totalMs: fc.double({ min: 0, max: 50_000, noNaN: true }),
  question: fc.integer({ min: 0, max: 20 }),
  rating: fc.constantFrom(0, 0, 1, -1),
  /** When it is recorded. */
  batch: fc.constantFrom(0, 1, 2),
})

type DrawnCall = typeof drawnCall extends fc.Arbitrary<infer Value> ? Value : never

function toCall({ daysAgo, minutesAgo, isFailed, question, ...call }: DrawnCall, at: number) {
  return {
    ...call,
    id: `call-${String(at).padStart(3, '0')}`,
    message: `message-${String(at)}`,
    userMessage: `question-${String(question)}`,
    startedAtMs: NOW - daysAgo * DAY_MS - minutesAgo * 60_000,
    status: isFailed ? ('failed' as const) : ('ok' as const),
    errorCode: isFailed ? 'upstream' : null,
  }
}

type Drawn = ReturnType<typeof toCall>

const isIn = (
  filter: { character?: string; group?: string },
  characterId: string,
  groups: readonly string[],
) =>
  (filter.character ?? characterId) === characterId &&
  (filter.group === undefined || groups.includes(filter.group))

/** As an overview tells it, call by call. */
function recount(all: readonly Drawn[], calls: readonly Drawn[]) {
  const isRegeneration = ({ id, userMessage, startedAtMs }: Drawn) =>
    all.some(
      (other) =>
        other.kind === 'turn' &&
        other.userMessage === userMessage &&
        (other.startedAtMs < startedAtMs || (other.startedAtMs === startedAtMs && other.id < id)),
    )
  const count = (is: (call: Drawn) => boolean) => calls.filter(is).length
  const [up, down] = [count(({ rating }) => rating > 0), count(({ rating }) => rating < 0)]
  return {
    calls: calls.length,
    messages: count(({ status }) => status === 'ok'),
    failed: count(({ status }) => status === 'failed'),
    chats: count((call) => !isRegeneration(call)),
    promptTokens: calls.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
    regenerateRate: calls.length === 0 ? null : count(isRegeneration) / calls.length,
    satisfaction: up + down === 0 ? null : up / (up + down),
  }
}

function firstDaysOf(calls: readonly Drawn[]): Map<string, number> {
  const days = new Map<string, number>()
  for (const { kind, person, startedAtMs } of calls) {
    if (kind !== 'turn' || person === null) continue
    const dayMs = calendar.startOf('day', startedAtMs)
    days.set(person, Math.min(days.get(person) ?? dayMs, dayMs))
  }
  return days
}
