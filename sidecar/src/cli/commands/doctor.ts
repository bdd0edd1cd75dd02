/** What is wrong with card files, told without a sidecar and without changing anything. */
import path from 'node:path'

import { AppError, toAppError } from '#base/errors.ts'
import type { Note } from '#characters/card.ts'
import { FOLDER_CARD } from '#characters/folder.ts'
import { readCard } from '#characters/read.ts'
import { ARCHIVE_MARK } from '#library/archived.ts'
import { openArchive, type CardArchive } from '#library/open-archive.ts'

import type { Command, Run } from '../command.ts'
import { CARD_FILE, cardFilesIn, isArchive, readUpload } from '../folder.ts'

interface Finding {
  file: string
  /** Null when it could not be read. */
  name: string | null
  spec: string | null
  container: string | null
  notes: Note[]
  error: string | null
}

async function doctor({ positionals, screen }: Run): Promise<number> {
  if (positionals.length === 0) throw new AppError('invalid', 'Name at least one card file or folder')
  const files = (await Promise.all(positionals.map(cardFilesIn))).flat()
  const bar = screen.progress('Reading', files.length)
  const findings: Finding[] = []
  for (const file of files) {
    findings.push(...(isArchive(file) ? await examineArchive(file) : [await examine(file)]))
    bar.step()
  }
  bar.end()
  for (const finding of findings) tell(finding, screen)
  const failed = findings.filter(({ error }) => error !== null).length
  const noted = findings.filter(({ notes }) => notes.length > 0).length
  screen.line(
    `${String(findings.length)} files: ${String(failed)} cannot be read, ${String(noted)} were mended`,
  )
  screen.result({ files: findings })
  return failed > 0 ? 1 : 0
}

async function examine(file: string, read = () => readUpload(file)): Promise<Finding> {
  try {
    const upload = await read()
    const { card, spec, container, notes } = await readCard(upload.bytes, upload.name)
    return { file, name: card.name, spec, container, notes, error: null }
  } catch (thrown) {
    return unreadable(file, thrown)
  }
}

const unreadable = (file: string, thrown: unknown): Finding => ({
  ...{ file, name: null, spec: null, container: null, notes: [], error: toAppError(thrown).message },
})

/** Of a library all versions. What is no card there is left to the import. */
async function examineArchive(file: string): Promise<Finding[]> {
  let archive: CardArchive
  try {
    archive = await openArchive(file)
  } catch (thrown) {
    return [unreadable(file, thrown)]
  }
  const findings: Finding[] = []
  try {
    for (const name of cardsOf(archive)) {
      const read = async () => ({ name: path.posix.basename(name), bytes: await archive.read(name) })
      findings.push(await examine(`${file}:${name}`, read))
    }
  } finally {
    archive.close()
  }
  return findings.length > 0 ? findings : [unreadable(file, noCards())]
}

const noCards = () => new AppError('invalid', 'The archive holds no file that could be a card')

/** What packing programs leave behind. */
const LITTER = /(^|\/)(\.|__MACOSX\/)/i

/** As of folders: what lies beside and below a card.json belongs to that card. */
function cardsOf({ names, has }: CardArchive): string[] {
  if (has(ARCHIVE_MARK.name)) return names.filter((name) => name.startsWith('cards/'))
  const isCard = (name: string) => path.posix.basename(name) === FOLDER_CARD
  const folders = names.filter(isCard).map((name) => name.slice(0, -FOLDER_CARD.length))
  return names.filter(
    (name) =>
      isCard(name) ||
      (CARD_FILE.test(name) && !LITTER.test(name) && !folders.some((folder) => name.startsWith(folder))),
  )
}

function tell({ file, name, spec, container, notes, error }: Finding, screen: Run['screen']): void {
  if (error !== null) {
    screen.line(`bad    ${file}`)
    screen.line(`         ${error}`)
    return
  }
  screen.line(
    `${notes.length === 0 ? 'fine' : 'mended'}${notes.length === 0 ? '  ' : ''} ${file}  ${spec ?? ''} ${container ?? ''}  ${name ?? ''}`,
  )
  for (const note of notes) screen.line(`         ${note.path === '' ? '' : `${note.path}: `}${note.message}`)
}

export const doctorCommands: readonly Command[] = [
  {
    name: 'doctor',
    usage: 'doctor FILE|FOLDER|ARCHIVE…',
    summary: 'says what is wrong with card files; needs no sidecar',
    details: 'Exit code 1 when a file cannot be read, 0 when all can, mended or not.\n',
    options: {},
    run: doctor,
  },
]
