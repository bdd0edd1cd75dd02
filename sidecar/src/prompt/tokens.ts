/**
 * Token counts without a tokenizer. An upper bound for English with the vocabularies in use, at most half too low for the
 * worst pairs of script and vocabulary (`tests/e2e/context.test.ts` measures both). Where a model server reports more than
 * we expected, the model's ratio (see `ModelProfile`) rises and stays there.
 */

const isUpper = (code: number) => code >= 65 && code <= 90
const isLower = (code: number) => code >= 97 && code <= 122
const isDigit = (code: number) => code >= 48 && code <= 57

/** Letters of one run of ASCII letters: short words are one token, long ones about one per four letters. */
const wordTokens = (letters: number) => (letters <= 5 ? 1 : Math.ceil(letters / 4))

/** Tokens per character outside ASCII: between what large multilingual vocabularies and small English ones need. */
function foreignTokens(code: number): number {
  if (code < 0x0250) return 1
  if (code >= 0xd800 && code <= 0xdfff) return 2
  if (code >= 0x2e80) return 1.5
  return 1
}

/** Estimated tokens of a text; 0 for an empty one. Linear in its length, no allocation. */
export function estimateTokens(text: string): number {
  let tokens = 0
  let letters = 0
  let blanks = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (isLower(code) || isUpper(code)) {
      letters++
      blanks = 0
      continue
    }
    if (letters > 0) {
      tokens += wordTokens(letters)
      letters = 0
    }
    if (code === 32) {
      // One blank belongs to the next word; longer runs cost about a token for every four.
      if (blanks++ % 4 === 1) tokens++
      continue
    }
    blanks = 0
    tokens += code < 128 || isDigit(code) ? 1 : foreignTokens(code)
  }
  if (letters > 0) tokens += wordTokens(letters)
  return Math.ceil(tokens)
}

/** Role marks and separators that a chat template puts around each message (4 to 8 in the templates in use). */
export const MESSAGE_OVERHEAD_TOKENS = 8

/** What one picture costs at most in the vision models in use; they report no figure of their own. */
export const IMAGE_TOKENS = 1_200

/** The empty line between two parts of one message. */
export const JOIN_TOKENS = 2
