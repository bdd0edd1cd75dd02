/**
 * What mock server and load client agree on: how a request says what answer it wants, and what a token looks like.
 * Both travel as plain text inside a chat, so that any gateway can stand between the two without settings of its own.
 */

/** The only model of the mock server. */
export const MODEL = 'bench-model'

export interface Behaviour {
  /** Before the head of the answer. */
  delayMs: number
  /** Tokens of the answer. */
  chunks: number
  /** Between two tokens; 0 sends all of them at once. */
  intervalMs: number
  /** Between the head and the first token. */
  firstMs: number
  /** Plain text behind each token. */
  fillerBytes: number
}

/** Brackets and no angles: some encoders of JSON write angles as `\u003c`. */
const MARKER = /^\[\[delay=(\d+) chunks=(\d+) interval=(\d+) first=(\d+) filler=(\d+)\]\]/
const MARKER_START = '[[delay='
const LONGEST_MARKER_BYTES = 100
const PLAIN: Behaviour = { delayMs: 0, chunks: 1, intervalMs: 0, firstMs: 0, fillerBytes: 0 }

export const toMarker = ({ delayMs, chunks, intervalMs, firstMs, fillerBytes }: Behaviour): string =>
  `[[delay=${delayMs} chunks=${chunks} interval=${intervalMs} first=${firstMs} filler=${fillerBytes}]]`

/** The last marker of a request's body, which is the one of the last user message; without one, a short answer at once. */
export function readBehaviour(body: Buffer): Behaviour {
  const start = body.lastIndexOf(MARKER_START)
  if (start < 0) return PLAIN
  const found = MARKER.exec(
    body.toString('latin1', start, Math.min(start + LONGEST_MARKER_BYTES, body.length)),
  )
  if (found === null) return PLAIN
  const [delayMs = 0, chunks = 1, intervalMs = 0, firstMs = 0, fillerBytes = 0] = found.slice(1).map(Number)
  return { delayMs, chunks, intervalMs, firstMs, fillerBytes }
}

// -- tokens: `~0007:0000001234567890~`, the place in the answer and the moment of sending -----------------------------

export const TOKEN_START = 0x7e
const COLON = 0x3a
const SEQUENCE_DIGITS = 4
const CLOCK_DIGITS = 16
/** From the start of a token to its clock. */
const CLOCK_OFFSET = 1 + SEQUENCE_DIGITS + 1
export const TOKEN_BYTES = CLOCK_OFFSET + CLOCK_DIGITS + 1

/** The clock that all processes of a machine share, in microseconds. */
export const clockUs = (): number => Number(process.hrtime.bigint() / 1_000n)

export const composeToken = (sequence: number, atUs = 0): string =>
  `~${String(sequence).padStart(SEQUENCE_DIGITS, '0')}:${toDigits(atUs)}~`

export const toDigits = (atUs: number): string => String(atUs).padStart(CLOCK_DIGITS, '0')

/** Where the clocks of all tokens stand in a text. */
export const clockOffsets = (text: string): number[] =>
  [...text.matchAll(/~\d{4}:\d{16}~/g)].map(({ index }) => index + CLOCK_OFFSET)

export interface Token {
  sequence: number
  sentAtUs: number
}

/** The token that starts at `at`; nothing when what stands there is none. The whole of it must be in `bytes`. */
export function readToken(bytes: Buffer, at: number): Token | undefined {
  const end = at + TOKEN_BYTES - 1
  if (bytes[at + CLOCK_OFFSET - 1] !== COLON || bytes[end] !== TOKEN_START) return undefined
  const sequence = readDigits(bytes, at + 1, SEQUENCE_DIGITS)
  const sentAtUs = readDigits(bytes, at + CLOCK_OFFSET, CLOCK_DIGITS)
  return Number.isNaN(sequence + sentAtUs) ? undefined : { sequence, sentAtUs }
}

function readDigits(bytes: Buffer, at: number, count: number): number {
  let value = 0
  for (let index = at; index < at + count; index += 1) {
    const digit = (bytes[index] ?? 0) - 0x30
    if (digit < 0 || digit > 9) return NaN
    value = value * 10 + digit
  }
  return value
}
