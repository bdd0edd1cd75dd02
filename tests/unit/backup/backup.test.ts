/** What an operator meets around a backup: files that are not there, secrets that do not fit, settings that are wrong. */
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Writable } from 'node:stream'

import { generateX25519Identity, identityToRecipient } from 'age-encryption'
import Database from 'better-sqlite3'
import { beforeEach, expect, test } from 'vitest'

import { makeBackup } from '#backup/backup.ts'
import { createVault } from '#base/vault.ts'
import { runCli } from '#cli/run.ts'
import { openPseudonyms } from '#privacy/pseudonyms.ts'
import { openStore } from '#store/open.ts'

import { readConfig } from '../../../sidecar/src/config.ts'
import { sampleCard } from '../../support/samples.ts'

const SECRET = 'the-secret-of-this-house-9f2c-0d1e-77aa'
const OTHER = 'the-secret-of-another-one-1b2c-3d4e-88bb'

let dir: string
/** A passphrase would take seconds each time, on purpose. */
let recipient: string[]
let identity: string[]
beforeEach(async () => {
  dir = await mkdtemp(path.join(tmpdir(), 'troupe-backup-'))
  const key = await generateX25519Identity()
  const identityFile = path.join(dir, 'identity')
  await writeFile(identityFile, key)
  recipient = ['--recipient', await identityToRecipient(key)]
  identity = ['--identity-file', identityFile]
  return () => rm(dir, { recursive: true, force: true })
})

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')

interface Settings {
  folder: string
  secret?: string
}

const houseOf = ({ folder, secret }: Settings) => {
  const dataDir = path.join(dir, folder)
  return {
    dataDir,
    databaseUrl: `file:${path.join(dataDir, 'troupe.sqlite')}`,
    analyticsDatabaseUrl: `file:${path.join(dataDir, 'analytics.sqlite')}`,
    pseudonymSecret: secret,
  }
}

async function troupe(house: () => ReturnType<typeof houseOf>, ...args: string[]) {
  let said = ''
  const screen = new Writable({
    write(chunk: Buffer, _, done) {
      said += chunk.toString()
      done()
    },
  })
  const all = [...args, ...(args[0] === 'backup' ? recipient : identity)]
  return { code: await runCli(all, { env: {}, out: screen, err: screen, house }), said: () => said }
}

/** One character and one document, each with its file, and somebody who was erased. */
async function fill(settings: Settings): Promise<{ card: string; document: string }> {
  const { dataDir, databaseUrl, analyticsDatabaseUrl } = houseOf(settings)
  const [card, document] = [hashOf('a card'), hashOf('a document')]
  for (const [folder, name, text] of [
    ['originals', card, 'a card'],
    ['knowledge', document, 'a document'],
  ] as const) {
    await mkdir(path.join(dataDir, folder), { recursive: true })
    await writeFile(path.join(dataDir, folder, name), text)
  }
  await (await openStore(analyticsDatabaseUrl)).close()
  const store = await openStore(databaseUrl)
  const { characters, characterVersions, knowledgeBases, knowledgeDocuments } = store.t
  const times = { createdAtMs: 1, updatedAtMs: 1 }
  await store.db.insert(characters).values({ id: 'mira', name: 'Mira', latestVersion: 1, ...times })
  await store.db.insert(characterVersions).values({
    ...{ characterId: 'mira', number: 1, card: sampleCard({ name: 'Mira' }), originalHash: card },
    ...{ originalName: 'mira.json', pictureHash: null, notes: [], createdAtMs: 1 },
  })
  await store.db
    .insert(knowledgeBases)
    .values({ id: 'base', name: 'base', settings: {}, generation: 1, revision: 1, ...times })
  await store.db.insert(knowledgeDocuments).values({
    ...{ id: 'd', baseId: 'base', name: 'd.txt', title: 'd', originalHash: document, sizeBytes: 10 },
    ...{ mediaType: 'text/plain', state: 'ready', pagesRead: 0, chunksEmbedded: 0, notes: [] },
    ...{ createdBy: 'test', ...times },
  })
  await openPseudonyms({
    ...{ store, vault: createVault([SECRET]), secret: SECRET, now: () => 1 },
    hasOlderRecords: () => Promise.resolve(false),
  })
  await store.close()
  return { card, document }
}

test('the files of documents come back as well as those of cards', async () => {
  const from = { folder: 'from', secret: SECRET }
  const { card, document } = await fill(from)
  const file = path.join(dir, 'house.age')
  const made = await troupe(() => houseOf(from), 'backup', file)
  expect([made.code, made.said()]).toEqual([0, expect.stringContaining('Wrote')])
  const to = houseOf({ folder: 'to', secret: SECRET })
  const restored = await troupe(() => to, 'restore', file)
  expect([restored.code, restored.said()]).toEqual([0, expect.stringContaining('Restored')])
  expect(await readFile(path.join(to.dataDir, 'originals', card), 'utf8')).toBe('a card')
  expect(await readFile(path.join(to.dataDir, 'knowledge', document), 'utf8')).toBe('a document')
})

test('a backup without files that the databases name is made, and says so', async () => {
  const from = { folder: 'from', secret: SECRET }
  const { document } = await fill(from)
  await rm(path.join(houseOf(from).dataDir, 'knowledge', document))
  const made = await troupe(() => houseOf(from), 'backup', path.join(dir, 'house.age'))
  expect(made.code).toBe(1)
  expect(made.said()).toMatch(/Wrote .*house\.age[^]*lacks, .*: 1\./)
})

test('a backup that lacks files takes the place of no older one', async () => {
  const from = { folder: 'from', secret: SECRET }
  const { document } = await fill(from)
  const folder = path.join(dir, 'backups')
  const older = 'troupe-2020-01-01T00-00-00Z.age'
  await mkdir(folder)
  await writeFile(path.join(folder, older), 'whole')
  const at = path.join(houseOf(from).dataDir, 'knowledge', document)
  await rm(at)
  const lacking = await troupe(() => houseOf(from), 'backup', folder, '--keep', '1')
  expect([lacking.code, lacking.said()]).toEqual([
    1,
    expect.stringContaining('No older backup was deleted, since this one is not whole'),
  ])
  expect(await readdir(folder)).toContain(older)
  await writeFile(at, 'a document')
  expect((await troupe(() => houseOf(from), 'backup', folder, '--keep', '1')).code).toBe(0)
  expect(await readdir(folder)).not.toContain(older)
})

test('a file that is gone when its turn comes is told as missing', async () => {
  const from = { folder: 'from', secret: SECRET }
  const { document } = await fill(from)
  const at = path.join(houseOf(from).dataDir, 'knowledge', document)
  await rm(at)
  // Listed, and not there when it is opened.
  await symlink(path.join(dir, 'nowhere'), at)
  const made = await troupe(() => houseOf(from), 'backup', path.join(dir, 'house.age'))
  expect([made.code, made.said()]).toEqual([1, expect.stringMatching(/ 1 files, [^]*lacks, .*: 1\./)])
})

test('a file that cannot be read ends the backup with its name, and nothing of it stays', async () => {
  const from = { folder: 'from', secret: SECRET }
  const { document } = await fill(from)
  const at = path.join(houseOf(from).dataDir, 'knowledge', document)
  await rm(at)
  await mkdir(at)
  const to = path.join(dir, 'backups')
  const made = await troupe(() => houseOf(from), 'backup', to)
  expect([made.code, made.said()]).toEqual([
    1,
    expect.stringContaining(`${at} cannot be read (EISDIR); there is no backup`),
  ])
  expect(await readdir(to)).toEqual([])
})

test('a table that cannot be read ends the backup with its name, and nothing of it stays', async () => {
  const from = { folder: 'from', secret: SECRET }
  await fill(from)
  const client = new Database(path.join(houseOf(from).dataDir, 'troupe.sqlite'))
  client.exec('drop table knowledge_documents')
  client.close()
  const to = path.join(dir, 'backups')
  const made = await troupe(() => houseOf(from), 'backup', to)
  expect([made.code, made.said()]).toEqual([
    1,
    expect.stringContaining('The table characters/knowledge_documents cannot be read'),
  ])
  expect(await readdir(to)).toEqual([])
})

test('a backup that cannot be written is told, and its databases are let go', async () => {
  const from = { folder: 'from', secret: SECRET }
  await fill(from)
  const file = path.join(dir, 'nowhere', 'house.age')
  await expect(makeBackup(houseOf(from), file, { recipient: recipient[1] ?? '' })).rejects.toThrow(
    /house\.age.* cannot be written \(ENOENT\); there is no backup/,
  )
})

test('a house of ./scripts/up is put back without its settings, by the secret that lies in its data folder', async () => {
  const from = { folder: 'from', secret: SECRET }
  await fill(from)
  const file = path.join(dir, 'house.age')
  await troupe(() => houseOf(from), 'backup', file)
  const to = houseOf({ folder: 'to' })
  await mkdir(to.dataDir)
  await writeFile(path.join(to.dataDir, 'secrets.json'), JSON.stringify({ pseudonymSecret: SECRET }))
  const restored = await troupe(() => to, 'restore', file)
  expect([restored.code, restored.said()]).toEqual([0, expect.stringContaining('Restored')])
})

test.each([
  ['another secret', OTHER],
  ['none', undefined],
])('a house is not put back under %s, and nothing is replaced', async (_name, secret) => {
  const from = { folder: 'from', secret: SECRET }
  await fill(from)
  const file = path.join(dir, 'house.age')
  await troupe(() => houseOf(from), 'backup', file)
  const to = houseOf({ folder: 'to', ...(secret !== undefined && { secret }) })
  const refused = await troupe(() => to, 'restore', file)
  expect([refused.code, refused.said()]).toEqual([1, expect.stringContaining('TROUPE_PSEUDONYM_SECRET')])
  const store = await openStore(to.databaseUrl)
  expect(await store.db.select().from(store.t.characters)).toEqual([])
  await store.close()
})

test('settings that are wrong are told by name', async () => {
  const told = await troupe(() => readConfig({ TROUPE_REPLICAS: '2' }), 'backup', path.join(dir, 'house.age'))
  expect([told.code, told.said()]).toEqual([1, expect.stringContaining('TROUPE_REPLICAS')])
})
