/** `{{if …}} … {{else}} … {{/if}}` in a text: where its branches begin and end. */

export interface Branches {
  /** Where the text goes on when the condition holds not: behind `{{else}}`, or behind the end. */
  otherwise: number
  /** The end of each branch, as far as there are two. */
  ends: readonly number[]
}

export interface Conditions {
  /** By the place of the braces that open an `{{if …}}` with an end of its own. */
  branches: ReadonlyMap<number, Branches>
  /** By the place of an `{{else}}` or `{{/if}}`: where the text goes on. */
  jumps: ReadonlyMap<number, number>
}

const NONE: Conditions = { branches: new Map(), jumps: new Map() }

/** The short form `{{if::condition::text}}` has no end. */
const TAG = /\{\{\s*(?:(?:#\s*)?if(?:\s*::[^{}]*?::|(?=[\s:!]))|(else)\s*\}\}|\/\s*(if)\s*\}\})/gi

interface Opened {
  start: number
  otherwise?: { start: number; end: number }
}

/** What has no end, or no beginning, is no condition. Linear in the text. */
export function readConditions(text: string): Conditions {
  if (!/\{\{\s*\/\s*if\s*\}\}/i.test(text)) return NONE
  const branches = new Map<number, Branches>()
  const jumps = new Map<number, number>()
  const opened: Opened[] = []
  for (const { 0: tag, 1: isElse, 2: isEnd, index } of text.matchAll(TAG)) {
    const end = index + tag.length
    const top = opened.at(-1)
    if (isElse !== undefined) {
      if (top !== undefined) top.otherwise ??= { start: index, end }
    } else if (isEnd !== undefined) {
      if (top === undefined) continue
      opened.pop()
      const { otherwise } = top
      branches.set(top.start, {
        otherwise: otherwise?.end ?? end,
        ends: otherwise === undefined ? [index] : [otherwise.start, index],
      })
      jumps.set(index, end)
      if (otherwise !== undefined) jumps.set(otherwise.start, end)
    } else if (!tag.endsWith('::')) opened.push({ start: index })
  }
  return { branches, jumps }
}

const FALSE = new Set(['', 'false', '0', 'off', 'no'])

/** What SillyTavern counts as true. */
export const isTrue = (value: string): boolean => !FALSE.has(value.trim().toLowerCase())
