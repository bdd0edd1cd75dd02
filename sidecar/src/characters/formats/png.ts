/**
 * Cards in PNG and APNG files, in text chunks. Our own walker, because the usual libraries believe the lengths they read:
 * one hostile field costs them minutes and gigabytes. Source of the layout: the PNG specification, third edition.
 */
import { crc32, inflateSync } from 'node:zlib'

import { AppError } from '#base/errors.ts'

import type { Note } from '../card.ts'
import { LIMITS } from '../limits.ts'
import type { CardFormat, Found } from './format.ts'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Length, type and checksum around the data of a chunk. */
const FRAME_BYTES = 12

interface Chunk {
  type: string
  data: Buffer
  /** Where the whole chunk stands in the file. */
  start: number
  end: number
}

interface Walk {
  chunks: Chunk[]
  notes: Note[]
}

/** Best first: V3, then the name that all older tools use, then names seen in the wild. */
const KEYWORDS = ['ccv3', 'chara', 'ccv2', 'character', 'card', 'charactercard']

export const png: CardFormat = {
  sniff: (bytes) => Buffer.from(bytes.subarray(0, SIGNATURE.length)).equals(SIGNATURE),
  read(bytes) {
    const { chunks, notes } = walk(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    const texts = chunks.flatMap((chunk) => readText(chunk, notes))
    const candidates = KEYWORDS.flatMap((wanted) =>
      texts.filter(({ keyword }) => keyword === wanted).reverse(),
    )
    if (candidates.length === 0) throw noCard(texts.map(({ keyword }) => keyword))
    if (candidates.filter(({ keyword }) => keyword === candidates[0]?.keyword).length > 1) {
      notes.push({
        code: 'several_cards',
        path: '',
        message: 'The picture holds more than one card; the newest that can be read was taken.',
      })
    }
    const container = chunks.some(({ type }) => type === 'acTL') ? 'apng' : 'png'
    return {
      candidates: candidates.map(({ keyword, text }): Found => ({ name: keyword, json: decode(text) })),
      notes,
      container,
      picture: bytes,
    }
  },
}

/** Lists the chunks; stops at the first one that is cut off. Linear in the file, no copy of it. */
function walk(bytes: Buffer): Walk {
  const chunks: Chunk[] = []
  const notes: Note[] = []
  let at = SIGNATURE.length
  while (at + FRAME_BYTES <= bytes.length && chunks.length < LIMITS.pngChunks) {
    const sizeBytes = bytes.readUInt32BE(at)
    const end = at + FRAME_BYTES + sizeBytes
    if (end > bytes.length) {
      notes.push({
        code: 'truncated_picture',
        path: '',
        message: 'The picture is cut off; what could be read was read.',
      })
      break
    }
    const type = bytes.toString('latin1', at + 4, at + 8)
    const data = bytes.subarray(at + 8, at + 8 + sizeBytes)
    if (isText(type) && crc32(bytes.subarray(at + 4, at + 8 + sizeBytes)) !== bytes.readUInt32BE(end - 4)) {
      notes.push({
        code: 'wrong_checksum',
        path: '',
        message: 'A part of the picture has a wrong checksum; it was read all the same.',
      })
    }
    chunks.push({ type, data, start: at, end })
    at = end
    if (type === 'IEND') break
  }
  if (chunks.length >= LIMITS.pngChunks) {
    throw new AppError(
      'too_large',
      `The picture has more than ${String(LIMITS.pngChunks)} parts; save it again with an image program`,
    )
  }
  return { chunks, notes }
}

const isText = (type: string) => type === 'tEXt' || type === 'zTXt' || type === 'iTXt'

interface TextChunk {
  keyword: string
  text: Buffer
}

function readText({ type, data }: Chunk, notes: Note[]): TextChunk[] {
  if (!isText(type)) return []
  const nul = data.indexOf(0)
  if (nul < 1 || nul > 79) return []
  const keyword = data.toString('latin1', 0, nul).toLowerCase()
  if (!KEYWORDS.includes(keyword) && keyword !== 'risuai') return []
  try {
    const text =
      type === 'tEXt'
        ? data.subarray(nul + 1)
        : type === 'zTXt'
          ? inflate(data.subarray(nul + 2))
          : internationalText(data, nul)
    return [{ keyword, text }]
  } catch (error) {
    if (error instanceof AppError) throw error
    notes.push({
      code: 'unreadable_chunk',
      path: '',
      message: `The card in "${keyword}" is damaged; another one was looked for.`,
    })
    return []
  }
}

/** keyword, NUL, compressed?, method, language NUL, translated keyword NUL, text. */
function internationalText(data: Buffer, nul: number): Buffer {
  const compressed = data[nul + 1] === 1
  const languageEnd = data.indexOf(0, nul + 3)
  const translatedEnd = data.indexOf(0, languageEnd + 1)
  if (languageEnd < 0 || translatedEnd < 0) throw new RangeError('iTXt without its separators')
  const text = data.subarray(translatedEnd + 1)
  return compressed ? inflate(text) : text
}

function inflate(bytes: Buffer): Buffer {
  try {
    return inflateSync(bytes, { maxOutputLength: LIMITS.jsonBytes * 2 })
  } catch (cause) {
    if (cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE') {
      throw new AppError('too_large', 'The card inside the picture unpacks to more than 16 MB', { cause })
    }
    throw cause
  }
}

/** Base64 in its variants, or the JSON itself. What else it may be, the JSON parser will say. */
function decode(text: Buffer): Buffer {
  const lead = text.toString('latin1', 0, 64).trimStart()
  if (lead.startsWith('{') || lead.startsWith('rcc|')) return text
  const base64 = text.toString('latin1').replace(/^data:[^,]{0,100},/, '')
  return Buffer.from(base64, 'base64')
}

function noCard(keywords: readonly string[]): AppError {
  if (keywords.includes('risuai')) {
    return new AppError(
      'invalid',
      'This picture holds a RisuAI-only card; export it from RisuAI as a V3 card',
    )
  }
  return new AppError(
    'invalid',
    'This is a picture without a character in it; chat programs often strip the card, so take the original file',
  )
}

/** The picture with these texts before its pixels, and every older card taken out. Throws AppError `invalid` when it is no PNG. */
export function writePngTexts(
  picture: Uint8Array,
  texts: readonly { keyword: string; text: string }[],
): Uint8Array {
  if (!png.sniff(picture)) throw new AppError('invalid', 'A PNG card needs a PNG picture')
  const bytes = Buffer.from(picture.buffer, picture.byteOffset, picture.byteLength)
  const { chunks } = walk(bytes)
  const [header, ...others] = chunks.filter((chunk) => !isCardText(chunk))
  if (header?.type !== 'IHDR')
    throw new AppError('invalid', 'The picture has no header; save it again with an image program')
  const whole = ({ start, end }: Chunk) => bytes.subarray(start, end)
  const end = others.some(({ type }) => type === 'IEND') ? [] : [chunk('IEND', Buffer.alloc(0))]
  const written = texts.map(({ keyword, text }) =>
    chunk('tEXt', Buffer.concat([Buffer.from(`${keyword}\0`, 'latin1'), Buffer.from(text, 'latin1')])),
  )
  return Buffer.concat([SIGNATURE, whole(header), ...written, ...others.map(whole), ...end])
}

function isCardText({ type, data }: Chunk): boolean {
  if (!isText(type)) return false
  const keyword = data.toString('latin1', 0, Math.max(0, data.indexOf(0))).toLowerCase()
  return KEYWORDS.includes(keyword) || keyword.startsWith('chara-ext-asset_')
}

function chunk(type: string, data: Buffer): Buffer {
  const framed = Buffer.alloc(FRAME_BYTES + data.length)
  framed.writeUInt32BE(data.length, 0)
  framed.write(type, 4, 'latin1')
  data.copy(framed, 8)
  framed.writeUInt32BE(crc32(framed.subarray(4, 8 + data.length)), 8 + data.length)
  return framed
}
