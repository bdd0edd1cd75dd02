/** Row 12: a backup under load of either engine holds exactly one moment, comes back whole, and brings nobody back who was erased. */
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { afterAll, beforeAll, expect } from 'vitest'

import { createLog } from '#base/log.ts'
import { createVault } from '#base/vault.ts'
import { openPrivacy } from '#privacy/privacy.ts'
import { openDump } from '#store/dump.ts'
import { openMemoryKv } from '#kv/memory.ts'
import { openStore } from '#store/open.ts'
import { rowsOf, type Store } from '#store/store.ts'

import { runCli } from '../../sidecar/src/cli/run.ts'
import { findPostgres, startPostgres, tell, type PostgresServer } from '../support/postgres.ts'
import { isLong, missing, reliabilityTest, type Tally } from '../support/reliability.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { sampleCard } from '../support/samples.ts'

const SECRET = 'a pseudonym secret that is long enough for this test'
const PASSPHRASE = 'correct horse battery staple'
const ROWS = isLong ? 200_000 : 2_000
/** Between two looks at what was lost and a house that works again. */
const LONGEST_RESTORE_SECONDS = 600
const bin = await findPostgres()

type Engine = 'SQLite' | 'PostgreSQL'

interface Place {
  databaseUrl: string
  analyticsDatabaseUrl: string
  dataDir: string
  pseudonymSecret: string
}

function openSink(): { stream: Writable; text: () => string } {
  const chunks: Buffer[] = []
  const stream = new Writable({
    write(chunk: Buffer, _, done) {
      chunks.push(chunk)
      done()
    },
  })
  return { stream, text: () => Buffer.concat(chunks).toString() }
}

async function troupe(
  place: Place,
  ...argv: string[]
): Promise<{ code: number; said: Record<string, number>; err: string }> {
  const [out, err] = [openSink(), openSink()]
  const code = await runCli([...argv, '--json'], {
    env: {},
    out: out.stream,
    err: err.stream,
    house: () => place,
  })
  return {
    code,
    said: (out.text() === '' ? {} : JSON.parse(out.text())) as Record<string, number>,
    err: err.text(),
  }
}

let server: PostgresServer | undefined
beforeAll(async () => {
  if (bin !== undefined) server = await startPostgres(bin)
})
afterAll(() => server?.stop())

/** Nothing is there yet: an empty folder, or two databases without a table. */
async function emptyPlace(engine: Engine): Promise<Place> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-backup-'))
  const urlOf = async (name: string) => {
    if (engine === 'SQLite') return `file:${path.join(dataDir, `${name}.sqlite`)}`
    const database = `${name}_${randomBytes(4).toString('hex')}`
    await tell(server?.url ?? '', `create database ${database}`)
    return (server?.url ?? '').replace(/postgres$/, database)
  }
  return {
    databaseUrl: await urlOf('troupe'),
    analyticsDatabaseUrl: await urlOf('analytics'),
    dataDir,
    pseudonymSecret: SECRET,
  }
}

async function wipe({ dataDir, ...place }: Place): Promise<void> {
  await rm(dataDir, { recursive: true, force: true })
  for (const url of [place.databaseUrl, place.analyticsDatabaseUrl])
    if (url.startsWith('postgres'))
      await tell(server?.url ?? '', `drop database ${url.split('/').at(-1) ?? ''}`)
}

const ORIGINAL = 'a'.repeat(64)

const version = (characterId: string) => ({
  characterId,
  number: 1,
  card: sampleCard({ name: 'Zoë 灯台 🗼' }),
  originalHash: ORIGINAL,
  originalName: 'x.png',
  pictureHash: null,
  notes: [],
  createdAtMs: 5,
})

async function fill(store: Store, analytics: Store, person: (at: number) => string): Promise<void> {
  await store.db
    .insert(store.t.characters)
    .values({ id: 'mira', name: 'Mira', latestVersion: 1, createdAtMs: 1, updatedAtMs: 1_795_000_000_123 })
  await store.db.insert(store.t.characterVersions).values(version('mira'))
  for (let at = 0; at < ROWS; at += 100)
    await analytics.db.insert(analytics.t.callRecords).values(
      Array.from({ length: 100 }, (_, place) =>
        sampleRecord({
          id: `r${String(at + place)}`,
          person: person(at + place),
          firstTokenMs: 0.1 + at,
          streamed: at % 200 === 0,
        }),
      ),
    )
}

/** PostgreSQL keeps the values of a JSON object, not their order. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )

/** Every row of every table, in an order of its own. */
async function everything(place: Place): Promise<Record<string, string[]>> {
  const tables: Record<string, string[]> = {}
  for (const url of [place.databaseUrl, place.analyticsDatabaseUrl]) {
    const dump = await openDump(url)
    for (const table of dump.tables) {
      const rows: string[] = []
      for await (const row of dump.rows(table)) rows.push(canonical(row))
      tables[`${url === place.databaseUrl ? 'a' : 'b'} ${table}`] = rows.sort()
    }
    await dump.close()
  }
  return tables
}

/** Calls, each with an entry of a lorebook in another table. */
async function keepWriting({ t, append }: Store, isOver: () => boolean): Promise<number> {
  let count = 0
  while (!isOver()) {
    const id = `late-${String(count)}`
    const hit = { recordId: id, position: 0, startedAtMs: 1, characterId: 'mira', entry: 'Lamp', tokens: 4 }
    await append([
      rowsOf(t.callRecords, [{ recordedAtMs: 1, ...sampleRecord({ id }) }]),
      rowsOf(t.loreHits, [{ ...hit, isDropped: false }]),
    ])
    count += 1
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return count
}

interface Made {
  /** The backup, outside of the house. */
  file: string
  key: string[]
  passphraseFile: string
  /** Every row before it was made. */
  before: Record<string, string[]>
  /** Pseudonym of somebody who was erased after it was made. */
  erased: string
  erasures: Buffer
}

/** A house that is used while it is saved, and then lost but for what lies outside of it. */
async function saveAndLose(engine: Engine, outside: string, { counters, figures }: Tally): Promise<Made> {
  const from = await emptyPlace(engine)
  const passphraseFile = path.join(outside, 'passphrase')
  await writeFile(passphraseFile, `${PASSPHRASE}\n`)
  const key = ['--passphrase-file', passphraseFile]
  const file = path.join(outside, 'house.age')
  const [store, analytics] = [await openStore(from.databaseUrl), await openStore(from.analyticsDatabaseUrl)]
  const privacy = await openPrivacy({
    ...{ stores: { characters: store, analytics }, vault: createVault([SECRET]), secret: SECRET },
    ...{ dataDir: from.dataDir, pseudonymDays: undefined, log: createLog('silent'), now: Date.now },
    kv: openMemoryKv({ now: Date.now }),
    texts: { forget: () => Promise.resolve(), texts: () => Promise.resolve([]) },
  })
  const personOf = (at: number) => privacy.pseudonyms.of('person', `person-${String(at % 50)}`)
  await fill(store, analytics, personOf)
  await mkdir(path.join(from.dataDir, 'originals'))
  await writeFile(path.join(from.dataDir, 'originals', ORIGINAL), 'mira as she was uploaded')
  const before = await everything(from)

  let isOver = false
  const writing = keepWriting(analytics, () => isOver)
  const made = await troupe(from, 'backup', file, ...key)
  isOver = true
  const writtenMeanwhile = await writing
  expect([made.err, made.code]).toEqual(['', 0])
  const bytes = await readFile(file)
  for (const word of ['mira', 'call_records', personOf(0), SECRET])
    if (bytes.includes(word)) counters.leaked += 1

  await privacy.erase('person-7', 'test')
  const erased = personOf(7)
  await privacy.close()
  await Promise.all([store.close(), analytics.close()])
  const erasures = await readFile(path.join(from.dataDir, 'erasures.jsonl'))
  await wipe(from)
  Object.assign(figures, {
    rows: ROWS,
    'rows written meanwhile': writtenMeanwhile,
    'backup bytes': bytes.length,
    'seconds to make it': made.said['seconds'],
  })
  return { file, key, passphraseFile, before, erased, erasures }
}

async function putBack(engine: Engine, made: Made, { counters, figures }: Tally): Promise<Place> {
  const place = await emptyPlace(engine)
  await writeFile(path.join(place.dataDir, 'erasures.jsonl'), made.erasures)
  const startedAtMs = performance.now()
  const restored = await troupe(place, 'restore', made.file, ...made.key)
  const seconds = (performance.now() - startedAtMs) / 1_000
  figures[`seconds to restore on ${engine}`] = Number(seconds.toFixed(1))
  expect(seconds).toBeLessThan(LONGEST_RESTORE_SECONDS)
  expect([restored.err, restored.code]).toEqual(['', 0])
  expect(restored.said['erasedAgain']).toBe(1)
  const after = await everything(place)
  const lateIn = (rows: Iterable<string> = []) =>
    new Set([...rows].flatMap((row) => /"late-(\d+)"/.exec(row)?.[1] ?? []))
  for (const [table, rows] of Object.entries(made.before)) {
    if (table.includes('tombstones')) continue
    const kept = new Set(after[table])
    const wanted = rows.filter((row) => !row.includes(made.erased))
    counters.lost += wanted.filter((row) => !kept.has(row)).length
    counters.leaked += [...kept].filter((row) => row.includes(made.erased)).length
    // What was written while the backup ran is there up to one moment, without a gap.
    const late = lateIn(kept)
    expect(kept.size - late.size).toBe(wanted.length)
    for (let at = 0; at < late.size; at++) expect(late.has(String(at))).toBe(true)
  }
  expect(lateIn(after['b lore_hits'])).toEqual(lateIn(after['b call_records']))
  const original = await readFile(path.join(place.dataDir, 'originals', ORIGINAL), 'utf8')
  if (original !== 'mira as she was uploaded') counters.lost += 1
  return place
}

/** Not over what is there, unless somebody means it; and a wrong passphrase or a damaged file changes nothing. */
async function checkRefusals(place: Place, { file, key, passphraseFile }: Made): Promise<void> {
  const there = await everything(place)
  expect((await troupe(place, 'restore', file, ...key)).err).toMatch(/--force/)
  await writeFile(passphraseFile, 'another passphrase entirely\n')
  expect((await troupe(place, 'restore', file, ...key, '--force')).err).toMatch(/another key/)
  await writeFile(passphraseFile, `${PASSPHRASE}\n`)
  expect(await everything(place)).toEqual(there)
  const damaged = `${file}-damaged.age`
  const broken = await readFile(file)
  broken.writeUInt8(broken.readUInt8(broken.length - 1_000) ^ 1, broken.length - 1_000)
  await writeFile(damaged, broken)
  expect((await troupe(place, 'restore', damaged, ...key, '--force')).code).toBe(1)
  expect(await everything(place)).toEqual(there)
}

const title = 'one moment under load, wiped and put back; who was erased since stays erased'
const options = { timeoutMs: isLong ? 1_800_000 : 180_000 }

reliabilityTest(
  12,
  `backup-restore (of SQLite): ${title}`,
  async (tally) => {
    const outside = await mkdtemp(path.join(tmpdir(), 'troupe-backup-outside-'))
    const made = await saveAndLose('SQLite', outside, tally)
    const place = await putBack('SQLite', made, tally)
    await checkRefusals(place, made)
    await wipe(place)
    // A move to the other engine.
    if (server !== undefined) await wipe(await putBack('PostgreSQL', made, tally))
    await rm(outside, { recursive: true, force: true })
  },
  options,
)

reliabilityTest(
  12,
  `backup-restore (of PostgreSQL): ${title}`,
  async (tally) => {
    const outside = await mkdtemp(path.join(tmpdir(), 'troupe-backup-outside-'))
    const made = await saveAndLose('PostgreSQL', outside, tally)
    await wipe(await putBack('PostgreSQL', made, tally))
    if (isLong) await wipe(await putBack('SQLite', made, tally))
    await rm(outside, { recursive: true, force: true })
  },
  { ...options, skip: missing({ PostgreSQL: bin !== undefined }) },
)
