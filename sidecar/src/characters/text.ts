/** Text of foreign files: cut without halving a character, and free of what a reader cannot see. */

/** The first `units` UTF-16 units, one less where the last would be half of a character. */
export function cut(text: string, units: number): string {
  if (text.length <= units) return text
  const isHalved = /[\uD800-\uDBFF]/.test(text.charAt(units - 1))
  return text.slice(0, isHalved ? units - 1 : units)
}

/** Halves of characters become U+FFFD: Node would make them so in every buffer, and a hash of the text would then differ. */
export const wellFormed = (text: string): string => text.replaceAll(/\p{Surrogate}/gu, '\uFFFD')

/**
 * Without width, or turning the direction of what follows. The joiners U+200C and U+200D are not among them: Persian,
 * Hindi and most emoji are written with them.
 */
const INVISIBLE = /[\u200B\u200E\u200F\u202A-\u202E\u2060-\u2069\uFEFF\u{E0000}-\u{E007F}]/gu

/** The flags of England, Scotland and Wales are spelled with tag characters, which otherwise only hide text. */
const FLAGS = /\u{1F3F4}[\u{E0020}-\u{E007E}]{1,6}\u{E007F}/gu

export const countInvisible = (text: string): number =>
  text.replaceAll(FLAGS, '').match(INVISIBLE)?.length ?? 0

/** One line that shows what it is; empty when nothing in it can be seen. */
export function toName(text: string, units: number): string {
  const line = text.replaceAll(/[\p{Cc}\u2028\u2029]+/gu, ' ').replaceAll(INVISIBLE, '')
  const name = cut(line.trim(), units).trim()
  return /[\p{L}\p{N}\p{P}\p{S}]/u.test(name) ? name : ''
}

/** The bytes 80 to 9F in Windows-1252, which is what "Latin-1" means on most machines; others are the same in both. */
const WINDOWS_1252 = '€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ'

/** True for UTF-8 that was once read as Latin-1 and written again: "Ã©" for "é". */
export function isEncodedTwice(text: string): boolean {
  if (!/[\u00C2-\u00F4][\u0080-\u00BF\u0152-\u2122]/.test(text)) return false
  const bytes = new Uint8Array(text.length)
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    const special = code < 0x100 ? -1 : WINDOWS_1252.indexOf(text.charAt(at))
    if (code >= 0x100 && special === -1) return false
    bytes[at] = special === -1 ? code : 0x80 + special
  }
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    return true
  } catch {
    return false // An ordinary text with accents: these bytes are no UTF-8.
  }
}

/** Markdown and HTML as one line of plain words: no picture of anybody's server, no element, no sign of layout. */
export const plainWords = (markdown: string): string =>
  markdown
    .replaceAll(/!\[[^\]]*\]\([^)]*\)|<(script|style)\b[^]*?<\/\1\s*>|<[^>]*>/gi, ' ')
    .replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replaceAll(/[*_`#<>]/g, '')
    .replaceAll(/\s+/g, ' ')
    .trim()
