/**
 * Everything that a house would miss, as one encrypted file: the rows of both databases as of one moment, pictures,
 * originals, and the secrets without which they could not be read. A zip archive inside of the age format
 * (age-encryption.org), so that it can be opened without us: `age -d FILE > backup.zip`.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { addAbortSignal, Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'

import { Decrypter, Encrypter } from 'age-encryption'
import { ZipFile } from 'yazl'
import { z } from 'zod'

import { AppError, codeOf } from '#base/errors.ts'
import { splitLines } from '#base/ndjson.ts'
import { countAll, loadDump, openDump, type Dump, type DumpedRow, type LoadedRows } from '#store/dump.ts'

import { openBackupArchive, type BackupArchive } from './archive.ts'

/** What is to be saved, or where it goes. */
export interface House {
  databaseUrl: string
  analyticsDatabaseUrl: string
  dataDir: string
}

/** One of the two; a recipient (`age1…`) needs its identity to be opened. */
export interface BackupKey {
  passphrase?: string
  recipient?: string
  identity?: string
}

export interface Summary {
  madeAt: string
  /** By `database/table`. */
  tables: Record<string, { rows: number; sha256: string }>
  files: number
}

export interface MadeBackup extends Summary {
  /** Files that the rows name and the data folder does not have: they are not in the backup. */
  missing: number
}

const FORMAT = 1
const MANIFEST = 'manifest.json'
const ROWS_AT_ONCE = 500
const HASH_CHARACTERS = 64

/** Folders and files of the data folder that belong to us; a reader of cards may be in the middle of others. */
const FOLDERS = ['originals', 'pictures', 'knowledge']
/** Columns that name such a file by its hash. */
const NAMING = ['original_hash', 'picture_hash']

const FILES = ['pseudonym-secret', 'field-key', 'erasures.jsonl']

/** Merged, never replaced: whoever was erased after the backup stays erased. */
const ERASURES = 'erasures.jsonl'

const Manifest = z.object({
  format: z.literal(FORMAT, 'is of another version of Troupe'),
  madeAt: z.string(),
  tables: z.record(z.string(), z.object({ rows: z.number(), sha256: z.string() })),
  files: z.number(),
})

/** Consistent while others write. An unfinished file never has the name of a finished one. */
export async function makeBackup(house: House, file: string, key: BackupKey): Promise<MadeBackup> {
  const encrypter = new Encrypter()
  if (key.recipient !== undefined) addRecipient(encrypter, key.recipient)
  else if (key.passphrase !== undefined) encrypter.setPassphrase(key.passphrase)
  else throw new AppError('invalid', 'A backup holds secrets: give a passphrase file or a recipient')
  const dumps = await openDumps(house)
  const unfinished = `${file}.${randomBytes(6).toString('hex')}.part`
  try {
    const zip = new ZipFile()
    const plain = Readable.toWeb(
      Readable.from(zip.outputStream as AsyncIterable<Buffer>),
    ) as ReadableStream<Uint8Array>
    const sealed = await encrypter.encrypt(plain)
    // The first fault of either side ends both, and is the one that is told.
    const fault = new AbortController()
    const stop = (cause: unknown) => fault.abort(cause)
    zip.on('error', stop)
    const [made] = await Promise.all([
      fillArchive({ zip, signal: fault.signal }, dumps, house.dataDir).catch(stop),
      writeFileOf(sealed, unfinished, fault.signal).catch(stop),
    ])
    fault.signal.throwIfAborted()
    if (made === undefined) throw new AppError('internal', 'The backup ended without a reason')
    await rename(unfinished, file)
    return made
  } finally {
    await rm(unfinished, { force: true })
    await Promise.all(dumps.map(([, dump]) => dump.close()))
  }
}

interface Filling {
  zip: ZipFile
  signal: AbortSignal
}

async function fillArchive(
  filling: Filling,
  dumps: readonly [string, Dump][],
  dataDir: string,
): Promise<MadeBackup> {
  const summary: Summary = { madeAt: new Date().toISOString(), tables: {}, files: 0 }
  const named = new Set<string>()
  for (const [database, dump] of dumps)
    for (const table of dump.tables) {
      const name = `${database}/${table}`
      summary.tables[name] = await addTable(filling, name, noting(named, dump.rows(table)))
    }
  for (const [name, at] of await filesOf(dataDir)) {
    if (!(await addFile(filling, `files/${name}`, at))) continue
    summary.files += 1
    named.delete(path.basename(name).slice(0, HASH_CHARACTERS))
  }
  // Last, when everything before it was read.
  const manifest = Buffer.from(JSON.stringify({ format: FORMAT, ...summary }))
  await addEntry(filling, MANIFEST, Readable.from([manifest]))
  filling.zip.end()
  return { ...summary, missing: named.size }
}

/** Resolves once it is read: what comes next may not be there any more when its turn comes. */
async function addEntry({ zip, signal }: Filling, name: string, content: Readable): Promise<void> {
  const read = finished(addAbortSignal(signal, content))
  zip.addReadStream(content, name, { mtime: new Date(0) })
  await read
}

/** False where it is gone: whoever deletes a document does not wait for a backup. */
async function addFile(filling: Filling, name: string, at: string): Promise<boolean> {
  filling.signal.throwIfAborted()
  try {
    const handle = await openIfThere(at)
    if (handle === undefined) return false
    await addEntry(filling, name, handle.createReadStream())
    return true
  } catch (cause) {
    throw new AppError('unavailable', `${at} cannot be read${codeOf(cause)}; there is no backup`, { cause })
  }
}

function openIfThere(file: string): Promise<FileHandle | undefined> {
  return open(file).catch((error: unknown) => {
    if (isAbsence(error)) return undefined
    throw error
  })
}

async function writeFileOf(
  content: ReadableStream<Uint8Array>,
  file: string,
  signal: AbortSignal,
): Promise<void> {
  const to = createWriteStream(file, { mode: 0o600, flush: true })
  await pipeline(Readable.fromWeb(content as never), to, { signal }).catch((cause: unknown) => {
    throw new AppError('unavailable', `${file} cannot be written${codeOf(cause)}; there is no backup`, {
      cause,
    })
  })
}

function addRecipient(encrypter: Encrypter, recipient: string): void {
  try {
    encrypter.addRecipient(recipient)
  } catch (cause) {
    throw new AppError('invalid', 'The recipient is no public key of age (age1…); age-keygen prints it', {
      cause,
    })
  }
}

/** Both moments as close to each other as can be. One database for both is read once. */
async function openDumps(house: House): Promise<[string, Dump][]> {
  const characters = await openDump(house.databaseUrl)
  if (house.analyticsDatabaseUrl === house.databaseUrl) return [['characters', characters]]
  return [
    ['characters', characters],
    ['analytics', await openDump(house.analyticsDatabaseUrl)],
  ]
}

/** Notes the hashes of files that the rows name. */
async function* noting(named: Set<string>, rows: AsyncGenerator<DumpedRow>): AsyncGenerator<DumpedRow> {
  for await (const row of rows) {
    for (const column of NAMING) if (typeof row[column] === 'string') named.add(row[column])
    yield row
  }
}

async function addTable(
  filling: Filling,
  name: string,
  rows: AsyncGenerator,
): Promise<{ rows: number; sha256: string }> {
  const hash = createHash('sha256')
  let count = 0
  async function* lines() {
    let text = ''
    for await (const row of rows) {
      text += `${JSON.stringify(row)}\n`
      count += 1
      if (text.length < 65_536) continue
      hash.update(text)
      yield Buffer.from(text)
      text = ''
    }
    hash.update(text)
    yield Buffer.from(text)
  }
  await addEntry(filling, `${name}.jsonl`, Readable.from(lines())).catch((cause: unknown) => {
    throw new AppError(
      'unavailable',
      `The table ${name} cannot be read${codeOf(cause)}; there is no backup`,
      { cause },
    )
  })
  return { rows: count, sha256: hash.digest('hex') }
}

async function filesOf(dataDir: string): Promise<[string, string][]> {
  const found: [string, string][] = []
  for (const folder of FOLDERS)
    for (const name of await readdir(path.join(dataDir, folder)).catch(() => []))
      // Others are unfinished.
      if (/^[0-9a-f]{64}(?:-\d+\.\w+)?$/.test(name))
        found.push([`${folder}/${name}`, path.join(dataDir, folder, name)])
  for (const name of FILES) found.push([name, path.join(dataDir, name)])
  return found
}

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

/** Adds lines to a file of erasures; none that is there is lost. */
async function mergeErasures(to: string, others: string): Promise<void> {
  const here = await readFileIfThere(to)
  const lines = new Set(`${others}\n${here}`.split('\n').filter((line) => line !== ''))
  await writeFile(`${to}.merged`, `${[...lines].join('\n')}\n`, { mode: 0o600 })
  const handle = await open(`${to}.merged`, 'r')
  await handle.sync()
  await handle.close()
  await rename(`${to}.merged`, to)
}

/** Names that sort by time; the oldest beyond `keep` are deleted. */
export async function rotateBackups(folder: string, keep: number): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => /^troupe-.*\.age$/.test(name)).sort()
  const old = names.slice(0, Math.max(0, names.length - keep))
  for (const name of old) await rm(path.join(folder, name))
  return old
}

/**
 * So that a lost data folder loses no erasure: the file lies beside the backups as well. What is there already stays: it may come
 * from another data folder, or from before this one was lost.
 */
export async function copyErasures(dataDir: string, folder: string): Promise<void> {
  const lines = await readFileIfThere(path.join(dataDir, ERASURES))
  if (lines !== '') await mergeErasures(path.join(folder, ERASURES), lines)
}

/** Another fault than its absence is no reason to go on without it. */
function readFileIfThere(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: unknown) => {
    if (isAbsence(error)) return ''
    throw error
  })
}

const isAbsence = (error: unknown) => error instanceof Error && 'code' in error && error.code === 'ENOENT'
