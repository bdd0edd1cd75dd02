/** Bytes → a card, whatever program wrote them. */
import { AppError, toAppError } from '#base/errors.ts'

import type { Card, Note } from './card.ts'
import { formats } from './formats/index.ts'
import type { Container } from './formats/format.ts'
import { LIMITS } from './limits.ts'
import { cut } from './mend.ts'
import { parseCardJson } from './parse.ts'
import { salvage, type CardSpec } from './salvage.ts'

export interface ReadCard {
  card: Card
  /** One for each repair. */
  notes: Note[]
  container: Container
  spec: CardSpec
  /** The picture that carried the card. */
  picture?: Uint8Array
}

/** Throws AppError `invalid` or `too_large` with a sentence that says what to do; never anything else. */
export function readCard(bytes: Uint8Array, fileName: string): ReadCard {
  if (bytes.length > LIMITS.fileBytes)
    throw new AppError('too_large', 'The file is larger than 64 MB; save its picture smaller')
  const format = formats.find((candidate) => candidate.sniff(bytes))
  if (format === undefined) throw unknownFormat(bytes)
  const opened = format.read(bytes)
  const notes = [...opened.notes]
  let failure: AppError | undefined
  for (const { name, json } of opened.candidates) {
    const own: Note[] = []
    try {
      const { card, spec } = salvage(parseCardJson(json, own), nameFrom(fileName), own)
      if (failure !== undefined)
        notes.push({
          code: 'second_choice',
          path: '',
          message: `The newest card in the file is damaged; the one in "${name}" was read.`,
        })
      const picture = opened.picture === undefined ? {} : { picture: opened.picture }
      return { card, spec, container: opened.container, notes: [...notes, ...own], ...picture }
    } catch (thrown) {
      failure ??= toAppError(thrown)
    }
  }
  throw failure ?? new AppError('invalid', 'There is no card in this file')
}

/** The file's name without its ending, for a card that names nobody. */
function nameFrom(fileName: string): string {
  const base =
    fileName
      .split(/[/\\]/)
      .at(-1)
      ?.replace(/\.[^.]*$/, '')
      .trim() ?? ''
  return cut(base, LIMITS.nameCharacters) || 'Unnamed'
}

const SIGNATURES: readonly (readonly [start: string, message: string])[] = [
  ['PK', 'This is a zip archive (perhaps a CHARX card); this version reads PNG and JSON cards'],
  ['\xff\xd8', 'This is a JPEG; cards in JPEG files are not read yet, take the PNG or JSON card'],
  ['RIFF', 'This is a WebP picture; cards in WebP files are not read yet, take the PNG or JSON card'],
  ['GIF8', 'This is a GIF, which cannot hold a card; take the PNG or JSON card'],
]

function unknownFormat(bytes: Uint8Array): AppError {
  const start = Buffer.from(bytes.subarray(0, 4)).toString('latin1')
  const known = SIGNATURES.find(([signature]) => start.startsWith(signature))
  return new AppError('invalid', known?.[1] ?? 'This is no card file; a card is a PNG picture or a JSON file')
}
