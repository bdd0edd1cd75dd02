/** The whole library as one zip archive, written while it is read. */
import { Readable } from 'node:stream'

import { ZipFile } from 'yazl'

import { archiveCharacter, archivePath } from './archived.ts'
import type { Files } from './files.ts'
import type { Library } from './library.ts'

type ArchivedLibrary = Pick<Library, 'list' | 'versions' | 'version'>

/**
 * Streams the archive; whoever reads it may stop at any time. Cards are packed one after the other as they are read, so
 * that memory stays flat. A file that is gone from the data folder is left out.
 */
export async function exportArchive(library: ArchivedLibrary, files: Files): Promise<NodeJS.ReadableStream> {
  const zip = new ZipFile()
  const packed = new Set<string>()
  const add = (path: string, read: () => Promise<Uint8Array>) => {
    if (packed.has(path)) return
    packed.add(path)
    zip.addReadStreamLazy(path, {}, (give) => {
      read().then(
        (bytes) => {
          give(null, Readable.from([Buffer.from(bytes)]))
        },
        (error: unknown) => {
          give(error, Readable.from([]))
        },
      )
    })
  }
  for (const character of await library.list()) {
    const versions = await library.versions(character.id)
    const record = Buffer.from(JSON.stringify(archiveCharacter(character, versions)))
    add(archivePath.character(character.id), () => Promise.resolve(record))
    for (const { number, originalHash, pictureHash } of versions) {
      add(archivePath.card(character.id, number), async () => {
        const { card } = await library.version(character.id, number)
        return Buffer.from(JSON.stringify(card))
      })
      if (await files.hasOriginal(originalHash))
        add(archivePath.original(originalHash), () => files.original(originalHash))
      if (pictureHash !== null && (await files.hasPicture(pictureHash)))
        add(archivePath.picture(pictureHash), () => files.picture(pictureHash, 512, 'webp'))
    }
  }
  zip.end()
  return zip.outputStream
}
