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

export interface LibraryArchive {
  stream: ZipStream
  /** Originals and portraits that versions name and the data folder does not have: they are left out. */
  missing: number
}

/**
 * Streams the archive; whoever reads it may stop at any time. Cards are packed one after the other as they are read, so
 * that memory stays flat.
 */
export async function exportArchive({ library, lorebooks }: ArchivedLibrary): Promise<LibraryArchive> {
  const { files } = library
  const zip = createZip()
  const packed = new Set<string>()
  const missing = new Set<string>()
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
      else missing.add(archivePath.original(originalHash))
      if (pictureHash === null) continue
      if (await files.hasPicture(pictureHash))
        add(archivePath.picture(pictureHash), () => files.picture(pictureHash, 512, 'webp'))
      else missing.add(archivePath.picture(pictureHash))
    }
  }
  for (const lorebook of lorebooks.list())
    addJson(archivePath.lorebook(lorebook.id), () => Promise.resolve(archiveLorebook(lorebook)))
  return { stream: zip.end(), missing: missing.size }
}
