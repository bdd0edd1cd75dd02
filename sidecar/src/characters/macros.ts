/** Macros: one pass from left to right over author-owned text. What is put in is never expanded again. */

export interface MacroValues {
  char: string
  user: string
  /** The text that the author's own replaces; without one the macro stays empty. */
  original?: string
}

/** What the result may hold at most: a macro bomb multiplies a text, a real card never gets near this. */
const LONGEST = 1_000_000

const MACRO = /\{\{\s*([a-z_]+)\s*\}\}|<(bot|char|user)>/gi

type MacroName = 'char' | 'user' | 'bot' | 'original'

const VALUES: Readonly<Record<MacroName, (values: MacroValues) => string>> = {
  char: ({ char }) => char,
  bot: ({ char }) => char,
  user: ({ user }) => user,
  original: ({ original }) => original ?? '',
}

const isKnown = (name: string): name is MacroName => Object.hasOwn(VALUES, name)

/** Replaces the macros that we know; the others stay visible. Linear in the text. */
export function expand(text: string, values: MacroValues): string {
  let expanded = ''
  let at = 0
  for (const match of text.matchAll(MACRO)) {
    const name = (match[1] ?? match[2] ?? '').toLowerCase()
    expanded += text.slice(at, match.index) + (isKnown(name) ? VALUES[name](values) : match[0])
    at = match.index + match[0].length
    if (expanded.length > LONGEST) return expanded.slice(0, LONGEST)
  }
  return (expanded + text.slice(at)).slice(0, LONGEST)
}

/** Macros in a text that nothing replaces, each once, as written. */
export function unknownMacros(text: string): string[] {
  const found = [...text.matchAll(/\{\{\s*([^{}]{1,60})\s*\}\}/g)].filter(
    (match) => !isKnown((match[1] ?? '').trim().toLowerCase()),
  )
  return [...new Set(found.map((match) => match[0]))]
}
