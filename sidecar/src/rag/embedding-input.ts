/** What of a piece is embedded, and the name under which its vector is kept. */
import { createHash } from 'node:crypto'

/** The header goes first: it says what a piece is about that only says "it". */
export function embeddingInput({ header, text }: { header: string; text: string }): string {
  return header === '' ? text : `${header}\n${text}`
}

/** SHA-256 in hexadecimal. */
export function textHashOf(piece: { header: string; text: string }): string {
  return createHash('sha256').update(embeddingInput(piece)).digest('hex')
}
