/** A card's lorebook made ready to run: one model for the fields of all programs, keys compiled once. */
import type { Lorebook, LorebookEntry } from '../card.ts'
import { indexEntries, type BookIndex } from './book-index.ts'
import { characterFilterOf, sourcesOf } from './conditions.ts'
import { readDecorators } from './decorators.ts'
import type { Logic, LoreEntry } from './entry.ts'
import { readExtensions } from './extensions.ts'
import { KeyRing, LoreText, type KeyRules, type ScanMemory } from './match.ts'
import { placeOf } from './place.ts'

/** Which program's rules a book was written for: SillyTavern's, where it shows its marks, else the V3 specification's. */
export type Dialect = 'st' | 'v3'

export interface LoreBook {
  name: string
  dialect: Dialect
  scanDepth: number
  isRecursive: boolean
  /** What its entries may take together; infinite where the author does not say. */
  budgetTokens: number
  entries: LoreEntry[]
  memory: ScanMemory
  index: BookIndex
}

/** In messages. Sources: SillyTavern's setting as shipped; ours for books without marks. */
const SCAN_DEPTH: Readonly<Record<Dialect, number>> = { st: 2, v3: 4 }
const DEFAULT_WEIGHT = 100
const LOGICS: readonly Logic[] = ['and_any', 'not_all', 'not_any', 'and_all']

const MARKS = ['selectiveLogic', 'useProbability', 'display_index', 'exclude_recursion', 'group_weight']

const dialectOf = ({ entries }: Lorebook): Dialect =>
  entries.some(({ extensions }) => MARKS.some((mark) => mark in extensions)) ? 'st' : 'v3'

/** `shelf` stands before the entries' ids, so that books that are used together do not share dice. */
export function compileBook(book: Lorebook, shelf = ''): LoreBook {
  const dialect = dialectOf(book)
  // SillyTavern itself does not use the book's own numbers, its authors mean them all the same.
  const scanDepth = book.scan_depth ?? SCAN_DEPTH[dialect]
  const ring = new KeyRing()
  const entries = book.entries.map((entry, index) =>
    compileEntry(entry, `${shelf}${String(entry.id ?? '')}#${String(index)}`, index, dialect, ring),
  )
  return {
    name: book.name ?? 'the character book',
    dialect,
    scanDepth,
    isRecursive: book.recursive_scanning ?? dialect === 'st',
    // Editors write 0 into a field that nobody filled.
    budgetTokens: (book.token_budget ?? 0) > 0 ? (book.token_budget ?? Infinity) : Infinity,
    entries,
    memory: ring.close(),
    index: indexEntries(entries, scanDepth),
  }
}

/** What people know it by; several may have the same. */
export const labelOf = ({ name, comment, keys }: LorebookEntry, index: number): string =>
  name || comment || keys[0] || `Entry ${String(index + 1)}`

function compileEntry(
  entry: LorebookEntry,
  id: string,
  index: number,
  dialect: Dialect,
  ring: KeyRing,
): LoreEntry {
  const st = readExtensions(entry)
  const { decorators, text } = readDecorators(entry.content)
  const rules: KeyRules = {
    isCaseSensitive: entry.case_sensitive ?? st.case_sensitive ?? false,
    isWholeWord: decorators.isWholeWord ?? st.match_whole_words ?? true,
    isPattern: dialect === 'v3' && entry.use_regex,
  }
  const compile = (keys: readonly string[]) => keys.map((written) => ring.add(written, rules))
  const usesSecondary = entry.selective ?? dialect === 'st'
  return {
    id,
    label: labelOf(entry, index),
    content: text,
    wording: new LoreText(text),
    keys: compile(entry.keys),
    secondary: usesSecondary
      ? compile(entry.secondary_keys ?? []).filter(({ written }) => written.trim() !== '')
      : [],
    logic: LOGICS[st.selectiveLogic ?? 0] ?? 'and_any',
    additional: decorators.additionalKeys.map(compile),
    // The specification takes them as texts only.
    excluded: rules.isPattern ? [] : compile(decorators.excludedKeys),
    decorators,
    isEnabled: entry.enabled,
    isConstant: entry.constant ?? false,
    order: entry.insertion_order,
    priority: decorators.isFirstToGo
      ? -Infinity
      : (decorators.priority ?? entry.priority ?? entry.insertion_order),
    place: placeOf(entry, st, decorators),
    scanDepth: decorators.scanDepth ?? st.scan_depth ?? undefined,
    probability: within(
      decorators.probability ?? (st.useProbability === false ? 100 : (st.probability ?? 100)),
      0,
      100,
    ),
    groups: (st.group ?? '')
      .split(',')
      .map((group) => group.trim())
      .filter((group) => group !== ''),
    isPrioritised: st.group_override ?? false,
    weight: Math.max(0, st.group_weight ?? DEFAULT_WEIGHT),
    usesScoring: st.use_group_scoring ?? false,
    sticky: Math.max(0, st.sticky ?? 0),
    cooldown: Math.max(0, st.cooldown ?? 0),
    delay: Math.max(0, st.delay ?? 0),
    excludesRecursion: decorators.excludesRecursion || (st.exclude_recursion ?? false),
    preventsRecursion: decorators.preventsRecursion || (st.prevent_recursion ?? false),
    recursionLevel: Number(st.delay_until_recursion ?? 0),
    ignoresBudget: st.ignore_budget ?? false,
    triggers: st.triggers ?? [],
    characterFilter: characterFilterOf(st),
    sources: sourcesOf(st),
  }
}

const within = (value: number, least: number, most: number) => Math.min(most, Math.max(least, value))

/** Always there, whatever is said: such entries stand in the prefix, where they cost nothing after the first turn. */
export function isFixed(entry: LoreEntry): boolean {
  const { decorators } = entry
  const isPlain =
    entry.probability === 100 &&
    entry.groups.length === 0 &&
    entry.delay === 0 &&
    entry.cooldown === 0 &&
    entry.recursionLevel === 0 &&
    entry.triggers.length === 0 &&
    entry.characterFilter === undefined &&
    decorators.afterAnswers === undefined &&
    decorators.everyAnswers === undefined &&
    decorators.greeting === undefined &&
    decorators.additionalKeys.length === 0 &&
    decorators.excludedKeys.length === 0 &&
    !decorators.firesOnce
  return entry.isEnabled && isPlain && (entry.isConstant || decorators.isForcedOn)
}
