/** Bounds on what a document may make us do: above every real one that was measured, below what hurts. */
export const DOCUMENT_LIMITS = {
  /** A scanned book; its text is a thousandth of it. */
  fileBytes: 128 * 1024 * 1024,
  /** What may come out of a zip archive; the largest illustrated EPUBs have half of it. */
  unpackedBytes: 200 * 1024 * 1024,
  /** Text compresses to a tenth, white space to a thousandth. */
  unpackedRatio: 200,
  /** Below this a ratio says nothing: an empty form compresses well too. */
  unpackedFreeBytes: 4 * 1024 * 1024,
  zipEntries: 5_000,
  pages: 2_000,
  /** One page of a PDF that is not a picture has some hundred kilobytes of instructions. */
  pdfStreamBytes: 48 * 1024 * 1024,
  pdfStreamsBytes: 192 * 1024 * 1024,
  /** Pages that people write have below fifty; parsers need the square of it in time. */
  nesting: 500,
  /** Six times War and Peace. */
  characters: 20_000_000,
  /** Of a processor, start of the process included; a PDF of 200 pages takes two. */
  cpuMs: 60_000,
  /** A machine that has no time for the reading of documents is waited for. */
  wallMs: 600_000,
  /** Of the whole process that reads; a PDF of 200 pages takes 200 MB. */
  memoryMb: 600,
  heapMb: 400,
} as const
