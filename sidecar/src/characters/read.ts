/** Bytes → a card, whatever program wrote them. */
import { AppError, toAppError } from '#base/errors.ts'

import type { Card, Note } from './card.ts'
import { cutOff, type Container, type Found, type Opened } from './formats/format.ts'
import { formats } from './formats/index.ts'
import { LIMITS } from './limits.ts'
import { createNotebook, type Notebook } from './notes.ts'
import { parseCardJson } from './parse.ts'
import { salvage, type CardSpec, type Salvaged } from './salvage.ts'
import { toName, wellFormed } from './text.ts'

export interface ReadCard {
  card: Card
  /** One for each kind of repair or remark, in no more than two hundred. */
  notes: Note[]
  container: Container
  spec: CardSpec
  /** The picture that carried the card, as it was uploaded; it may be damaged. */
  picture?: Uint8Array
  /** The file's keys beside `data` that are no fields of a card. The card carries them too; see `ROOT_KEY` in `salvage.ts`. */
  rootExtra: Record<string, unknown>
}

/** Rejects with AppError `invalid` or `too_large` and a sentence that says what to do; never with anything else. */
export async function readCard(bytes: Uint8Array, fileName: string): Promise<ReadCard> {
  if (bytes.length > LIMITS.fileBytes)
    throw new AppError('too_large', 'The file is larger than 64 MB; save its picture smaller')
  const format = Object.values(formats).find((candidate) => candidate.sniff(bytes))
  if (format === undefined) throw unknownFormat(bytes)
  const notebook = createNotebook()
  const opened = await format.read(bytes, notebook)
  const { read, isSecondChoice } = choose(opened, nameFrom(fileName))
  if (isSecondChoice)
    notebook.note(
      'second_choice',
      '',
      `The newest card in the file is damaged; the one in "${read.name}" was read.`,
    )
  const { card, spec, rootExtra, notes } = read
  const picture = opened.picture === undefined ? {} : { picture: opened.picture }
  return {
    card,
    spec,
    rootExtra,
    container: opened.container,
    notes: [...notebook.list(), ...notes],
    ...picture,
  }
}

interface Candidate extends Salvaged {
  name: string
  notes: Note[]
}

/** Of the best group that holds a card: the newest with a lorebook, since some editors save a second time without it. */
function choose({ groups }: Opened, fallbackName: string): { read: Candidate; isSecondChoice: boolean } {
  let failure: AppError | undefined
  for (const group of groups) {
    const attempts = group.map((found) => attempt(found, fallbackName))
    const readable = attempts.filter((result): result is Candidate => !(result instanceof AppError))
    const read = readable.find(({ card }) => card.character_book !== undefined) ?? readable[0]
    if (read !== undefined)
      return { read, isSecondChoice: failure !== undefined || readable[0] !== attempts[0] }
    failure ??= attempts.find((result): result is AppError => result instanceof AppError)
  }
  throw failure ?? new AppError('invalid', 'There is no card in this file')
}

/** A damaged card is a value here: another one in the same file may be whole. */
function attempt(found: Found, fallbackName: string): Candidate | AppError {
  const notebook = createNotebook()
  try {
    const salvaged = salvage(parse(found, notebook), fallbackName, notebook)
    return { ...salvaged, name: found.name, notes: notebook.list() }
  } catch (thrown) {
    return toAppError(thrown)
  }
}

/** Of what the file ends inside of, that is the reason, whatever its rest looks like. */
function parse(found: Found, notebook: Notebook): unknown {
  try {
    return parseCardJson(found.open(), notebook)
  } catch (cause) {
    throw found.isCutOff === true && toAppError(cause).code === 'invalid' ? cutOff(cause) : cause
  }
}

/** The file's name without its ending, for a card that names nobody. */
function nameFrom(fileName: string): string {
  const base = fileName.split(/[/\\]/).at(-1) ?? ''
  return toName(wellFormed(base.replace(/\.[^.]*$/, '')), LIMITS.nameCharacters) || 'Unnamed'
}

const SIGNATURES: readonly (readonly [start: string, message: string])[] = [
  [
    'PK',
    'The archive is cut off, damaged, or has a directory in 64 bits; take the original file, or pack it again',
  ],
  ['GIF8', 'This is a GIF, which cannot hold a card; take the PNG or JSON card'],
]

function unknownFormat(bytes: Uint8Array): AppError {
  const start = Buffer.from(bytes.subarray(0, 4)).toString('latin1')
  const known = SIGNATURES.find(([signature]) => start.startsWith(signature))
  return new AppError(
    'invalid',
    known?.[1] ?? 'This is no card file; a card is a PNG picture, a JSON or YAML file, or a CHARX archive',
  )
}
