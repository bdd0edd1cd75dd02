/**
 * Cards in the user comment of JPEG and WebP pictures, as older tools wrote them. Source of the layout: Exif 2.32
 * (CIPA DC-008), the WebP container specification, and files seen: the text itself, or its bytes as numbers with commas.
 */
import { AppError } from '#base/errors.ts'

import { LIMITS } from '../limits.ts'
import { cutOff, noCard, type CardFormat, type Container } from './format.ts'

const JPEG_START = 0xffd8
const APP1 = 0xffe1
const START_OF_SCAN = 0xffda
const JPEG_END = Buffer.from([0xff, 0xd9])
const EXIF_NAME = 'Exif\0\0'

interface Walked {
  exif?: Buffer
  /** False for a file that ends before the Exif does, or before the picture where there is none. */
  isWhole: boolean
}

/** A picture whose application data carry a card, in one of two wrappings. */
function pictureFormat(
  container: Container,
  starts: (bytes: Buffer) => boolean,
  walk: (bytes: Buffer) => Walked,
): CardFormat {
  return {
    sniff: (bytes) => starts(toBuffer(bytes)),
    read(bytes) {
      const { exif, isWhole } = walk(toBuffer(bytes))
      const comment = exif && readUserComment(exif)
      if (comment === undefined) throw isWhole ? noCard() : cutOff()
      return {
        groups: [[{ name: 'UserComment', isCutOff: !isWhole, open: () => decode(comment) }]],
        container,
        picture: bytes,
      }
    },
  }
}

const toBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

export const jpeg = pictureFormat(
  'jpeg',
  (bytes) => bytes.length > 2 && bytes.readUInt16BE(0) === JPEG_START,
  (bytes) => {
    let at = 2
    while (at + 4 <= bytes.length) {
      const marker = bytes.readUInt16BE(at)
      if (marker < 0xff01) return { isWhole: true }
      // What is packed there cannot look like the end.
      if (marker === START_OF_SCAN) return { isWhole: bytes.includes(JPEG_END, at) }
      const end = at + 2 + bytes.readUInt16BE(at + 2)
      const data = bytes.subarray(at + 4, end)
      if (marker === APP1 && data.toString('latin1', 0, EXIF_NAME.length) === EXIF_NAME)
        return { exif: data.subarray(EXIF_NAME.length), isWhole: end <= bytes.length }
      at = end
    }
    return { isWhole: JPEG_END.equals(bytes.subarray(at, at + 2)) }
  },
)

export const webp = pictureFormat(
  'webp',
  (bytes) => bytes.toString('latin1', 0, 4) === 'RIFF' && bytes.toString('latin1', 8, 12) === 'WEBP',
  (bytes) => {
    for (let at = 12; at + 8 <= bytes.length;) {
      const size = bytes.readUInt32LE(at + 4)
      const end = at + 8 + size
      const data = bytes.subarray(at + 8, end)
      if (bytes.toString('latin1', at, at + 4) === 'EXIF') {
        const isNamed = data.toString('latin1', 0, EXIF_NAME.length) === EXIF_NAME
        return { exif: isNamed ? data.subarray(EXIF_NAME.length) : data, isWhole: end <= bytes.length }
      }
      at = end + (size % 2)
    }
    return { isWhole: bytes.readUInt32LE(4) + 8 <= bytes.length }
  },
)

// -- the comment ------------------------------------------------------------------------------------------------------

const USER_COMMENT = 0x9286
const EXIF_DIRECTORY = 0x8769
const ENTRY_BYTES = 12
/** The name of the character code before the text. */
const CODE_BYTES = 8

/** From the first directory or from the one for Exif; both are seen. Lengths that lie end in what is there. */
function readUserComment(tiff: Buffer): Buffer | undefined {
  const order = tiff.toString('latin1', 0, 2)
  if (tiff.length < 8 || (order !== 'II' && order !== 'MM')) return undefined
  const isLittle = order === 'II'
  const read16 = (at: number) => (isLittle ? tiff.readUInt16LE(at) : tiff.readUInt16BE(at))
  const read32 = (at: number) => (isLittle ? tiff.readUInt32LE(at) : tiff.readUInt32BE(at))
  const find = (directoryAt: number, tag: number): number | undefined => {
    if (directoryAt + 2 > tiff.length) return undefined
    const last = Math.min(read16(directoryAt), Math.floor((tiff.length - directoryAt - 2) / ENTRY_BYTES))
    for (let entry = 0; entry < last; entry++) {
      const at = directoryAt + 2 + entry * ENTRY_BYTES
      if (read16(at) === tag) return at
    }
    return undefined
  }
  const first = read32(4)
  const nested = find(first, EXIF_DIRECTORY)
  const entryAt =
    find(first, USER_COMMENT) ?? (nested === undefined ? undefined : find(read32(nested + 8), USER_COMMENT))
  if (entryAt === undefined) return undefined
  const sizeBytes = read32(entryAt + 4)
  const startsAt = sizeBytes <= 4 ? entryAt + 8 : read32(entryAt + 8)
  return tiff.subarray(startsAt, startsAt + sizeBytes)
}

const NUMBERS = /^\[?\d{1,3}(?:, {0,3}\d{1,3})+\]?$/

/** The text without the name of its code; bytes written as numbers become bytes again. */
function decode(comment: Buffer): Buffer {
  if (comment.length > LIMITS.pngTextBytes)
    throw new AppError(
      'too_large',
      'The card inside the picture is longer than 16 MB; take large pictures out of it',
    )
  const code = comment.toString('latin1', 0, CODE_BYTES)
  const hasCode = /^(?:ASCII|JIS|UNICODE)\0+$|^\0{8}$/.test(code)
  const body = hasCode ? comment.subarray(CODE_BYTES) : comment
  const text = trimmed(code.startsWith('UNICODE') ? fromUtf16(body) : body)
  const written = text.toString('latin1').trim()
  return NUMBERS.test(written)
    ? Buffer.from(
        written
          .replaceAll(/[[\]\s]/g, '')
          .split(',')
          .map(Number),
      )
    : text
}

/** The byte order is not said; a brace tells it. */
function fromUtf16(bytes: Buffer): Buffer {
  const encoding = bytes[0] === 0 ? 'utf-16be' : 'utf-16le'
  return Buffer.from(new TextDecoder(encoding).decode(bytes))
}

/** Writers pad with NUL. */
function trimmed(bytes: Buffer): Buffer {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) end--
  return bytes.subarray(0, end)
}
