/** What an archive holds, one by one: cards, folders of a card and its picture, or what a library was packed into. */
import path from 'node:path'

import { FOLDER_CARD, FOLDER_PICTURE, packFolder } from '#characters/folder.ts'

import { ARCHIVE_MARK } from './archived.ts'
import type { CardReader } from './card-reader.ts'
import type { UploadedFile } from './library.ts'
import type { CardArchive } from './open-archive.ts'

export interface Unit {
  /** `character`, `lorebook`: one of a library archive. `folder`: card.json with avatar.png beside it. */
  kind: 'character' | 'lorebook' | 'folder' | 'card'
  name: string
}

/** What packing programs leave behind. */
const LITTER = /(^|\/)(\.|__MACOSX\/|Thumbs\.db$|desktop\.ini$)/i

/** Always the same for one archive: a job that goes on counts by it. */
export function unitsOf(names: readonly string[]): Unit[] {
  const all = new Set(names)
  const characters = names.filter((name) => /^characters\/[^/]+\.json$/.test(name))
  // Archives of the first release bear no mark.
  const isOldLibrary = characters.length > 0 && names.some((name) => name.startsWith('cards/'))
  if (all.has(ARCHIVE_MARK.name) || isOldLibrary) {
    const lorebooks = names.filter((name) => /^lorebooks\/[^/]+\.json$/.test(name))
    // Behind the characters: they name them.
    return [
      ...characters.map((name): Unit => ({ kind: 'character', name })),
      ...lorebooks.map((name): Unit => ({ kind: 'lorebook', name })),
    ]
  }
  return names
    .filter((name) => !LITTER.test(name))
    .filter((name) => path.posix.basename(name) !== FOLDER_PICTURE || !all.has(beside(name, FOLDER_CARD)))
    .map((name) => ({ kind: path.posix.basename(name) === FOLDER_CARD ? 'folder' : 'card', name }))
}

const beside = (name: string, other: string): string => path.posix.join(path.posix.dirname(name), other)

/** A file of it, or a folder as one. */
export async function readUnit(
  archive: CardArchive,
  { kind, name }: Unit,
  { readCard }: CardReader,
): Promise<UploadedFile> {
  const bytes = await archive.read(name)
  if (kind === 'card') return { name: path.posix.basename(name), bytes }
  const pictureName = beside(name, FOLDER_PICTURE)
  const picture = archive.has(pictureName) ? await archive.read(pictureName) : undefined
  return packFolder(path.posix.basename(path.posix.dirname(name)), bytes, picture, readCard)
}
