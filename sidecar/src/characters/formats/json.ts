/** Cards as plain JSON files. */
import { utf16Of } from '../parse.ts'
import type { CardFormat } from './format.ts'

const OPENING = /^\uFEFF?\s*[{[]/
const OPENING_BYTES = 1_024

export const json: CardFormat = {
  sniff(bytes) {
    const start = bytes.subarray(0, OPENING_BYTES)
    return OPENING.test(new TextDecoder(utf16Of(start) ?? 'utf-8').decode(start))
  },
  read: (bytes) => ({
    groups: [[{ name: 'file', open: () => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength) }]],
    container: 'json',
  }),
}
