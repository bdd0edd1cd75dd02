/** Text that arrives in pieces, as lines. Model servers cut chunks anywhere, also inside a character. */
import { AppError } from './errors.ts'

/** No model server sends a line near this size; a longer one would be collected in memory without end. */
export const MAX_LINE_BYTES = 1_048_576

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const BYTE_ORDER_MARK = 0xfeff

export interface LineSplitter {
  /** Nothing is kept, and the beginning of the text is behind. */
  isEmpty(): boolean
  /** The lines that this chunk completes, without their line ends (LF or CRLF). Throws AppError `upstream` for an overlong one. */
  push(chunk: Uint8Array): string[]
  /** The unfinished last line; empty when the text ended in a line break. */
  rest(): string
}

/** Decodes whole lines only, so a character that is cut by the network never shows. */
export function createLineSplitter(maxLineBytes: number = MAX_LINE_BYTES): LineSplitter {
  let kept: Uint8Array[] = []
  let keptBytes = 0
  let isFirst = true

  function text(bytes: Buffer, start: number, end: number): string {
    const stop = end > start && bytes[end - 1] === CARRIAGE_RETURN ? end - 1 : end
    const line = bytes.toString('utf8', start, stop)
    const hasMark = isFirst && line.charCodeAt(0) === BYTE_ORDER_MARK
    isFirst = false
    return hasMark ? line.slice(1) : line
  }

  function check(lineBytes: number): void {
    if (lineBytes <= maxLineBytes) return
    throw new AppError('upstream', `The model server sent a line of more than ${maxLineBytes} bytes`)
  }

  function complete(bytes: Buffer, start: number, end: number): string {
    check(keptBytes + end - start)
    if (keptBytes === 0) return text(bytes, start, end)
    const line = Buffer.concat([...kept, bytes.subarray(start, end)], keptBytes + end - start)
    kept = []
    keptBytes = 0
    return text(line, 0, line.length)
  }

  return {
    isEmpty() {
      return keptBytes === 0 && !isFirst
    },
    push(chunk) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
      const lines: string[] = []
      let start = 0
      for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
        lines.push(complete(bytes, start, end))
        start = end + 1
      }
      if (start < bytes.length) {
        kept.push(bytes.subarray(start))
        keptBytes += bytes.length - start
        check(keptBytes)
      }
      return lines
    },
    rest: () => complete(Buffer.alloc(0), 0, 0),
  }
}

/** The lines of a text, empty ones left out; a last line without a line break counts. Throws AppError `upstream` for an overlong one. */
export function splitLines(maxLineBytes: number = MAX_LINE_BYTES) {
  const splitter = createLineSplitter(maxLineBytes)
  const isLine = (line: string) => line !== ''
  return {
    push: (chunk: Uint8Array): string[] => splitter.push(chunk).filter(isLine),
    rest: (): string[] => [splitter.rest()].filter(isLine),
  }
}
