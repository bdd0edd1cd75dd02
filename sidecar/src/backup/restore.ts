/** Puts a backup back, of which `backup.ts` says what it holds. */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

import { Decrypter } from 'age-encryption'

import { AppError } from '#base/errors.ts'
import { splitLines } from '#base/ndjson.ts'
import { countAll, loadDump, type DumpedRow, type LoadedRows } from '#store/dump.ts'

import { openBackupArchive, type BackupArchive } from './archive.ts'
import { ERASURES, mergeErasures } from './erasures-file.ts'
import { FILES, FOLDERS, Manifest, MANIFEST, type BackupKey, type House, type Summary } from './format.ts'

const ROWS_AT_ONCE = 500

export interface RestoreOptions {
  /** Replaces what is there. */
  force: boolean
  /** Throws where the settings do not fit what is to be put back; called before anything is replaced. */
  check: (kept: KeptPseudonyms) => void
}

/** What a backup says about the secret of its pseudonyms. */
export interface KeptPseudonyms {
  /** Where the sidecar made it for itself. */
  secret: string | undefined
  epochs: readonly DumpedRow[]
}

/**
 * Puts everything back; into each database in one transaction. The sidecar must not run. Whoever was erased since the backup
 * was made is put down in the file of erasures, which the caller replays. Throws AppError `conflict` when something is there.
 */
export async function restoreBackup(
  file: string,
  house: House,
  key: BackupKey,
  { force, check }: RestoreOptions,
): Promise<Summary> {
  await mkdir(house.dataDir, { recursive: true, mode: 0o700 })
  const isUsed = (await countAll(house.databaseUrl)) + (await countAll(house.analyticsDatabaseUrl)) > 0
  if (isUsed && !force)
    throw new AppError('conflict', 'The databases are not empty; --force replaces all that is in them')
  const opened = path.join(house.dataDir, `restore-${randomBytes(6).toString('hex')}.zip`)
  try {
    await decrypt(file, opened, key)
    const archive = await openBackupArchive(opened)
    try {
      const manifest = await readManifest(archive)
      const databases = new Set(Object.keys(manifest.tables).map((name) => name.split('/')[0] ?? ''))
      const home = (name: string) => (databases.has(name) ? name : 'characters')
      const isOne = house.analyticsDatabaseUrl === house.databaseUrl
      // Before anything is replaced.
      if (isOne && databases.has('analytics'))
        throw new AppError(
          'invalid',
          'The backup has two databases; set ANALYTICS_DATABASE_URL to a second one',
        )
      check(await readPseudonyms(archive))
      await load(archive, manifest, 'characters', house.databaseUrl)
      if (!isOne) await load(archive, manifest, home('analytics'), house.analyticsDatabaseUrl)
      await restoreFiles(archive, house.dataDir)
      return manifest
    } finally {
      archive.close()
    }
  } finally {
    await rm(opened, { force: true })
  }
}

async function decrypt(file: string, to: string, key: BackupKey): Promise<void> {
  const decrypter = new Decrypter()
  if (key.identity !== undefined) decrypter.addIdentity(key.identity)
  else if (key.passphrase !== undefined) decrypter.addPassphrase(key.passphrase)
  else throw new AppError('invalid', 'The backup is encrypted: give its passphrase file or its identity file')
  try {
    const sealed = Readable.toWeb(createReadStream(file)) as ReadableStream<Uint8Array>
    const plain = await decrypter.decrypt(sealed)
    await pipeline(Readable.fromWeb(plain as never), createWriteStream(to, { mode: 0o600, flags: 'wx' }))
  } catch (cause) {
    throw new AppError('invalid', `${file} cannot be opened: another key, or the file is damaged`, { cause })
  }
}

async function readManifest(archive: BackupArchive): Promise<Summary> {
  const parsed = Manifest.safeParse(JSON.parse((await archive.read(MANIFEST)).toString('utf8')))
  if (parsed.success) return parsed.data
  throw new AppError('invalid', `The backup ${parsed.error.issues[0]?.message ?? 'is damaged'}`)
}

async function readPseudonyms(archive: BackupArchive): Promise<KeptPseudonyms> {
  const read = async (name: string) =>
    archive.names.includes(name) ? (await archive.read(name)).toString('utf8').trim() : ''
  const rows = await read('characters/pseudonym_epochs.jsonl')
  return {
    secret: (await read('files/pseudonym-secret')) || undefined,
    epochs: rows === '' ? [] : rows.split('\n').map((row) => JSON.parse(row) as DumpedRow),
  }
}

async function load(archive: BackupArchive, manifest: Summary, database: string, url: string): Promise<void> {
  const tables = Object.keys(manifest.tables).filter((name) => name.startsWith(`${database}/`))
  async function* batches(): AsyncGenerator<LoadedRows> {
    for (const name of tables) yield* rowsOf(archive, name, manifest)
  }
  await loadDump(url, batches())
}

/** Throws when the rows are not those that were saved. */
async function* rowsOf(archive: BackupArchive, name: string, manifest: Summary): AsyncGenerator<LoadedRows> {
  const table = name.split('/')[1] ?? ''
  const hash = createHash('sha256')
  const lines = splitLines(Number.MAX_SAFE_INTEGER)
  let rows: LoadedRows['rows'][number][] = []
  let count = 0
  for await (const chunk of await archive.stream(`${name}.jsonl`)) {
    const bytes = chunk as Buffer
    hash.update(bytes)
    for (const line of lines.push(bytes)) rows.push(JSON.parse(line) as LoadedRows['rows'][number])
    if (rows.length < ROWS_AT_ONCE) continue
    count += rows.length
    yield { table, rows }
    rows = []
  }
  count += rows.length
  yield { table, rows }
  const saved = manifest.tables[name]
  if (saved?.rows !== count || saved.sha256 !== hash.digest('hex'))
    throw new AppError('invalid', `The table ${name} of the backup is damaged`)
}

async function restoreFiles(archive: BackupArchive, dataDir: string): Promise<void> {
  for (const name of archive.names) {
    if (!name.startsWith('files/')) continue
    const [folder = '', base] = name.slice('files/'.length).split('/')
    const isKnown = base === undefined ? FILES.includes(folder) : FOLDERS.includes(folder)
    if (!isKnown) continue
    const to = path.join(dataDir, folder, ...(base === undefined ? [] : [path.basename(base)]))
    await mkdir(path.dirname(to), { recursive: true, mode: 0o700 })
    if (folder === ERASURES) await mergeErasures(to, (await archive.read(name)).toString('utf8'))
    else {
      const unfinished = `${to}.${randomBytes(6).toString('hex')}`
      await pipeline(await archive.stream(name), createWriteStream(unfinished, { mode: 0o600, flush: true }))
      await rename(unfinished, to)
    }
  }
}
