/**
 * The chunks of an answer are equal but for the words in them. Once one was read with care, those that differ from it in one
 * string only are read by comparing: to parse and to check each costs more than all else that Troupe does with it.
 */

/** What stands around the words of a chunk, in JSON. */
export interface Frame {
  before: string
  after: string
  /** Some other chunk had it too. */
  isProven: boolean
}

/** A string of JSON without its quotes. */
const STRING = /^(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-f]{4}))+$/i

/** The words of a chunk in this frame; undefined when it has another one. */
export function wordsIn({ before, after }: Frame, chunk: string): string | undefined {
  if (chunk.length <= before.length + after.length) return undefined
  if (!chunk.startsWith(before) || !chunk.endsWith(after)) return undefined
  const words = chunk.slice(before.length, chunk.length - after.length)
  if (!STRING.test(words)) return undefined
  return words.includes('\\') ? (JSON.parse(`"${words}"`) as string) : words
}

const PROBE = 'probe'

/**
 * The frame of a chunk that says `words`. `read` gives the words of a chunk that says nothing else, and undefined for every
 * other one, and may throw for what is no chunk: what it makes of the frame around other words proves that they stand where
 * we think. A word of punctuation also stands between two strings: `":"` and `","`.
 */
export function frameOf(
  chunk: string,
  words: string,
  read: (chunk: string) => string | undefined,
): Frame | undefined {
  const written = JSON.stringify(words)
  const at = chunk.indexOf(written)
  if (at === -1) return undefined
  const before = chunk.slice(0, at + 1)
  const after = chunk.slice(at + written.length - 1)
  try {
    return read(before + PROBE + after) === PROBE ? { before, after, isProven: false } : undefined
  } catch {
    return undefined
  }
}
