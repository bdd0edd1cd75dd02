/** Files and folders as a person names them. A character folder (card.json, avatar.png) becomes one PNG card. */
import { open, readdir, readFile, stat } from 'node:fs/promises'
import path from 'node:path'

import { AppError } from '#base/errors.ts'
import { FOLDER_CARD, FOLDER_PICTURE, packFolder } from '#characters/folder.ts'
import { kindOfName, sniff } from '#rag/kinds.ts'

import { readNamed } from './files.ts'

/** Beside the card of a character folder: documents that it can look up. */
export const FOLDER_KNOWLEDGE = 'knowledge'

/** What a card, or an archive of them, may be called. */
export const CARD_FILE = /\.(png|json|ya?ml|charx|jpe?g|webp|zip)$/i

/** Whatever the case: programs for Windows write .ZIP. */
export const isArchive = (name: string): boolean => /\.zip$/i.test(name)

/** A folder with a card is one character; any other folder stands for the card files in it, as deep as it goes. */
export async function cardFilesIn(name: string): Promise<string[]> {
  const found = await stat(name).catch(() => undefined)
  if (found?.isDirectory() !== true) return [name]
  const entries = await readdir(name, { withFileTypes: true })
  if (entries.some((entry) => entry.name === FOLDER_CARD)) return [name]
  const deeper = entries
    .filter((entry) => !entry.name.startsWith('.') && (entry.isDirectory() || CARD_FILE.test(entry.name)))
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map((entry) => cardFilesIn(path.join(name, entry.name)))
  return (await Promise.all(deeper)).flat()
}

/** Throws AppError `invalid` when nothing can be read there. */
export async function readUpload(name: string): Promise<{ name: string; bytes: Uint8Array }> {
  const found = await stat(name).catch(() => undefined)
  if (found?.isDirectory() === true) return readFolder(name)
  return { name: path.basename(name), bytes: await readNamed(name) }
}

async function readFolder(folder: string): Promise<{ name: string; bytes: Uint8Array }> {
  const card = await readFile(path.join(folder, FOLDER_CARD)).catch((cause: unknown) => {
    throw new AppError('invalid', `${folder} is no character folder: it has no ${FOLDER_CARD}`, { cause })
  })
  const picture = await readFile(path.join(folder, FOLDER_PICTURE)).catch(() => undefined)
  return packFolder(path.basename(path.resolve(folder)), card, picture)
}

export interface DocumentFile {
  file: string
  /** With the folders below the one that was named. */
  name: string
}

export interface FoundDocuments {
  documents: DocumentFile[]
  /** Files of a folder that no reader takes, with what to do about each. */
  skipped: (DocumentFile & { why: string })[]
}

/**
 * A file that is named itself is a document whatever it is called. Of a folder, as deep as it goes, those that readers take by
 * their names, and others by their bytes; never hidden ones. Throws AppError `invalid` for what does not exist.
 */
export async function documentsIn(named: string): Promise<FoundDocuments> {
  const found = await stat(named).catch(() => undefined)
  if (found === undefined) throw new AppError('invalid', `${named} does not exist`)
  if (!found.isDirectory()) return { documents: [{ file: named, name: path.basename(named) }], skipped: [] }
  const entries = await readdir(named, { withFileTypes: true, recursive: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort()
    .map((file) => ({ file, name: path.relative(named, file).split(path.sep).join('/') }))
    .filter(({ name }) => !name.split('/').some((part) => part.startsWith('.')))
  const all: FoundDocuments = { documents: [], skipped: [] }
  for (const each of files) {
    const why = kindOfName(each.name) === undefined ? await whyNotRead(each) : undefined
    if (why === undefined) all.documents.push(each)
    else all.skipped.push({ ...each, why })
  }
  return all
}

/** As much as `sniff` looks at. */
const HEAD_BYTES = 8_192

async function whyNotRead({ file, name }: DocumentFile): Promise<string | undefined> {
  const opened = await open(file)
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    const { bytesRead } = await opened.read(head, 0, HEAD_BYTES, 0)
    // Whether it is a document, only the whole file tells; most that are called otherwise are not.
    if (sniff(name, head.subarray(0, bytesRead)) === 'zip')
      return 'This is an archive; unpack it, or name the file itself if it is a document'
    return undefined
  } catch (thrown) {
    if (thrown instanceof AppError) return thrown.message
    throw thrown
  } finally {
    await opened.close()
  }
}
