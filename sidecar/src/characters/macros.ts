/** Macros: one pass from left to right over author-owned text. What is put in is never expanded again. */
import { cut } from './text.ts'

export interface MacroValues {
  char: string
  user: string
  /** The text that the author's own replaces; without one the macro stays empty. */
  original?: string
}

/** What the result may hold at most: a macro bomb multiplies a text, a real card never gets near this. */
const LONGEST = 1_000_000

/** The first group can overlap nothing around it, so that a hostile text costs no more than a long one. */
const MACRO = /\{\{\s*([a-z_]+)\s*\}\}|<(bot|char|user)>/gi

type MacroName = 'char' | 'user' | 'bot' | 'original'

/** What stands for the `nth` macro of a name in one text, counted from 1. */
type Macro = (values: MacroValues, nth: number) => string

const MACROS: Readonly<Record<MacroName, Macro>> = {
  char: ({ char }) => char,
  bot: ({ char }) => char,
  user: ({ user }) => user,
  // Once per field, as SillyTavern does: a second copy of the server's rules only costs context.
  original: ({ original = '' }, nth) => (nth === 1 ? original : ''),
}

const isKnown = (name: string): name is MacroName => Object.hasOwn(MACROS, name)

/** Replaces the macros that we know; the others stay visible. Linear in the text. */
export function expand(text: string, values: MacroValues): string {
  const seen = new Map<MacroName, number>()
  let expanded = ''
  let at = 0
  for (const match of text.matchAll(MACRO)) {
    const name = (match[1] ?? match[2] ?? '').toLowerCase()
    expanded += text.slice(at, match.index)
    at = match.index + match[0].length
    if (isKnown(name)) {
      const nth = (seen.get(name) ?? 0) + 1
      seen.set(name, nth)
      expanded += MACROS[name](values, nth)
    } else expanded += match[0]
    if (expanded.length > LONGEST) return cut(expanded, LONGEST)
  }
  return cut(expanded + text.slice(at), LONGEST)
}

/** A macro with its end, or the beginning of one that holds others. */
const WRITTEN = /\{\{\s*([^{}\s][^{}]*)(\}\}|(?=\{\{))/g

/** Macros in a text that nothing replaces, each once; as written, or cut where one begins inside. Linear in the text. */
export function unknownMacros(text: string): string[] {
  const found = [...text.matchAll(WRITTEN)]
    .filter(([, body = '']) => !isKnown(body.trim().toLowerCase()))
    .map(([written, , end]) => (end === '' ? `${written}…}}` : written))
  return [...new Set(found)]
}
