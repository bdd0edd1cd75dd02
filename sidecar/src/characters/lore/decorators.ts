/**
 * Decorators: lines at the top of an entry that say when and where it counts. Source: the V3 specification, "Decorators";
 * those of RisuAI that mean something here are read as well.
 */

/** A decorator that we follow; those of other kinds of programs are left out. */
export interface Decorators {
  isForcedOn: boolean
  isForcedOff: boolean
  keepsAfterMatch: boolean
  firesOnce: boolean
  isFirstToGo: boolean
  /** What it says calls up no others. */
  preventsRecursion: boolean
  /** What others say does not call it up. */
  excludesRecursion: boolean
  isWholeWord?: boolean
  /** In per cent. */
  probability?: number
  priority?: number
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
  // RisuAI's own.
  end: (draft) => setNumber(draft, 'depth', '0', 0),
  probability: (draft, value) => setNumber(draft, 'probability', value, 0),
  priority: (draft, value) => setNumber(draft, 'priority', value, -Infinity),
  match_full_word: (draft) => (draft.isWholeWord ??= true) || true,
  match_partial_word: (draft) => (draft.isWholeWord ??= false) || true,
  unrecursive: (draft) => (draft.preventsRecursion = true),
  no_recursive_search: (draft) => (draft.excludesRecursion = true),
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

type NumberName =
  | 'probability'
  | 'priority'
  | 'afterAnswers'
  | 'everyAnswers'
  | 'scanDepth'
  | 'depth'
  | 'reverseDepth'
  | 'greeting'

function setNumber(draft: Draft, name: NumberName, value: string, least: number): boolean {
  if (!/^-?\d{1,6}$/.test(value)) return false
  const number = Number(value)
  // Below 0 stands for the end of the chat.
  if (number < least && name !== 'depth' && name !== 'reverseDepth') return false
  draft[name] ??= number
  return true
}

/** For programs that send no chat, as the specification says; nobody misses them here. */
const FOR_OTHERS = new Set(['instruct_depth', 'instruct_scan_depth', 'reverse_instruct_depth'])

const LINE = /^(@{2,})([A-Za-z_]\w*)(?:\s+(.*))?$/

/**
 * The decorators of a content, the names of those without effect, and what is left of it. A line with one more `@` counts
 * only where the one before did not.
 */
export function readDecorators(content: string): { decorators: Decorators; ignored: string[]; text: string } {
  const decorators: Decorators = {
    isForcedOn: false,
    isForcedOff: false,
    keepsAfterMatch: false,
    firesOnce: false,
    isFirstToGo: false,
    preventsRecursion: false,
    excludesRecursion: false,
    additionalKeys: [],
    excludedKeys: [],
  }
  const lines = content.trim().split('\n')
  const ignored: string[] = []
  /** Of the newest line and those that it stands in for. */
  let missed: string[] = []
  let wasUsed = true
  let at = 0
  for (; at < lines.length; at++) {
    const [, marks = '', name = '', value = ''] = LINE.exec((lines[at] ?? '').trim()) ?? []
    if (name === '') break
    const isFallback = marks.length > 2
    if (isFallback && wasUsed) continue
    const known = name.toLowerCase()
    wasUsed = KNOWN[known]?.(decorators, value.trim()) ?? false
    if (!isFallback) ignored.push(...missed)
    missed = wasUsed || FOR_OTHERS.has(known) ? [] : [...(isFallback ? missed : []), name]
  }
  ignored.push(...missed)
  return { decorators, ignored, text: lines.slice(at).join('\n').trim() }
}
