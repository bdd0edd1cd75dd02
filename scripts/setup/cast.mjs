/** The starter cast: every folder in `characters/` that has a card. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'

import { fingerprintOfFiles, ROOT } from './cache.mjs'

const CHARACTERS = path.join(ROOT, 'characters')

/**
 * Gives the folders of the cast to `importFolders`, unless they are what it got the last time with this data folder.
 * Somebody may have edited or deleted a character in the pages since, and a restart must not undo that.
 *
 * @param {string} dataDir
 * @param {(folders: string[]) => Promise<void>} importFolders
 */
export async function importCast(dataDir, importFolders) {
  const folders = castFolders()
  const stamp = path.join(dataDir, 'cast.imported')
  const content = fingerprintOfFiles(folders)
  if (folders.length === 0 || (existsSync(stamp) && readFileSync(stamp, 'utf8') === content)) return
  await importFolders(folders)
  writeFileSync(stamp, content)
}

function castFolders() {
  if (!existsSync(CHARACTERS)) return []
  return readdirSync(CHARACTERS)
    .map((name) => path.join(CHARACTERS, name))
    .filter((folder) => existsSync(path.join(folder, 'card.json')))
}
