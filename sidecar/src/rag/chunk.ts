/**
 * Cuts a document into passages: at headings where it can, else between paragraphs, sentences, words. Passages overlap, so
 * that what stands on both sides of a cut is found too.
 *
 * Sizes by measurement on the chunking evaluation set (five corpora, 472 questions): recall at 6,000 characters is flat from
 * 800 to 1,500 characters, and falls on both sides.
 */
import type { Block, Chunk, ParsedDocument } from './document.ts'

export interface ChunkOptions {
  /** Largest passage, in characters of an alphabet; one of Chinese, Japanese or Korean counts twice. */
  size: number
  /** How much of the end of a passage the next one begins with. */
  overlap: number
}

export const CHUNK_OPTIONS: Readonly<ChunkOptions> = { size: 1_000, overlap: 200 }

/** Its text is what the offsets of the chunks refer to. */
export function documentText(blocks: readonly Block[]): string {
  let text = ''
  let before: Block | undefined
  for (const block of blocks) {
    if (before !== undefined) text += separatorOf(before, block)
    text += block.text
    before = block
  }
  return text
}

/** Blocks of a text without marks: paragraphs between empty lines. */
export function plainBlocks(text: string): Block[] {
  return text
    .split(/\n[^\S\n]*\n\s*/)
    .map((paragraph): Block => ({ kind: 'paragraph', text: paragraph.trim() }))
    .filter((block) => block.text !== '')
}

export function chunkDocument(
  { title, blocks }: Pick<ParsedDocument, 'title' | 'blocks'>,
  options: Readonly<ChunkOptions> = CHUNK_OPTIONS,
): Chunk[] {
  const text = documentText(blocks)
  const pieces = piecesOf(blocks, options.size)
  const chunks: Chunk[] = []
  for (let first = 0; first < pieces.length;) {
    const end = endOfChunk(pieces, first, options.size)
    const chunk = chunkOf(pieces, { first, end, ordinal: chunks.length, title, text })
    if (chunk.text !== '') chunks.push(chunk)
    if (end >= pieces.length) break
    first = startOfNext(pieces, first, end, options.overlap)
  }
  return chunks
}

// -- pieces: what is never cut -----------------------------------------------------------------------------------------

/** How good a place for a cut stands before a piece. */
const INSIDE = 0
const BETWEEN_SENTENCES = 1
const BETWEEN_PARAGRAPHS = 2
const BEFORE_HEADING = 3

interface Piece {
  start: number
  end: number
  weight: number
  cutBefore: number
  /** A heading may not be the last piece of a chunk. */
  isHeading: boolean
  /** A row stands for itself; to repeat it would only be found twice. */
  mayRepeat: boolean
  headings: readonly string[]
  page: number | null
  lead: string
}

function piecesOf(blocks: readonly Block[], size: number): Piece[] {
  const pieces: Piece[] = []
  let at = 0
  let before: Block | undefined
  let path: { level: number; text: string }[] = []
  for (const block of blocks) {
    if (before !== undefined) at += separatorOf(before, block).length
    if (block.kind === 'heading') {
      const level = block.level ?? 1
      path = [...path.filter((heading) => heading.level < level), { level, text: block.text }]
    }
    const headings = path.map((heading) => heading.text)
    const spans = spansOf(block, size)
    const [firstSpan] = spans
    const lead = firstSpan === undefined ? '' : block.text.slice(firstSpan.start, firstSpan.end).trim()
    for (const [index, span] of spans.entries())
      pieces.push({
        start: at + span.start,
        end: at + span.end,
        weight: weightOf(block.text.slice(span.start, span.end)),
        cutBefore:
          index > 0 ? span.cutBefore : block.kind === 'heading' ? BEFORE_HEADING : BETWEEN_PARAGRAPHS,
        isHeading: block.kind === 'heading',
        mayRepeat: block.kind === 'paragraph' || block.kind === 'line',
        headings,
        page: block.page ?? null,
        lead: index === 0 ? '' : lead.slice(0, LONGEST_LEAD),
      })
    at += block.text.length
    before = block
  }
  return pieces
}

const LONGEST_LEAD = 160

const separatorOf = (before: Block, block: Block): string =>
  before.kind === block.kind && (block.kind === 'line' || block.kind === 'row') ? '\n' : '\n\n'

interface Span {
  start: number
  end: number
  cutBefore: number
}

/** The sentences of a block; what is longer than a chunk falls into words, and a word into letters. */
function spansOf({ kind, text }: Block, size: number): Span[] {
  if (kind !== 'paragraph' && weightOf(text) <= size)
    return [{ start: 0, end: text.length, cutBefore: INSIDE }]
  return sentencesOf(text).flatMap((sentence): Span[] => {
    const words = text.slice(sentence.start, sentence.end)
    if (weightOf(words) <= size) return [sentence]
    return fillUp(words, size).map((span, index) => ({
      start: sentence.start + span.start,
      end: sentence.start + span.end,
      cutBefore: index === 0 ? sentence.cutBefore : INSIDE,
    }))
  })
}

/** By Unicode's rules for any language; built once, since making one costs more than a page. */
const sentences = new Intl.Segmenter('und', { granularity: 'sentence' })
const words = new Intl.Segmenter('und', { granularity: 'word' })

const sentencesOf = (text: string): Span[] =>
  Array.from(sentences.segment(text), ({ index, segment }) => ({
    start: index,
    end: index + segment.length,
    cutBefore: BETWEEN_SENTENCES,
  }))

/** Words packed up to a quarter of a chunk, so that an overlap can begin between them. */
function fillUp(text: string, size: number): { start: number; end: number }[] {
  const most = Math.max(1, Math.floor(size / 4))
  const spans: { start: number; end: number }[] = []
  let [start, end, weight] = [0, 0, 0]
  const flush = () => {
    if (end > start) spans.push({ start, end })
    ;[start, weight] = [end, 0]
  }
  for (const { segment } of words.segment(text)) {
    // A word of this length is none; it is cut between code points.
    for (const part of segment.length > most / 2 ? segment : [segment]) {
      const more = weightOf(part)
      if (weight + more > most) flush()
      end += part.length
      weight += more
    }
  }
  flush()
  return spans
}

const DOUBLE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}]/gu
const BEYOND_LATIN = /[\u1100-\uffff]/

function weightOf(text: string): number {
  return BEYOND_LATIN.test(text) ? text.length + (text.match(DOUBLE)?.length ?? 0) : text.length
}

// -- chunks ------------------------------------------------------------------------------------------------------------

/** A better place for a cut may cost this share of a chunk. */
const LEAST_FILLED = { [BEFORE_HEADING]: 0.3, [BETWEEN_PARAGRAPHS]: 0.5, [BETWEEN_SENTENCES]: 0.8 } as const

/** Index after the last piece of the chunk that begins at `first`. */
function endOfChunk(pieces: readonly Piece[], first: number, size: number): number {
  let weight = 0
  let best: { end: number; cut: number } | undefined
  for (let at = first; at < pieces.length; at++) {
    const piece = pieces[at]
    if (piece === undefined) break
    if (at > first) {
      const filled = weight / size
      const { cutBefore } = piece
      const isGood = cutBefore !== INSIDE && filled >= LEAST_FILLED[cutBefore as keyof typeof LEAST_FILLED]
      if (isGood && pieces[at - 1]?.isHeading !== true && cutBefore >= (best?.cut ?? 0))
        best = { end: at, cut: cutBefore }
      // A section that would not fit beside what is there begins its own chunk.
      if (weight + piece.weight > size) return best?.end ?? at
    }
    weight += piece.weight
  }
  return pieces.length
}

/** Where the next chunk begins: far enough back for the overlap, but never across a heading. */
function startOfNext(pieces: readonly Piece[], first: number, end: number, overlap: number): number {
  let weight = 0
  let start = end
  if (pieces[end]?.cutBefore === BEFORE_HEADING) return end
  for (let at = end - 1; at > first; at--) {
    const piece = pieces[at]
    if (piece === undefined || piece.isHeading || !piece.mayRepeat) break
    weight += piece.weight
    if (weight > overlap) break
    start = at
  }
  return start
}

function chunkOf(
  pieces: readonly Piece[],
  at: { first: number; end: number; ordinal: number; title: string | null; text: string },
): Chunk {
  const opening = pieces[at.first]
  const closing = pieces[at.end - 1]
  if (opening === undefined || closing === undefined) throw new RangeError('A chunk without a piece')
  const covered = at.text.slice(opening.start, closing.end)
  const charStart = opening.start + (covered.length - covered.trimStart().length)
  const text = covered.trim()
  const headings = [...opening.headings]
  const parts = [at.title, ...headings, opening.lead].filter((part) => part !== null && part !== '')
  // The first heading of many documents is their title.
  const header = parts.filter((part, index) => part !== parts[index - 1])
  return {
    ordinal: at.ordinal,
    text,
    header: header.join(' › '),
    headings,
    page: opening.page,
    charStart,
    charEnd: charStart + text.length,
  }
}
