/** The zip archive inside of a backup. Its entries may be larger than the memory. */
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'

import { open as openZip, type Entry, type Options, type ZipFile } from 'yauzl'

import { AppError } from '#base/errors.ts'

export interface BackupArchive {
  names: readonly string[]
  stream(name: string): Promise<NodeJS.ReadableStream>
  /** For small ones. */
  read(name: string): Promise<Buffer>
  close(): void
}

const openFile = promisify<string, Options, ZipFile>(openZip)

/** The caller closes it. Throws AppError `invalid`. */
export async function openBackupArchive(file: string): Promise<BackupArchive> {
  const zip = await openFile(file, { lazyEntries: true, autoClose: false }).catch((cause: unknown) => {
    throw new AppError('invalid', 'The backup is damaged: there is no archive in it', { cause })
  })
  const entries = new Map<string, Entry>()
  await new Promise<void>((resolve, reject) => {
    zip.on('entry', (entry: Entry) => {
      entries.set(entry.fileName, entry)
      zip.readEntry()
    })
    zip.once('end', resolve)
    zip.once('error', reject)
    zip.readEntry()
  })
  const stream = (name: string): Promise<NodeJS.ReadableStream> => {
    const entry = entries.get(name)
    if (entry === undefined) throw new AppError('invalid', `The backup is damaged: "${name}" is missing`)
    return new Promise((resolve, reject) => {
      zip.openReadStream(entry, (error, opened) => {
        if (error === null) resolve(opened)
        else reject(error)
      })
    })
  }
  return {
    names: [...entries.keys()],
    stream,
    read: async (name) => buffer(await stream(name)),
    close: () => zip.close(),
  }
}
