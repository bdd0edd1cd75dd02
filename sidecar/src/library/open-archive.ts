/** An archive of many cards on the disk, opened file by file: it may be larger than the memory. */
import { promisify } from 'node:util'

import { open as openZip, type Entry, type Options, type ZipFile } from 'yauzl'

import { AppError } from '#base/errors.ts'

/** One card. */
const LARGEST_FILE_BYTES = 64 * 1024 * 1024
const MOST_FILES = 200_000

export interface CardArchive {
  /** Names with `/`, in the order of the archive; folders are left out. */
  names: readonly string[]
  has(name: string): boolean
  /** Throws AppError `not_found`, `too_large`, or `invalid` when the file is damaged. */
  read(name: string): Promise<Buffer>
  close(): void
}

const openFile = promisify<string, Options, ZipFile>(openZip)

/** The caller closes it. Throws AppError `invalid`. */
export async function openArchive(file: string): Promise<CardArchive> {
  const zip = await openFile(file, { lazyEntries: true, autoClose: false }).catch((cause: unknown) => {
    throw new AppError('invalid', 'This is no zip archive; pack the cards into one and send it again', {
      cause,
    })
  })
  const entries = await list(zip).catch((cause: unknown) => {
    zip.close()
    throw cause instanceof AppError
      ? cause
      : new AppError('invalid', 'The directory of the archive is damaged; pack the cards again', { cause })
  })
  return {
    names: [...entries.keys()],
    has: (name) => entries.has(name),
    async read(name) {
      const entry = entries.get(name)
      if (entry === undefined) throw new AppError('not_found', `The archive has no "${name}"`)
      return unpack(zip, entry)
    },
    close: () => {
      zip.close()
    },
  }
}

function list(zip: ZipFile): Promise<Map<string, Entry>> {
  return new Promise((resolve, reject) => {
    const entries = new Map<string, Entry>()
    zip.on('entry', (entry: Entry) => {
      if (!entry.fileName.endsWith('/')) entries.set(entry.fileName, entry)
      if (entries.size > MOST_FILES)
        reject(
          new AppError(
            'too_large',
            `The archive holds more than ${String(MOST_FILES)} files; send it in parts`,
          ),
        )
      else zip.readEntry()
    })
    zip.once('end', () => {
      resolve(entries)
    })
    zip.once('error', reject)
    zip.readEntry()
  })
}

async function unpack(zip: ZipFile, entry: Entry): Promise<Buffer> {
  if (entry.uncompressedSize > LARGEST_FILE_BYTES)
    throw new AppError('too_large', `"${entry.fileName}" is larger than 64 MB`)
  const stream = await promisify(zip.openReadStream.bind(zip) as OpenStream)(entry).catch(damaged(entry))
  const chunks: Buffer[] = []
  try {
    // yauzl ends with an error when a file is longer or shorter than it said.
    for await (const chunk of stream) chunks.push(chunk as Buffer)
  } catch (cause) {
    throw damagedFile(entry, cause)
  }
  return Buffer.concat(chunks)
}

type OpenStream = (
  entry: Entry,
  callback: (error: Error | null, stream: NodeJS.ReadableStream) => void,
) => void

const damagedFile = (entry: Entry, cause: unknown) =>
  new AppError('invalid', `"${entry.fileName}" is damaged in the archive, or encrypted; pack it again`, {
    cause,
  })

const damaged = (entry: Entry) => (cause: unknown) => {
  throw damagedFile(entry, cause)
}
