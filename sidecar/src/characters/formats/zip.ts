/**
 * A zip archive as a list of files that are safe to open, wherever in the file it begins. yauzl reads the directory; what
 * an archive may hold, and where it begins, is decided here: readers that look for the first local header are cheated by
 * a picture that contains one.
 */
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'

import { fromBuffer, type Entry, type ZipFile } from 'yauzl'

import { AppError } from '#base/errors.ts'

import { LIMITS } from '../limits.ts'
import type { Notebook } from '../notes.ts'

export interface Archive {
  /** Where the archive begins; before it there may be a picture. */
  startsAt: number
  /** Names with `/`, as they stand in the archive; safe ones only. */
  names: readonly string[]
  /** Unpacks one file. Throws AppError `too_large` when it is longer than it may be or said, `invalid` when it is damaged. */
  open(name: string, mostBytes: number): Promise<Buffer>
  /** How long a file says that it is, unpacked. */
  sizeOf(name: string): number
  /** Unpacks one file piece by piece; breaks off when it is damaged or not as long as it said. */
  stream(name: string): Promise<Readable>
}

const END_SIGNATURE = 0x06054b50
const END_BYTES = 22
const LONGEST_COMMENT = 0xffff
/** Stands where the value is in the zip64 record, which no card needs. */
const ZIP64 = 0xffffffff

export interface Place {
  startsAt: number
  /** Where the record at the end of the directory stands. */
  endRecordAt: number
}

/** Where the archive in these bytes is; undefined when there is none. */
export function findArchive(bytes: Buffer): Place | undefined {
  const first = Math.max(0, bytes.length - END_BYTES - LONGEST_COMMENT)
  for (let at = bytes.length - END_BYTES; at >= first; at--) {
    if (bytes.readUInt32LE(at) !== END_SIGNATURE) continue
    // A comment may hold the signature too; the real record is the one whose comment ends with the file.
    if (at + END_BYTES + bytes.readUInt16LE(at + 20) !== bytes.length) continue
    const startsAt = at - bytes.readUInt32LE(at + 12) - bytes.readUInt32LE(at + 16)
    return startsAt >= 0 && bytes.readUInt32LE(at + 16) !== ZIP64 ? { startsAt, endRecordAt: at } : undefined
  }
  return undefined
}

/** Throws AppError `invalid` or `too_large`. */
export async function openArchive(bytes: Buffer, place: Place, notebook: Notebook): Promise<Archive> {
  const zip = await open(withoutComment(bytes, place))
  const entries = await list(zip)
  if (entries.some((entry) => (entry.generalPurposeBitFlag & 1) !== 0))
    throw new AppError('invalid', 'The archive is encrypted; export the card without a password')
  const files = new Map<string, Entry>()
  for (const entry of entries.filter((candidate) => !isFolder(candidate))) {
    const name = nameOf(entry)
    if (!isSafe(name) || isLink(entry)) {
      notebook.note(
        'refused_file',
        'assets',
        `"${name}" in the archive was left out: its name leads out of it.`,
      )
      continue
    }
    if (files.has(name))
      throw new AppError('invalid', `The archive holds "${name}" twice; export the card again`)
    files.set(name, entry)
  }
  function find(name: string): Entry {
    const entry = files.get(name)
    if (entry === undefined) throw new AppError('invalid', `The archive has no "${name}"`)
    return entry
  }
  return {
    startsAt: place.startsAt,
    names: [...files.keys()],
    open: async (name, mostBytes) => unpack(zip, find(name), mostBytes),
    sizeOf: (name) => find(name).uncompressedSize,
    stream: async (name) => openStream(zip, find(name)),
  }
}

/** yauzl refuses a comment that looks like an end of the directory. */
function withoutComment(bytes: Buffer, { startsAt, endRecordAt }: Place): Buffer {
  const whole = bytes.subarray(startsAt, endRecordAt + END_BYTES)
  if (bytes.readUInt16LE(endRecordAt + 20) === 0) return whole
  const copy = Buffer.from(whole)
  copy.writeUInt16LE(0, copy.length - 2)
  return copy
}

function open(bytes: Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true, decodeStrings: false, validateEntrySizes: true }, (error, zip) => {
      if (error === null) resolve(zip)
      else reject(damaged(error))
    })
  })
}

function list(zip: ZipFile): Promise<Entry[]> {
  if (zip.entryCount > LIMITS.zipEntries)
    throw new AppError('too_large', `The archive holds more than ${String(LIMITS.zipEntries)} files`)
  return new Promise((resolve, reject) => {
    const entries: Entry[] = []
    zip.on('entry', (entry: Entry) => {
      entries.push(entry)
      zip.readEntry()
    })
    zip.once('end', () => {
      resolve(entries)
    })
    zip.on('error', (error: Error) => {
      reject(damaged(error))
    })
    zip.readEntry()
  })
}

async function unpack(zip: ZipFile, entry: Entry, mostBytes: number): Promise<Buffer> {
  if (entry.uncompressedSize > mostBytes) throw tooLong(entry, mostBytes)
  return buffer(await openStream(zip, entry)).catch((cause: unknown) => {
    throw damaged(cause)
  })
}

function openStream(zip: ZipFile, entry: Entry): Promise<Readable> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error === null) resolve(stream)
      else reject(damaged(error))
    })
  })
}

const UTF8_FLAG = 0x800

/** The specification has two encodings for names; those with nothing but ASCII are the same in both. */
function nameOf(entry: Entry): string {
  return new TextDecoder((entry.generalPurposeBitFlag & UTF8_FLAG) === 0 ? 'windows-1252' : 'utf-8').decode(
    entry.fileNameRaw,
  )
}

const NAME_CHARACTERS = 300

function isSafe(name: string): boolean {
  if (name.length > NAME_CHARACTERS || /^[/\\]|^[a-z]:|\\|\p{Cc}/iu.test(name)) return false
  return !name.split('/').includes('..')
}

const isFolder = (entry: Entry) => entry.fileNameRaw.at(-1) === 0x2f

const FILE_TYPE = 0o170000
const LINK = 0o120000
const isLink = (entry: Entry) => ((entry.externalFileAttributes >>> 16) & FILE_TYPE) === LINK

const damaged = (cause: unknown) =>
  new AppError('invalid', 'The archive is damaged; take the original file', { cause })

const tooLong = (entry: Entry, mostBytes: number) =>
  new AppError(
    'too_large',
    `"${nameOf(entry)}" in the archive is larger than ${String(Math.floor(mostBytes / 1024 / 1024))} MB`,
  )
