/** `JSON.parse` takes 200,000 levels, and everything after it that goes down into a value overflows. */

const [QUOTE, BACKSLASH, OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [
  '"',
  92,
  123,
  125,
  91,
  93,
] as const

/** Whether the text of a JSON value opens more than `most` brackets within each other. Says nothing of what is no JSON. */
export function isDeeperThan(most: number, text: string): boolean {
  let depth = 0
  let from = 0
  while (from < text.length) {
    // Nearly all of a chat are strings: to go through them sign by sign would cost more than to parse them.
    const opens = text.indexOf(QUOTE, from)
    const until = opens === -1 ? text.length : opens
    for (let at = from; at < until; at++) {
      const code = text.charCodeAt(at)
      if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++
      else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) depth--
      if (depth > most) return true
    }
    from = opens === -1 ? text.length : endOfString(text, opens + 1)
  }
  return false
}

/** Behind its closing quote, or the end of the text. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf(QUOTE, start); quote !== -1; quote = text.indexOf(QUOTE, quote + 1)) {
    let backslashes = 0
    while (quote - backslashes > start && text.charCodeAt(quote - backslashes - 1) === BACKSLASH)
      backslashes++
    if (backslashes % 2 === 0) return quote + 1
  }
  return text.length
}
