/** A document that is a zip archive, opened within bounds: yauzl holds every file to the size that the directory says. */
import { fromBuffer, type Entry, type ZipFile } from 'yauzl'

import { AppError } from '#base/errors.ts'

import { DOCUMENT_LIMITS } from '../limits.ts'

export interface Package {
  has(name: string): boolean
  names: readonly string[]
  /** Throws AppError `invalid` when the file is missing or damaged. */
  read(name: string): Promise<Buffer>
}

/** Throws AppError `invalid`, or `too_large` before anything is unpacked. */
export async function openPackage(bytes: Buffer): Promise<Package> {
  const zip = await open(bytes)
  const entries = new Map((await list(zip)).map((entry) => [entry.fileName, entry]))
  refuseBomb([...entries.values()], bytes.length)
  return {
    names: [...entries.keys()],
    has: (name) => entries.has(name),
    read(name) {
      const entry = entries.get(name)
      return entry === undefined ? Promise.reject(damaged()) : unpack(zip, entry)
    },
  }
}

function refuseBomb(entries: readonly Entry[], packedBytes: number): void {
  if (entries.some((entry) => entry.isEncrypted()))
    throw new AppError('invalid', 'The document is protected by a password; save it without one')
  const { unpackedBytes, unpackedRatio, unpackedFreeBytes } = DOCUMENT_LIMITS
  const total = entries.reduce((sum, entry) => sum + entry.uncompressedSize, 0)
  const isTooTight = total > unpackedFreeBytes && total > packedBytes * unpackedRatio
  if (total > unpackedBytes || isTooTight)
    throw new AppError(
      'too_large',
      `The document would unpack to ${Math.round(total / 1e6)} MB, which no ordinary one does; save it anew, or in parts`,
    )
}

function open(bytes: Buffer): Promise<ZipFile> {
  return new Promise((resolve, reject) => {
    fromBuffer(bytes, { lazyEntries: true, validateEntrySizes: true }, (error, zip) => {
      if (error === null) resolve(zip)
      else reject(damaged(error))
    })
  })
}

function list(zip: ZipFile): Promise<Entry[]> {
  if (zip.entryCount > DOCUMENT_LIMITS.zipEntries)
    return Promise.reject(
      new AppError('too_large', `The document holds more than ${DOCUMENT_LIMITS.zipEntries} files`),
    )
  return new Promise((resolve, reject) => {
    const entries: Entry[] = []
    zip.on('entry', (entry: Entry) => {
      entries.push(entry)
      zip.readEntry()
    })
    zip.once('end', () => {
      resolve(entries)
    })
    zip.once('error', (error: Error) => {
      reject(damaged(error))
    })
    zip.readEntry()
  })
}

function unpack(zip: ZipFile, entry: Entry): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    zip.openReadStream(entry, (error, stream) => {
      if (error !== null) {
        reject(damaged(error))
        return
      }
      const pieces: Buffer[] = []
      stream.on('data', (piece: Buffer) => pieces.push(piece))
      stream.once('error', (cause: Error) => {
        reject(damaged(cause))
      })
      stream.once('end', () => {
        resolve(Buffer.concat(pieces))
      })
    })
  })
}

const damaged = (cause?: unknown) =>
  new AppError('invalid', 'The document is damaged; take the original file', { cause })
