/** What is wrong with card files, told without a sidecar and without changing anything. */
import { AppError, toAppError } from '#base/errors.ts'
import type { Note } from '#characters/card.ts'
import { readCard } from '#characters/read.ts'

import type { Command, Run } from '../command.ts'
import { cardFilesIn, readUpload } from '../folder.ts'

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
    findings.push(await examine(file))
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

async function examine(file: string): Promise<Finding> {
  try {
    const upload = await readUpload(file)
    const { card, spec, container, notes } = await readCard(upload.bytes, upload.name)
    return { file, name: card.name, spec, container, notes, error: null }
  } catch (thrown) {
    return { file, name: null, spec: null, container: null, notes: [], error: toAppError(thrown).message }
  }
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
    usage: 'doctor FILE|FOLDER…',
    summary: 'says what is wrong with card files; needs no sidecar',
    details: 'Exit code 1 when a file cannot be read, 0 when all can, mended or not.\n',
    options: {},
    run: doctor,
  },
]
