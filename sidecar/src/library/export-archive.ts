/** The whole library as one zip archive, written while it is read. */
import { createZip, type ZipStream } from '#base/zip.ts'

import { archiveCharacter, archiveLorebook, ARCHIVE_MARK, archivePath } from './archived.ts'
import type { Files } from './files.ts'
import type { Library } from './library.ts'
import type { Lorebooks } from './lorebooks.ts'

export interface ArchivedLibrary {
  library: Pick<Library, 'list' | 'versions' | 'version'> & { files: Files }
  lorebooks: Pick<Lorebooks, 'list'>
}

/**
 * Streams the archive; whoever reads it may stop at any time. Cards are packed one after the other as they are read, so
 * that memory stays flat. A file that is gone from the data folder is left out.
 */
export async function exportArchive({ library, lorebooks }: ArchivedLibrary): Promise<ZipStream> {
  const { files } = library
  const zip = createZip()
  const packed = new Set<string>()
  const add = (path: string, read: () => Promise<Uint8Array>) => {
    if (packed.has(path)) return
    packed.add(path)
    zip.add(path, read)
  }
  const addJson = (path: string, read: () => Promise<unknown>) => {
    add(path, async () => Buffer.from(JSON.stringify(await read())))
  }
  addJson(ARCHIVE_MARK.name, () => Promise.resolve(ARCHIVE_MARK.content))
  for (const character of await library.list()) {
    const versions = await library.versions(character.id)
    const record = archiveCharacter(character, versions)
    addJson(archivePath.character(character.id), () => Promise.resolve(record))
    for (const { number, originalHash, pictureHash } of versions) {
      addJson(
        archivePath.card(character.id, number),
        async () => (await library.version(character.id, number)).card,
      )
      if (await files.hasOriginal(originalHash))
        add(archivePath.original(originalHash), () => files.original(originalHash))
      if (pictureHash !== null && (await files.hasPicture(pictureHash)))
        add(archivePath.picture(pictureHash), () => files.picture(pictureHash, 512, 'webp'))
    }
  }
  for (const lorebook of lorebooks.list())
    addJson(archivePath.lorebook(lorebook.id), () => Promise.resolve(archiveLorebook(lorebook)))
  return zip.end()
}
