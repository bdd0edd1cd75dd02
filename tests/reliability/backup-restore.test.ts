/** Row 12: a backup under load holds exactly one moment, comes back whole on either engine, and brings nobody back who was erased. */
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { expect } from 'vitest'

import { createLog } from '#base/log.ts'
import { createVault } from '#base/vault.ts'
import { openPrivacy } from '#privacy/privacy.ts'
import { openDump } from '#store/dump.ts'
import { openStore } from '#store/open.ts'
import type { Store } from '#store/store.ts'

import { runCli } from '../../sidecar/src/cli/run.ts'
import { findPostgres, startPostgres } from '../support/postgres.ts'
import { reliabilityTest } from '../support/reliability.ts'
import { sampleRecord } from '../support/sample-record.ts'
import { sampleCard } from '../support/samples.ts'

const SECRET = 'a pseudonym secret that is long enough for this test'
const PASSPHRASE = 'correct horse battery staple'
const ROWS = 2_000
const bin = await findPostgres()

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

async function sqlitePlace(): Promise<Place> {
  const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-backup-'))
  return {
    databaseUrl: `file:${path.join(dataDir, 'troupe.sqlite')}`,
    analyticsDatabaseUrl: `file:${path.join(dataDir, 'analytics.sqlite')}`,
    dataDir,
    pseudonymSecret: SECRET,
  }
}

const version = (characterId: string) => ({
  characterId,
  number: 1,
  card: sampleCard({ name: 'Zoë 灯台 🗼' }),
  originalHash: 'a'.repeat(64),
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

async function keepWriting(store: Store, isOver: () => boolean): Promise<number> {
  let count = 0
  while (!isOver()) {
    await store.db.insert(store.t.callRecords).values(sampleRecord({ id: `late-${String(count)}` }))
    count += 1
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  return count
}

reliabilityTest(
  12,
  'backup-restore: one moment under load, wiped and put back, on SQLite and over to PostgreSQL; who was erased since stays erased',
  async (tally) => {
    const from = await sqlitePlace()
    const outside = await mkdtemp(path.join(tmpdir(), 'troupe-backup-outside-'))
    const passphraseFile = path.join(outside, 'passphrase')
    await writeFile(passphraseFile, `${PASSPHRASE}\n`)
    const key = ['--passphrase-file', passphraseFile]
    const file = path.join(outside, 'house.age')
    const [store, analytics] = [await openStore(from.databaseUrl), await openStore(from.analyticsDatabaseUrl)]
    const privacy = await openPrivacy({
      ...{ stores: { characters: store, analytics }, vault: createVault([SECRET]), secret: SECRET },
      ...{ dataDir: from.dataDir, pseudonymDays: undefined, log: createLog('silent'), now: Date.now },
      texts: { forget: () => Promise.resolve(), texts: () => Promise.resolve([]) },
    })
    const personOf = (at: number) => privacy.pseudonyms.of('person', `person-${String(at % 50)}`)
    await fill(store, analytics, personOf)
    const before = await everything(from)

    let isOver = false
    const writing = keepWriting(analytics, () => isOver)
    const made = await troupe(from, 'backup', file, ...key)
    isOver = true
    const writtenMeanwhile = await writing
    expect([made.err, made.code]).toEqual(['', 0])
    const bytes = await readFile(file)
    for (const word of ['mira', 'call_records', personOf(0), SECRET])
      if (bytes.includes(word)) tally.counters.leaked += 1

    // After the backup somebody is erased, then everything is lost but the file of erasures that lies beside the backups.
    await privacy.erase('person-7', 'test')
    const seven = personOf(7)
    await privacy.close()
    await Promise.all([store.close(), analytics.close()])
    const erasures = await readFile(path.join(from.dataDir, 'erasures.jsonl'))
    await rm(from.dataDir, { recursive: true, force: true })

    const postgres = bin === undefined ? undefined : await startPostgres(bin)
    const sqlite = await sqlitePlace()
    const places: [string, Place][] = [['SQLite', sqlite]]
    if (postgres !== undefined) {
      const dataDir = await mkdtemp(path.join(tmpdir(), 'troupe-backup-'))
      const second = await openStore(postgres.url)
      await second.close()
      places.push(['PostgreSQL', { ...sqlite, dataDir, databaseUrl: postgres.url }])
    }
    for (const [engine, place] of places) {
      if (engine === 'PostgreSQL')
        place.analyticsDatabaseUrl = `file:${path.join(place.dataDir, 'analytics.sqlite')}`
      await writeFile(path.join(place.dataDir, 'erasures.jsonl'), erasures)
      const startedAtMs = performance.now()
      const restored = await troupe(place, 'restore', file, ...key)
      tally.figures[`seconds to restore on ${engine}`] = Number(
        ((performance.now() - startedAtMs) / 1_000).toFixed(1),
      )
      expect([engine, restored.err, restored.code]).toEqual([engine, '', 0])
      expect(restored.said['erasedAgain']).toBe(1)
      const after = await everything(place)
      for (const [table, rows] of Object.entries(before)) {
        if (table.includes('tombstones')) continue
        const kept = new Set(after[table])
        const wanted = rows.filter((row) => !row.includes(seven))
        tally.counters.lost += wanted.filter((row) => !kept.has(row)).length
        tally.counters.leaked += [...kept].filter((row) => row.includes(seven)).length
        // What was written while the backup ran is there up to one moment, without a gap.
        const late = [...kept].filter((row) => row.includes('"late-')).length
        expect(kept.size - late).toBe(wanted.length)
        for (let at = 0; at < late; at++)
          expect([...kept].some((row) => row.includes(`"late-${String(at)}"`))).toBe(true)
      }
      // The rest is the same code for every engine, and each try costs a slow derivation of the key.
      if (engine !== 'SQLite') continue
      // Not over what is there, unless somebody means it; and a wrong passphrase changes nothing.
      expect((await troupe(place, 'restore', file, ...key)).err).toMatch(/--force/)
      await writeFile(passphraseFile, 'another passphrase entirely\n')
      expect((await troupe(place, 'restore', file, ...key, '--force')).err).toMatch(/another key/)
      await writeFile(passphraseFile, `${PASSPHRASE}\n`)
      expect(await everything(place)).toEqual(after)
      const damaged = path.join(outside, 'damaged.age')
      await cp(file, damaged)
      const broken = Buffer.from(bytes)
      broken.writeUInt8(broken.readUInt8(broken.length - 1_000) ^ 1, broken.length - 1_000)
      await writeFile(damaged, broken)
      expect((await troupe(place, 'restore', damaged, ...key, '--force')).code).toBe(1)
      expect(await everything(place)).toEqual(after)
    }
    Object.assign(tally.figures, {
      rows: ROWS,
      'rows written meanwhile': writtenMeanwhile,
      'backup bytes': bytes.length,
    })
    await postgres?.stop()
    for (const [, { dataDir }] of places) await rm(dataDir, { recursive: true, force: true })
    await rm(outside, { recursive: true, force: true })
  },
  { timeoutMs: 180_000 },
)
