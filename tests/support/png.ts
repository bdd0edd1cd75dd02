/** PNG files for tests, chunk by chunk, also broken ones. */
import { crc32 } from 'node:zlib'

export const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])

export function pngChunk(type: string, data: Buffer | string, checksum?: number): Buffer {
  const content = Buffer.from(data)
  const framed = Buffer.alloc(12 + content.length)
  framed.writeUInt32BE(content.length, 0)
  framed.write(type, 4, 'latin1')
  content.copy(framed, 8)
  framed.writeUInt32BE(checksum ?? crc32(framed.subarray(4, 8 + content.length)), 8 + content.length)
  return framed
}

/** One grey pixel. */
export const HEADER = pngChunk('IHDR', Buffer.from([0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]))

export const textChunk = (keyword: string, text: string): Buffer => pngChunk('tEXt', `${keyword}\0${text}`)

export const pngOf = (...chunks: Buffer[]): Buffer =>
  Buffer.concat([PNG_SIGNATURE, HEADER, ...chunks, pngChunk('IEND', '')])

export const base64Of = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64')
