/** Decorators: lines at the top of an entry that say when and where it counts. Source: the V3 specification, "Decorators". */

/** A decorator that we follow; those of other kinds of programs are left out. */
export interface Decorators {
  isForcedOn: boolean
  isForcedOff: boolean
  keepsAfterMatch: boolean
  firesOnce: boolean
  isFirstToGo: boolean
  afterAnswers?: number
  everyAnswers?: number
  scanDepth?: number
  depth?: number
  /** Counted from the oldest message. */
  reverseDepth?: number
  role?: LoreRole
  greeting?: number
  position?: string
  /** One of each list has to be there as well. */
  additionalKeys: string[][]
  excludedKeys: string[]
}

type Draft = Decorators

/** Each says whether it could use the value; the first of two wins, but lists of keys add up. */
const KNOWN: Readonly<Record<string, (draft: Draft, value: string) => boolean>> = {
  activate: (draft) => (draft.isForcedOn = true),
  dont_activate: (draft) => (draft.isForcedOff = true),
  keep_activate_after_match: (draft) => (draft.keepsAfterMatch = true),
  dont_activate_after_match: (draft) => (draft.firesOnce = true),
  ignore_on_max_context: (draft) => (draft.isFirstToGo = true),
  activate_only_after: (draft, value) => setNumber(draft, 'afterAnswers', value, 0),
  activate_only_every: (draft, value) => setNumber(draft, 'everyAnswers', value, 1),
  scan_depth: (draft, value) => setNumber(draft, 'scanDepth', value, 0),
  depth: (draft, value) => setNumber(draft, 'depth', value, 0),
  reverse_depth: (draft, value) => setNumber(draft, 'reverseDepth', value, 0),
  is_greeting: (draft, value) => setNumber(draft, 'greeting', value, 0),
  position: (draft, value) => {
    if (!POSITIONS.has(value)) return false
    draft.position ??= value
    return true
  },
  role: (draft, value) => {
    const role = ROLES.find((known) => known === value)
    if (role === undefined) return false
    draft.role ??= role
    return true
  },
  additional_keys: (draft, value) => draft.additionalKeys.push(keysOf(value)) > 0,
  exclude_keys: (draft, value) => draft.excludedKeys.push(...keysOf(value)) > 0,
}

export type LoreRole = 'system' | 'user' | 'assistant'

/** In SillyTavern's numbering. */
export const ROLES: readonly LoreRole[] = ['system', 'user', 'assistant']

const POSITIONS = new Set(['after_desc', 'before_desc', 'personality', 'scenario'])

const keysOf = (value: string): string[] =>
  value
    .split(',')
    .map((key) => key.trim())
    .filter((key) => key !== '')

type NumberName = 'afterAnswers' | 'everyAnswers' | 'scanDepth' | 'depth' | 'reverseDepth' | 'greeting'

function setNumber(draft: Draft, name: NumberName, value: string, least: number): boolean {
  if (!/^-?\d{1,6}$/.test(value)) return false
  const number = Number(value)
  // Below 0 stands for the end of the chat.
  if (number < least && name !== 'depth' && name !== 'reverseDepth') return false
  draft[name] ??= number
  return true
}

const LINE = /^(@{2,})([A-Za-z_]\w*)(?:\s+(.*))?$/

/** The decorators of a content, and what is left of it. A line with one more `@` counts only where the one before did not. */
export function readDecorators(content: string): { decorators: Decorators; text: string } {
  const decorators: Decorators = {
    isForcedOn: false,
    isForcedOff: false,
    keepsAfterMatch: false,
    firesOnce: false,
    isFirstToGo: false,
    additionalKeys: [],
    excludedKeys: [],
  }
  const lines = content.trim().split('\n')
  let wasUsed = true
  let at = 0
  for (; at < lines.length; at++) {
    const [, marks = '', name = '', value = ''] = LINE.exec((lines[at] ?? '').trim()) ?? []
    if (name === '') break
    const isFallback = marks.length > 2
    if (isFallback && wasUsed) continue
    wasUsed = KNOWN[name.toLowerCase()]?.(decorators, value.trim()) ?? false
  }
  return { decorators, text: lines.slice(at).join('\n').trim() }
}
