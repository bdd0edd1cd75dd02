/** Holds one answer to its promise: every token once, in order, and an end. */
import { readToken, TOKEN_BYTES, TOKEN_START, type Token } from './behaviour.ts'

export interface TokenCount {
  received: number
  lost: number
  /** Doubled, or never promised. */
  extra: number
  /** Came after one that should follow it. */
  disordered: number
  /** The last thing that a stream said was `[DONE]`. */
  isEnded: boolean
}

export interface TokenCounter {
  /** The next bytes of the answer's body, cut anywhere. `onToken` runs for each token that became whole. */
  read(bytes: Buffer, onToken?: (token: Token) => void): void
  finish(): TokenCount
}

const END = Buffer.from('data: [DONE]')
/** The end and the line breaks behind it. */
const TAIL_BYTES = END.length + 4
const NONE: Buffer = Buffer.alloc(0)

export function createTokenCounter(promised: number): TokenCounter {
  const seen = new Uint8Array(promised)
  let received = 0
  let extra = 0
  let disordered = 0
  let highest = -1
  /** The start of a token whose rest has not come yet. */
  let carried = NONE
  let tail = NONE

  const count = ({ sequence }: Token) => {
    received += 1
    if (sequence >= promised || seen[sequence] === 1) extra += 1
    else seen[sequence] = 1
    if (sequence < highest) disordered += 1
    highest = Math.max(highest, sequence)
  }

  return {
    read(next, onToken) {
      const bytes = carried.length === 0 ? next : Buffer.concat([carried, next])
      carried = NONE
      let at = bytes.indexOf(TOKEN_START)
      while (at >= 0) {
        if (at + TOKEN_BYTES > bytes.length) {
          carried = bytes.subarray(at)
          break
        }
        const token = readToken(bytes, at)
        if (token !== undefined) {
          count(token)
          onToken?.(token)
        }
        at = bytes.indexOf(TOKEN_START, at + (token === undefined ? 1 : TOKEN_BYTES))
      }
      tail = next.length >= TAIL_BYTES ? next.subarray(-TAIL_BYTES) : lastOf(Buffer.concat([tail, next]))
    },
    finish() {
      const lost = seen.reduce((sum, was) => sum + (was === 0 ? 1 : 0), 0)
      return { received, lost, extra, disordered, isEnded: tail.includes(END) }
    },
  }
}

const lastOf = (bytes: Buffer): Buffer => bytes.subarray(Math.max(0, bytes.length - TAIL_BYTES))
