/** Cards as plain JSON files. */
import type { CardFormat } from './format.ts'

const OPENING = /^\uFEFF?\s*\{/

export const json: CardFormat = {
  sniff: (bytes) => OPENING.test(Buffer.from(bytes.subarray(0, 1_024)).toString('utf8')),
  read: (bytes) => ({
    candidates: [{ name: 'file', json: Buffer.from(bytes) }],
    notes: [],
    container: 'json',
  }),
}
