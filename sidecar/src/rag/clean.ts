/**
 * Text of a document without what a reader would not see: that is where instructions for a model are hidden. What can be
 * seen stays, also when it reads like an instruction; that is only told (`suspicious.ts`).
 */

/** What a joiner may stand behind: scripts that are written with it, and parts of one emoji. */
const JOINING =
  /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Gurmukhi}\p{Script=Gujarati}\p{Script=Oriya}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Khmer}\p{Script=Mongolian}\p{Extended_Pictographic}\p{Emoji_Modifier}]\uFE0F?$/u
const JOINED = /^[\p{L}\p{M}\p{Extended_Pictographic}]/u

/**
 * Zero-width, soft hyphens, marks and turns of direction, fillers, variation selectors, tag characters, annotations. Private
 * use is among them: no reader outside its maker knows what it means.
 */
const INVISIBLE = new RegExp(
  [
    String.raw`[\u{AD}\u{61C}\u{115F}\u{1160}\u{200B}\u{200E}\u{200F}\u{202A}-\u{202E}\u{2060}-\u{206F}\u{3164}\u{FEFF}\u{FFA0}]`,
    String.raw`[\u{FFF9}-\u{FFFC}\u{1BCA0}-\u{1BCA3}\u{1D173}-\u{1D17A}\u{E0000}-\u{E0FFF}\p{Co}]`,
    String.raw`[\u{FE00}-\u{FE0E}]|\u{34F}|[\u{17B4}-\u{17B5}]|[\u{180B}-\u{180F}]`,
  ].join('|'),
  'gu',
)
const CONTROL = /[^\P{Cc}\n\t]/gu
const ALL_PLAIN = /^[\n\t\u0020-\u007E]*$/

export interface Cleaned {
  text: string
  /** How many invisible characters were taken out. */
  hidden: number
}

/** NFKC, no invisible characters, blanks in one form, at most one empty line. Lines stay lines. */
export function cleanText(text: string): Cleaned {
  if (ALL_PLAIN.test(text)) return { text: tidy(text), hidden: 0 }
  let hidden = 0
  const drop = () => {
    hidden += 1
    return ''
  }
  const seen = text
    .replaceAll(/\r\n?|[\u0085\u2028\u2029]/g, '\n')
    .replaceAll(/\p{Surrogate}/gu, '\uFFFD')
    .replaceAll(INVISIBLE, drop)
    .replaceAll(/[\u200C\u200D]+/g, (joiner, at: number, whole: string) =>
      isJoining(whole, at, joiner.length) ? joiner.slice(0, 1) : drop(),
    )
    .replaceAll(/\uFE0F/g, (mark, at: number, whole: string) =>
      /\p{Emoji}$/u.test(whole.slice(Math.max(0, at - 2), at)) ? mark : drop(),
    )
    .replaceAll(CONTROL, ' ')
    .normalize('NFKC')
  return { text: tidy(seen), hidden }
}

function isJoining(text: string, at: number, length: number): boolean {
  return (
    JOINING.test(text.slice(Math.max(0, at - 3), at)) && JOINED.test(text.slice(at + length, at + length + 2))
  )
}

const tidy = (text: string): string =>
  text
    .replaceAll(/[^\S\n]+/g, ' ')
    .replaceAll(/ ?\n ?/g, '\n')
    .replaceAll(/\n{3,}/g, '\n\n')
    .trim()
