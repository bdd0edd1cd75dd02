/**
 * PDF: a page knows where letters stand, not what they are. Lines, paragraphs and headings are guessed from heights and gaps;
 * running heads, page numbers and tables of contents are left out, since they would be found instead of what they point to.
 */
import { inflateSync, constants } from 'node:zlib'

import { getDocumentProxy } from 'unpdf'

import { AppError } from '#base/errors.ts'

import type { Block } from '../document.ts'
import { DOCUMENT_LIMITS } from '../limits.ts'

import type { Reader, Reading } from './reader.ts'

/** Fewer letters than a page number has: the page is a picture. */
const EMPTY_PAGE_CHARACTERS = 10

export const readPdf: Reader = async (reading) => {
  refuseBomb(reading.bytes)
  const pdf = await open(reading.bytes)
  if (pdf.numPages > DOCUMENT_LIMITS.pages)
    throw new AppError(
      'too_large',
      `The document has ${pdf.numPages} pages; at most ${DOCUMENT_LIMITS.pages} are read, so send it in parts`,
    )
  const pages: Line[][] = []
  for (let number = 1; number <= pdf.numPages; number++) {
    const page = await pdf.getPage(number)
    const { items } = await page.getTextContent()
    pages.push(linesOf(items.filter((item) => 'str' in item)))
    page.cleanup()
    reading.progress(number, pdf.numPages)
  }
  tellOfPictures(pages, reading.note)
  return { title: await titleOf(pdf), blocks: blocksOf(pages) }
}

type Pdf = Awaited<ReturnType<typeof getDocumentProxy>>

async function open(bytes: Buffer): Promise<Pdf> {
  try {
    // Fonts may not bring programs: versions of pdf.js before 4.2.67 let them run.
    return await getDocumentProxy(new Uint8Array(bytes), { isEvalSupported: false, verbosity: 0 })
  } catch (cause) {
    const isLocked = cause instanceof Error && cause.name === 'PasswordException'
    throw new AppError(
      'invalid',
      isLocked
        ? 'The document is protected by a password; save it without one'
        : 'The PDF is damaged; print it to a new PDF, or take the original file',
      { cause },
    )
  }
}

async function titleOf(pdf: Pdf): Promise<string | null> {
  const { info } = await pdf.getMetadata().catch(() => ({ info: {} }))
  const title: unknown = 'Title' in info ? info.Title : undefined
  // What printer drivers write when nobody named the document.
  return typeof title === 'string' && !/^(?:untitled|microsoft word - |\s*$)/i.test(title) ? title : null
}

function tellOfPictures(pages: readonly Line[][], note: Reading['note']): void {
  const empty = pages.filter(
    (lines) => lines.reduce((sum, line) => sum + line.text.length, 0) < EMPTY_PAGE_CHARACTERS,
  )
  if (empty.length === pages.length)
    throw new AppError(
      'invalid',
      'The PDF has no text layer: its pages are pictures. Run it through OCR (for example ocrmypdf) and add the result',
    )
  if (empty.length > 0)
    note({
      code: 'pages_without_text',
      message: `${empty.length} of ${pages.length} pages have no text layer (empty, or pictures of text); nothing on them is found.`,
    })
}

// -- bombs -------------------------------------------------------------------------------------------------------------

const STREAM = /stream\r?\n/g
const DICTIONARY_BYTES = 2_000

/**
 * pdf.js unpacks the instructions of a page without a bound. What would unpack to more than any page has is refused before;
 * what hides from this look meets the limits of the process.
 */
function refuseBomb(bytes: Buffer): void {
  const text = bytes.toString('latin1')
  let totalBytes = 0
  for (const { 0: mark, index } of text.matchAll(STREAM)) {
    const before = text.slice(Math.max(0, index - DICTIONARY_BYTES), index)
    const dictionary = before.slice(before.lastIndexOf(' obj') + 1)
    // Pictures are never unpacked for their text.
    if (/\/Subtype\s*\/Image\b/.test(dictionary) && /\/Width\b/.test(dictionary)) continue
    const layers = dictionary.match(/\/Fl(?:ateDecode)?\b/g)?.length ?? 0
    const end = text.indexOf('endstream', index)
    const packed = bytes.subarray(index + mark.length, end < 0 ? bytes.length : end)
    totalBytes += inflatedBytes(packed, layers)
    if (totalBytes > DOCUMENT_LIMITS.pdfStreamsBytes) throw tooDense()
  }
}

/** Deflate makes at most 1,032 bytes of one. */
const LARGEST_RATIO = 1_032
const HARMLESS_BYTES = 1024 * 1024

function inflatedBytes(packed: Buffer, layers: number): number {
  if (layers === 0 || packed.length * LARGEST_RATIO ** layers < HARMLESS_BYTES) return 0
  try {
    const unpacked = inflateSync(packed, {
      maxOutputLength: DOCUMENT_LIMITS.pdfStreamBytes,
      finishFlush: constants.Z_SYNC_FLUSH,
    })
    return unpacked.length + inflatedBytes(unpacked, layers - 1)
  } catch (error) {
    if (error instanceof AppError) throw error
    if (error instanceof Error && 'code' in error && error.code === 'ERR_BUFFER_TOO_LARGE') throw tooDense()
    return 0 // Damaged, or not what it says; pdf.js copes with that.
  }
}

const tooDense = () =>
  new AppError(
    'too_large',
    'A page of the PDF unpacks to more than any ordinary page; print it to a new PDF, or send it in parts',
  )

// -- lines -------------------------------------------------------------------------------------------------------------

interface Item {
  str: string
  height: number
  hasEOL: boolean
  transform: unknown[]
}

interface Line {
  text: string
  height: number
  y: number
}

function linesOf(items: readonly Item[]): Line[] {
  const lines: Line[] = []
  let [text, height, y] = ['', 0, 0]
  const flush = () => {
    const line = text.replaceAll(/\s+/g, ' ').trim()
    if (line !== '') lines.push({ text: line, height, y })
    ;[text, height] = ['', 0]
  }
  for (const item of items) {
    if (item.str.trim() !== '' && item.height > height) {
      height = item.height
      y = Number(item.transform[5])
    }
    text += item.str
    if (item.hasEOL) flush()
  }
  flush()
  return lines
}

/** With every number as one sign, so that running heads of all pages are equal. */
const shapeOf = ({ text }: Line): string => text.replaceAll(/\d+|\b[ivxlc]+\b/gi, '#')

const EDGE_LINES = 2
/** What stands at the edge of this many pages is no text of theirs. */
const LEAST_REPEATED = 3
const LEADER = /(?:\s?[.·…]){5,}\s*\d*$/

/** Without running heads, page numbers and tables of contents. */
function withoutFurniture(pages: readonly Line[][]): Line[][] {
  const counts = new Map<string, number>()
  for (const [at, lines] of pages.entries())
    for (const mark of new Set(edgesOf(lines).flatMap((line) => marksOf(line, at))))
      counts.set(mark, (counts.get(mark) ?? 0) + 1)
  const isFurniture = (line: Line, at: number) =>
    /^[#\s.|–-]*$/.test(shapeOf(line)) ||
    marksOf(line, at).some((mark) => (counts.get(mark) ?? 0) >= LEAST_REPEATED)
  return pages.map((lines, at) => {
    const leaders = lines.filter(({ text }) => LEADER.test(text)).length
    if (leaders > lines.length * 0.4) return []
    const edges = new Set(edgesOf(lines))
    return lines.filter((line) => !LEADER.test(line.text) && !(edges.has(line) && isFurniture(line, at)))
  })
}

const edgesOf = (lines: readonly Line[]): Line[] => [
  ...lines.slice(0, EDGE_LINES),
  ...lines.slice(Math.max(EDGE_LINES, lines.length - EDGE_LINES)),
]

/** By what a running head is known again: its text, or a number at its end that runs with the pages. */
function marksOf(line: Line, at: number): string[] {
  const number = /^(\d{1,4})\s|\s(\d{1,4})$/.exec(line.text)
  const running = number === null ? [] : [`runs ${Number(number[1] ?? number[2]) - at}`]
  return [shapeOf(line), ...running]
}

// -- blocks ------------------------------------------------------------------------------------------------------------

const LONGEST_HEADING = 200
const ITEM = /^(?:[•‣▪◦·–]|\(?\d{1,3}[.)]|\(?[a-z][.)])\s/
const SENTENCE_END = /[.!?:;。！？…"”)\]]$/

function blocksOf(pages: readonly Line[][]): Block[] {
  const cleaned = withoutFurniture(pages)
  const body = commonest(
    cleaned.flat().map((line) => ({ value: round(line.height), weight: line.text.length })),
  )
  const gap = commonest(
    cleaned.flatMap((lines) =>
      lines.slice(1).map((line, at) => ({ value: round((lines[at]?.y ?? 0) - line.y), weight: 1 })),
    ),
  )
  const levelOf = createLevels(cleaned, body)
  const blocks: Block[] = []
  for (const [at, lines] of cleaned.entries()) {
    let above: Line | undefined
    for (const line of lines) {
      addLine(blocks, line, { above, page: at + 1, gap, level: levelOf(line) })
      above = line
    }
  }
  return blocks
}

interface Place {
  /** The line before it on the same page. */
  above: Line | undefined
  page: number
  gap: number
  /** Of a heading; undefined for a line of text. */
  level: number | undefined
}

function addLine(blocks: Block[], line: Line, { above, page, gap, level }: Place): void {
  const last = blocks.at(-1)
  const isNear = above !== undefined && above.y - line.y > 0 && above.y - line.y < gap * 1.35
  if (level !== undefined) {
    const isWrapped =
      last?.kind === 'heading' && last.level === level && above !== undefined && isNearHeading(above, line)
    if (isWrapped) last.text = join(last.text, line.text)
    else blocks.push({ kind: 'heading', level, text: line.text, page })
  } else if (ITEM.test(line.text)) blocks.push({ kind: 'line', text: line.text, page })
  else if (last !== undefined && last.kind !== 'heading' && (isNear || goesOn(last, line, above)))
    last.text = join(last.text, line.text)
  else blocks.push({ kind: 'paragraph', text: line.text, page })
}

const isNearHeading = (above: Line, line: Line): boolean => above.y - line.y < line.height * 1.6

/** A paragraph that the end of a page or column cuts: its sentence is not over. */
const goesOn = (last: Block, line: Line, above: Line | undefined): boolean =>
  (above === undefined || line.y > above.y) && !SENTENCE_END.test(last.text) && /^\p{Ll}/u.test(line.text)

/** A word that the line end divides becomes whole. */
const join = (before: string, after: string): string =>
  /\p{Ll}[-\u2010\u00AD]$/u.test(before) && /^\p{Ll}/u.test(after)
    ? before.slice(0, -1) + after
    : `${before} ${after}`

const round = (value: number): number => Math.round(value * 2) / 2

function commonest(values: readonly { value: number; weight: number }[]): number {
  const weights = new Map<number, number>()
  for (const { value, weight } of values)
    if (value > 0) weights.set(value, (weights.get(value) ?? 0) + weight)
  return [...weights].reduce((best, each) => (each[1] > best[1] ? each : best), [12, 0])[0]
}

const NUMBERED = /^\d{1,3}((?:\.\d{1,3}){1,5})\.?\s/
/** Of print, so that a slightly larger line of a table is none. */
const HEADING_HEIGHT = 1.15

/**
 * The level of a line that is a heading: by its number ("2.1.3"), else by its height among those of the document. What has
 * the height of a numbered heading and no number stands above it. Heights of the first page alone are those of a title.
 */
function createLevels(pages: readonly Line[][], body: number): (line: Line) => number | undefined {
  const isLarge = (line: Line) =>
    round(line.height) >= body * HEADING_HEIGHT && line.text.length < LONGEST_HEADING
  const large = pages.slice(pages.length > 1 ? 1 : 0).flatMap((lines) => lines.filter(isLarge))
  const heights = [...new Set(large.map((line) => round(line.height)))].sort((a, b) => b - a)
  const numbered = new Map<number, number>()
  for (const line of large) {
    const depth = depthOf(line)
    const height = round(line.height)
    if (depth !== undefined) numbered.set(height, Math.min(depth, numbered.get(height) ?? depth))
  }
  return (line) => {
    const height = round(line.height)
    const rank = heights.indexOf(height)
    if (!isLarge(line) || rank < 0) return undefined
    const above = numbered.get(height)
    return Math.min(depthOf(line) ?? (above === undefined ? rank + 1 : above - 1), 6)
  }
}

function depthOf({ text }: Line): number | undefined {
  const found = NUMBERED.exec(text)
  return found === null ? undefined : (found[1] ?? '').split('.').length
}
