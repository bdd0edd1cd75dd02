/** Zip archives that are written while they are read. */
import { Readable } from 'node:stream'

import { ZipFile, type ReadStreamOptions } from 'yazl'

export type ZipStream = NodeJS.ReadableStream & { destroy(error?: Error): unknown }

export interface ZipWriter {
  /** `open` is called when its turn comes: only one file is open at a time. */
  add(
    path: string,
    open: () => Promise<Uint8Array | Readable>,
    options?: Partial<Omit<ReadStreamOptions, 'size'>>,
  ): void
  /** Nothing comes after it. What goes wrong with a file breaks the stream off; the reader may stop at any time. */
  end(): ZipStream
}

export function createZip(): ZipWriter {
  const zip = new ZipFile()
  const out = zip.outputStream as ZipStream
  // yazl tells of it by an event that nobody waits for, which would end the process.
  zip.on('error', (error: Error) => out.destroy(error))
  return {
    add(path, open, options = {}) {
      zip.addReadStreamLazy(path, options, (give) => {
        open().then(
          (content) => {
            const stream = content instanceof Readable ? content : Readable.from([Buffer.from(content)])
            // Pipes do not pass errors on.
            stream.once('error', (error) => out.destroy(error))
            out.once('close', () => stream.destroy())
            give(null, stream)
          },
          (error: unknown) => {
            give(error, Readable.from([]))
          },
        )
      })
    },
    end() {
      zip.end()
      return out
    },
  }
}
