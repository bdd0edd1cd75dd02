/**
 * Everything that a house would miss, as one encrypted file: the rows of both databases as of one moment, pictures,
 * originals, and the secrets without which they could not be read. A zip archive inside of the age format
 * (age-encryption.org), so that it can be opened without us: `age -d FILE > backup.zip`.
 */
import { createHash, randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { addAbortSignal, Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'

import { Encrypter } from 'age-encryption'
import { ZipFile } from 'yazl'

import { AppError, codeOf } from '#base/errors.ts'
import { openDump, type Dump, type DumpedRow } from '#store/dump.ts'

import {
  FILES,
  FOLDERS,
  FORMAT,
  isAbsence,
  MANIFEST,
  type BackupKey,
  type House,
  type Summary,
} from './format.ts'

export interface MadeBackup extends Summary {
  /** Files that the rows name and the data folder does not have: they are not in the backup. */
  missing: number
}

const HASH_CHARACTERS = 64

/** Columns that name such a file by its hash. */
const NAMING = ['original_hash', 'picture_hash']

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

/** Names that sort by time; the oldest beyond `keep` are deleted. */
export async function rotateBackups(folder: string, keep: number): Promise<string[]> {
  const names = (await readdir(folder)).filter((name) => /^troupe-.*\.age$/.test(name)).sort()
  const old = names.slice(0, Math.max(0, names.length - keep))
  for (const name of old) await rm(path.join(folder, name))
  return old
}
