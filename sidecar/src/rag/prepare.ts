/** From the bytes of a file to passages: read, cleaned, cut, and looked through for what speaks to the model. */
import { AppError } from '#base/errors.ts'
import type { Note } from '#characters/card.ts'
import { createNotebook } from '#characters/notes.ts'

import { chunkDocument, type ChunkOptions } from './chunk.ts'
import { cleanText } from './clean.ts'
import type { Block, Chunk } from './document.ts'
import type { DocumentKind } from './kinds.ts'
import { DOCUMENT_LIMITS } from './limits.ts'
import { readDocument } from './readers/index.ts'
import type { Reading } from './readers/reader.ts'
import { findSuspicious } from './suspicious.ts'

export interface PreparedDocument {
  kind: DocumentKind
  /** As the document says; null when it does not. */
  title: string | null
  notes: Note[]
  chunks: Chunk[]
}

const LONGEST_TITLE = 300

/** Throws AppError `invalid` or `too_large` with what to do. */
export async function prepareDocument(
  reading: Pick<Reading, 'name' | 'bytes' | 'progress'>,
  chunking: Readonly<ChunkOptions>,
): Promise<PreparedDocument> {
  const notebook = createNotebook()
  const note: Reading['note'] = ({ code, message }) => notebook.note(code, '', message)
  const { kind, title, blocks } = await readDocument({ ...reading, note })
  const cleaned = cleanBlocks(blocks, note)
  if (cleaned.length === 0)
    throw new AppError('invalid', 'There is no text in this document; look whether it is the right file')
  const name =
    title === null ? null : cleanText(title.slice(0, LONGEST_TITLE)).text.replaceAll('\n', ' ') || null
  const chunks = chunkDocument({ title: name ?? reading.name, blocks: cleaned }, chunking)
  for (const chunk of chunks) {
    const found = findSuspicious(chunk.text)
    if (found !== undefined)
      notebook.note(
        'suspicious_text',
        `chunks.${chunk.ordinal}`,
        `Passage ${chunk.ordinal + 1} reads like an instruction to the model: "${found}". Read it, and disable it if it does not belong there.`,
      )
  }
  return { kind, title: name, notes: notebook.list(), chunks }
}

function cleanBlocks(blocks: readonly Block[], note: Reading['note']): Block[] {
  const cleaned: Block[] = []
  let [hidden, characters] = [0, 0]
  for (const block of blocks) {
    const clean = cleanText(block.text)
    hidden += clean.hidden
    characters += clean.text.length
    if (characters > DOCUMENT_LIMITS.characters)
      throw new AppError(
        'too_large',
        `The document has more than ${DOCUMENT_LIMITS.characters / 1e6} million characters of text; send it in parts`,
      )
    if (clean.text !== '') cleaned.push({ ...block, text: clean.text })
  }
  if (hidden > 0)
    note({
      code: 'invisible_characters',
      message: `${hidden} invisible characters were taken out (zero-width, direction, tag and private-use characters).`,
    })
  return cleaned
}
