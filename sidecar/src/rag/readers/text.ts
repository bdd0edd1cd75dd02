/** Plain text in whatever encoding it was saved. */
import { detect } from 'chardet'

import { plainBlocks } from '../chunk.ts'

import type { Reader } from './reader.ts'

/** How much of a file a guess of its encoding needs. */
const SAMPLE_BYTES = 64 * 1024

/** By byte order mark, as UTF-8, or by a guess from the bytes that are not ASCII. Never fails: a wrong guess is readable in part. */
export function decode(bytes: Buffer, declared?: string): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    // Not UTF-8: what the document says of itself is tried next, then what its bytes look like.
    return decoder(declared) ?? decoder(detect(bytes.subarray(0, SAMPLE_BYTES))) ?? bytes.toString('latin1')
  }
  function decoder(label: string | null | undefined): string | undefined {
    if (!label) return undefined
    try {
      return new TextDecoder(label).decode(bytes)
    } catch {
      return undefined // An encoding that nobody knows.
    }
  }
}

export const readText: Reader = ({ bytes }) => ({ title: null, blocks: plainBlocks(decode(bytes)) })
