/** The sample files under `tests/fixtures/cards`: what is a card, and what is a lorebook of its own. */
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'

export interface SampleFile {
  /** With its folder. */
  name: string
  bytes: Buffer
}

const FIXTURES = path.resolve('tests/fixtures/cards')
const LOREBOOK = /lorebook_v3|_lorebooks_/

const files: readonly SampleFile[] = ['own-cc0', 'mit-tavern_kit'].flatMap((folder) =>
  readdirSync(path.join(FIXTURES, folder))
    .filter((name) => !name.includes('LICENSE'))
    .map((name) => ({ name: `${folder}/${name}`, bytes: readFileSync(path.join(FIXTURES, folder, name)) })),
)

export const CARD_FILES = files.filter(({ name }) => !LOREBOOK.test(name))
export const LOREBOOK_FILES = files.filter(({ name }) => LOREBOOK.test(name))
