/**
 * Cards in PNG and APNG files, in text chunks. Our own walker, because the usual libraries believe the lengths they read:
 * one hostile field costs them minutes and gigabytes. Source of the layout: the PNG specification, third edition.
 */
import { crc32, inflateSync } from 'node:zlib'

import { AppError } from '#base/errors.ts'

import { LIMITS } from '../limits.ts'
import type { Notebook } from '../notes.ts'
import { cutOff, noCard, type CardFormat, type Found } from './format.ts'

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
/** Length and type before the data of a chunk, its checksum behind them. */
const LEAD_BYTES = 8
const CHECKSUM_BYTES = 4
const FRAME_BYTES = LEAD_BYTES + CHECKSUM_BYTES

/** Best first: V3, then the name that all older tools use, then names seen in the wild. */
const KEYWORDS = ['ccv3', 'chara', 'ccv2', 'character', 'card', 'charactercard']
/** RisuAI's own packed form of a card. */
const RISU_KEYWORD = 'risuai'
/** Pictures that V3 cards used to carry in chunks of their own, addressed as `__asset:…`. */
const ASSET_PREFIX = 'chara-ext-asset_'

export const png: CardFormat = {
  sniff: (bytes) => SIGNATURE.equals(bytes.subarray(0, SIGNATURE.length)),
  read(bytes, notebook) {
    const { chunks, isWhole } = walk(toBuffer(bytes))
    noteDamage(chunks, isWhole, notebook)
    const texts = chunks.flatMap(readText)
    if (texts.some(({ keyword }) => keyword.startsWith(ASSET_PREFIX)))
      notebook.note(
        'asset_chunks',
        'assets',
        'The pictures inside the picture stay in the original file; exports leave them out.',
      )
    const groups = KEYWORDS.map((wanted) => texts.filter(({ keyword }) => keyword === wanted).reverse())
    const found = groups.filter((group) => group.length > 0)
    if (found.length === 0) throw nothingIn(texts, isWhole)
    if (found.some((group) => group.length > 1))
      notebook.note(
        'several_cards',
        '',
        'The picture holds several cards; the newest was taken, or the newest with a lorebook.',
      )
    return {
      groups: found.map((group) => group.slice(0, LIMITS.cardsPerKeyword).map(toFound)),
      container: chunks.some(({ type }) => type === 'acTL') ? 'apng' : 'png',
      picture: bytes,
    }
  },
}

const toBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

// -- walking ----------------------------------------------------------------------------------------------------------

interface Chunk {
  type: string
  data: Buffer
  /** Length, type, data and checksum, as they stand in the file. */
  whole: Buffer
  /** False for the last chunk of a file that ends inside of it. */
  isWhole: boolean
}

interface Walk {
  chunks: Chunk[]
  /** False for a file that ends before its last chunk does, or has no last chunk. */
  isWhole: boolean
}

/** Linear in the file, no copy of it; a length that lies only ends the walk. What stands behind the last chunk is no part. */
function walk(bytes: Buffer): Walk {
  const chunks: Chunk[] = []
  for (let at = SIGNATURE.length; at + LEAD_BYTES <= bytes.length;) {
    if (chunks.length === LIMITS.pngChunks) throw tooManyChunks()
    const dataEnd = at + LEAD_BYTES + bytes.readUInt32BE(at)
    const end = dataEnd + CHECKSUM_BYTES
    const type = bytes.toString('latin1', at + 4, at + LEAD_BYTES)
    const isWhole = end <= bytes.length
    chunks.push({
      type,
      data: bytes.subarray(at + LEAD_BYTES, dataEnd),
      whole: bytes.subarray(at, end),
      isWhole,
    })
    if (type === 'IEND') return { chunks, isWhole }
    at = end
  }
  return { chunks, isWhole: false }
}

const tooManyChunks = () =>
  new AppError(
    'too_large',
    `The picture has more than ${LIMITS.pngChunks} parts; save it again with an image program`,
  )

/** Checksums are looked at where it matters: at texts, and at the header that says how large the picture is. */
function noteDamage(chunks: readonly Chunk[], isWhole: boolean, { note }: Notebook): void {
  if (!isWhole) note('truncated_picture', '', 'The picture is cut off; what could be read was read.')
  if (chunks[0]?.type !== 'IHDR' || hasWrongChecksum(chunks[0]))
    note('damaged_picture', '', 'The header of the picture is damaged; it may not show.')
  if (chunks.some((chunk) => isText(chunk.type) && hasWrongChecksum(chunk)))
    note('wrong_checksum', '', 'A text in the picture has a wrong checksum; it was read all the same.')
}

const hasWrongChecksum = ({ whole, isWhole }: Chunk): boolean =>
  isWhole && crc32(whole.subarray(4, -CHECKSUM_BYTES)) !== whole.readUInt32BE(whole.length - CHECKSUM_BYTES)

// -- texts ------------------------------------------------------------------------------------------------------------

interface TextChunk {
  /** In small letters. */
  keyword: string
  type: string
  /** What follows the keyword and its NUL. */
  rest: Buffer
  isWhole: boolean
}

const isText = (type: string) => type === 'tEXt' || type === 'zTXt' || type === 'iTXt'

function readText({ type, data, isWhole }: Chunk): TextChunk[] {
  if (!isText(type)) return []
  const nul = data.subarray(0, LIMITS.pngKeywordBytes + 1).indexOf(0)
  if (nul < 1) return []
  const keyword = data.toString('latin1', 0, nul).toLowerCase()
  return [{ keyword, type, rest: data.subarray(nul + 1), isWhole }]
}

const toFound = (chunk: TextChunk): Found => ({
  name: chunk.keyword,
  isCutOff: !chunk.isWhole,
  open: () => decode(unpack(chunk)),
})

function unpack({ keyword, type, rest }: TextChunk): Buffer {
  try {
    if (type === 'zTXt') return inflate(rest.subarray(1))
    return type === 'iTXt' ? internationalText(rest) : rest
  } catch (cause) {
    if (cause instanceof AppError) throw cause
    throw new AppError('invalid', `The card in "${keyword}" is damaged; take the original file`, { cause })
  }
}

/** Compressed or not, method, language NUL, translated keyword NUL, text. */
function internationalText(rest: Buffer): Buffer {
  const languageEnd = rest.indexOf(0, 2)
  const translatedEnd = rest.indexOf(0, languageEnd + 1)
  if (languageEnd === -1 || translatedEnd === -1) throw new RangeError('iTXt without its separators')
  const text = rest.subarray(translatedEnd + 1)
  return rest[0] === 1 ? inflate(text) : text
}

function inflate(bytes: Buffer): Buffer {
  try {
    return inflateSync(bytes, { maxOutputLength: LIMITS.pngTextBytes })
  } catch (cause) {
    const isBomb = cause instanceof Error && 'code' in cause && cause.code === 'ERR_BUFFER_TOO_LARGE'
    throw isBomb ? tooLong(cause) : cause
  }
}

const tooLong = (cause?: unknown) =>
  new AppError(
    'too_large',
    'The card inside the picture unpacks to more than 16 MB; take large pictures out of it',
    { cause },
  )

/** As a byte order mark looks where each byte is a character. */
const MARK = /^(?:\u00EF\u00BB\u00BF)?\s*/
const DATA_PREFIX = /^data:[^,]{0,100},\s*/

/** Base64 in its variants, or the JSON itself. What else it may be, the JSON parser will say. */
function decode(text: Buffer): Buffer {
  if (text.length > LIMITS.pngTextBytes) throw tooLong()
  const written = text.toString('latin1').replace(MARK, '')
  if (written.startsWith('{') || written.startsWith('rcc||')) return text
  return Buffer.from(written.replace(DATA_PREFIX, ''), 'base64')
}

function nothingIn(texts: readonly TextChunk[], isWhole: boolean): AppError {
  if (texts.some(({ keyword }) => keyword === RISU_KEYWORD))
    return new AppError(
      'invalid',
      'This picture holds a RisuAI-only card; export it from RisuAI as a V3 card',
    )
  return isWhole ? noCard() : cutOff()
}

// -- writing ----------------------------------------------------------------------------------------------------------

/**
 * The picture with these texts before its pixels, where programs that stop early find them, and every older card taken
 * out. Nothing is encoded again. Throws AppError `invalid` when it is no PNG, `too_large` when it has too many parts.
 */
export function writePngText(
  picture: Uint8Array,
  texts: readonly { keyword: string; text: string }[],
): Uint8Array {
  if (!png.sniff(picture)) throw new AppError('invalid', 'A PNG card needs a PNG picture')
  const [header, ...others] = walk(toBuffer(picture)).chunks.filter(
    (chunk) => chunk.isWhole && !isCard(chunk),
  )
  if (header?.type !== 'IHDR')
    throw new AppError('invalid', 'The picture has no header; save it again with an image program')
  const end = others.at(-1)?.type === 'IEND' ? [] : [frame('IEND', Buffer.alloc(0))]
  const written = texts.map(({ keyword, text }) =>
    frame('tEXt', Buffer.from(`${keyword}\0${text}`, 'latin1')),
  )
  return Buffer.concat([SIGNATURE, header.whole, ...written, ...others.map(({ whole }) => whole), ...end])
}

function isCard(chunk: Chunk): boolean {
  return readText(chunk).some(
    ({ keyword }) =>
      KEYWORDS.includes(keyword) || keyword === RISU_KEYWORD || keyword.startsWith(ASSET_PREFIX),
  )
}

function frame(type: string, data: Buffer): Buffer {
  const framed = Buffer.alloc(FRAME_BYTES + data.length)
  framed.writeUInt32BE(data.length, 0)
  framed.write(type, 4, 'latin1')
  data.copy(framed, LEAD_BYTES)
  framed.writeUInt32BE(crc32(framed.subarray(4, -CHECKSUM_BYTES)), framed.length - CHECKSUM_BYTES)
  return framed
}
