import { afterEach, beforeEach, describe, expect, test } from 'vitest'

import { createLog, type Log } from '#base/log.ts'
import { AppError } from '#base/errors.ts'
import { openOpenWebUi, type ModelRow, type OpenWebUi } from '#openwebui/client.ts'
import type { SyncCharacter } from '#openwebui/rows.ts'
import { createSync, type Sync } from '#openwebui/sync.ts'

import { openFakeOpenWebUi, type FakeOpenWebUi } from '../../support/fake-open-webui.ts'
import { createHandClock, settled, type HandClock } from '../../support/hand-clock.ts'

const mira: SyncCharacter = {
  id: 'mira',
  name: 'Mira',
  tagline: 'Keeps a lighthouse.',
  tags: [],
  greetings: [],
  groups: null,
  portrait: Buffer.from('picture'),
  takesPictures: false,
}

function openLog(): { log: Log; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const write = (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>)
  return { log: createLog('info', { write }), lines }
}

describe('a run', () => {
  let openWebUi: FakeOpenWebUi
  let client: OpenWebUi
  let cast: SyncCharacter[]
  let sync: Sync

  beforeEach(async () => {
    openWebUi = await openFakeOpenWebUi()
    client = openOpenWebUi({ url: openWebUi.url, apiKey: openWebUi.adminKey })
    cast = [mira]
    sync = openSync()
  })
  afterEach(async () => {
    await sync.close()
    await client.close()
    await openWebUi.close()
  })

  const openSync = (over: Partial<OpenWebUi> = {}) =>
    createSync({
      client: { ...client, ...over },
      characters: () => Promise.resolve(cast),
      taskModelId: 'troupe-task',
      log: openLog().log,
    })
  const run = async (dryRun = false) =>
    (await sync.run({ dryRun })).changes.map(({ action, id }) => `${action} ${id}`)
  const IMPORT = 'POST /api/v1/models/import'
  const REFRESH = 'GET /api/models'

  test('that is dry sends nothing', async () => {
    expect(await run(true)).toEqual(['create mira', 'create troupe-task'])
    expect(openWebUi.calls).toEqual(['GET /api/v1/models/base'])
  })

  test('sends each new row once, needs no other call for its access, and refreshes the list once at the end', async () => {
    await run()
    expect(openWebUi.changes()).toEqual([IMPORT, IMPORT])
    expect(openWebUi.calls.filter((call) => call === REFRESH)).toHaveLength(1)
    expect(openWebUi.calls.at(-1)).toBe(REFRESH)
    expect([...openWebUi.rows.values()].map(({ access_grants: grants }) => grants[0]?.principal_id)).toEqual([
      '*',
      '*',
    ])
  })

  test('with nothing to do only looks', async () => {
    await run()
    openWebUi.calls.length = 0
    expect(await run()).toEqual([])
    expect(openWebUi.calls).toEqual(['GET /api/v1/models/base'])
  })

  test('sends only the row that changed', async () => {
    await run()
    openWebUi.calls.length = 0
    cast = [{ ...mira, name: 'Mirabel' }]
    expect(await run()).toEqual(['update mira'])
    expect(openWebUi.changes()).toEqual([IMPORT])
  })

  test('gives access by its own call when an Open WebUI ignores it in a new row', async () => {
    sync = openSync({
      importModels: (rows) => client.importModels(rows.map(({ access_grants: _grants, ...row }) => row)),
    })
    await run()
    expect(openWebUi.rows.get('mira')?.access_grants).toMatchObject([
      { principal_id: '*', permission: 'read' },
    ])
  })

  test('reports a picture that Open WebUI threw away', async () => {
    sync = openSync({
      importModels: (rows) =>
        client.importModels(
          rows.map((row) => ({ ...row, meta: { ...row.meta, profile_image_url: 'data:image/svg+xml,' } })),
        ),
    })
    expect(await run()).toEqual(['create mira', 'incomplete mira', 'create troupe-task'])
    expect(await run()).toEqual(['drift mira'])
  })

  test('reports a row that Open WebUI skipped without a word', async () => {
    cast = [{ ...mira, id: 'two words' }, mira]
    expect(await run()).toEqual(['failed two words', 'create mira', 'create troupe-task'])
  })

  test('goes on behind a row that is refused', async () => {
    sync = openSync({
      importModels: (rows) =>
        rows[0]?.id === 'mira'
          ? Promise.reject(
              new AppError('upstream', 'Open WebUI refused it (400): no', { facts: { status: 400 } }),
            )
          : client.importModels(rows),
    })
    const { changes } = await sync.run({ dryRun: false })
    expect(changes.map(({ action, id }) => `${action} ${id}`)).toEqual(['failed mira', 'create troupe-task'])
    expect(changes[0]?.reason).toContain('no')
  })

  test('ends at a key that is refused in the middle', async () => {
    const refused = new AppError('upstream', 'no key', { facts: { status: 401 } })
    sync = openSync({ importModels: () => Promise.reject(refused) })
    await expect(sync.run({ dryRun: false })).rejects.toBe(refused)
  })

  test('ends at a refused key', async () => {
    openWebUi.setRole(openWebUi.adminKey, 'user')
    await expect(sync.run({ dryRun: false })).rejects.toMatchObject({
      code: 'upstream',
      facts: { status: 401 },
    })
  })

  test('waits for the one before, so that no row is made twice', async () => {
    const [first, second] = await Promise.all([run(), run()])
    expect([first.length, second.length]).toEqual([2, 0])
    expect(openWebUi.changes()).toHaveLength(2)
  })

  test('is not held up by the failure of the one before', async () => {
    openWebUi.answerEverythingWith({ status: 503, body: '' })
    const failed = run()
    await expect(failed).rejects.toMatchObject({ code: 'unavailable' })
    openWebUi.answerEverythingWith(undefined)
    expect(await run()).toHaveLength(2)
  })
})

describe('a schedule', () => {
  let clock: HandClock
  let runs: number
  let answer: () => Promise<ModelRow[]>
  let lines: Record<string, unknown>[]
  let sync: Sync

  beforeEach(() => {
    clock = createHandClock()
    runs = 0
    answer = () => Promise.resolve([])
    const opened = openLog()
    lines = opened.lines
    const nothing = () => Promise.resolve()
    sync = createSync({
      client: {
        listBaseModels: () => {
          runs += 1
          return answer()
        },
        listGroups: () => Promise.resolve([]),
        getModel: (id) => Promise.resolve({ id, name: id, params: {}, meta: {}, access_grants: [] }),
        importModels: nothing,
        setAccess: nothing,
        deleteModel: nothing,
        refreshModels: nothing,
      },
      characters: () => Promise.resolve([]),
      taskModelId: 'troupe-task',
      log: opened.log,
      after: clock.after,
    })
  })

  const fail = (code: 'unavailable' | 'upstream_timeout' | 'upstream') => {
    answer = () => Promise.reject(new AppError(code, 'A message with a name in it'))
  }

  test('turns many changes into one run, 300 ms after the last', async () => {
    for (let change = 0; change < 5; change += 1) {
      sync.schedule()
      await clock.advance(100)
    }
    expect(runs).toBe(0)
    await clock.advance(200)
    expect(runs).toBe(1)
    expect(clock.pending()).toEqual([])
  })

  test('tries again while Open WebUI does not answer, after 1 s, 2 s … and at most a minute', async () => {
    fail('unavailable')
    sync.schedule()
    await clock.advance(300)
    const waits: (number | undefined)[] = []
    for (let attempt = 0; attempt < 9; attempt += 1) {
      waits.push(clock.pending()[0])
      await clock.advance(clock.pending()[0] ?? 0)
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000])
    answer = () => Promise.resolve([])
    await clock.advance(60_000)
    expect(clock.pending()).toEqual([])
    expect(lines.at(-1)).toMatchObject({ character: 'troupe-task' })
  })

  test('tries again after a timeout as well, but not after a refusal', async () => {
    fail('upstream_timeout')
    sync.schedule()
    await clock.advance(300)
    expect(clock.pending()).toEqual([1_000])
    fail('upstream')
    await clock.advance(1_000)
    expect(clock.pending()).toEqual([])
    expect(lines.at(-1)).toMatchObject({ level: 'error', code: 'upstream' })
  })

  test('a new change does not wait for the retry of an old one', async () => {
    fail('unavailable')
    sync.schedule()
    await clock.advance(300)
    await clock.advance(1_000)
    expect(clock.pending()).toEqual([2_000])
    sync.schedule()
    expect(clock.pending()).toEqual([300])
  })

  test('logs ids and codes, no names and no messages', async () => {
    fail('unavailable')
    sync.schedule()
    await clock.advance(300)
    expect(lines).toMatchObject([{ level: 'warn', code: 'unavailable', retryMs: 1_000 }])
    expect(JSON.stringify(lines)).not.toContain('a name')
  })

  test.each(['Redis', 'PostgreSQL', 'Open WebUI'])('names %s where that does not answer', async (server) => {
    answer = () => Promise.reject(new AppError('unavailable', 'away', { facts: { server } }))
    sync.schedule()
    await clock.advance(300)
    expect(lines).toMatchObject([
      { server, msg: `${server} does not answer; the cast in Open WebUI is brought up to date later` },
    ])
  })

  test('warns of what somebody has to look at', async () => {
    answer = () =>
      Promise.resolve([{ id: 'troupe-task', name: 'x', params: {}, meta: {}, access_grants: [] }])
    sync.schedule()
    await clock.advance(300)
    expect(lines).toMatchObject([{ level: 'warn', character: 'troupe-task', action: 'conflict' }])
  })

  test('that is closed does nothing any more', async () => {
    sync.schedule()
    await sync.close()
    sync.schedule()
    await clock.advance(10_000)
    expect([runs, clock.pending()]).toEqual([0, []])
  })

  test('that is closed during a run waits for its end and does not try again', async () => {
    let end = (_error: Error): void => undefined
    answer = () => new Promise((_resolve, reject) => (end = reject))
    sync.schedule()
    await clock.advance(300)
    let isClosed = false
    const closed = sync.close().then(() => (isClosed = true))
    await settled()
    expect(isClosed).toBe(false)
    end(new AppError('unavailable', 'gone'))
    await closed
    await settled()
    expect(clock.pending()).toEqual([])
  })
})
