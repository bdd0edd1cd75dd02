/** What the author of a lorebook should know: entries that never come, come too often, or cost too much. */
import type { Lorebook } from '../card.ts'
import { compileBook, type LoreBook } from './book.ts'
import { isForOrdinaryRequests } from './conditions.ts'
import type { LoreEntry } from './entry.ts'
import { finding, namesOf, type Finding } from './finding.ts'
import { lintCalls } from './lint-calls.ts'
import { lintKeys } from './lint-keys.ts'
import { LoreText, type CompiledKey } from './match.ts'

export interface LintSettings {
  /** What all entries may take together, in tokens. The book may allow itself less. */
  budgetTokens: number
  /** Upper bound of a text. */
  countTokens: (text: string) => number
}

/** Grouped by what is found; linear in the length of all texts. */
export function lintBook(lorebook: Lorebook, settings: LintSettings): Finding[] {
  const book = compileBook(lorebook)
  const enabled = book.entries.filter(({ isEnabled }) => isEnabled)
  return [
    ...switchedOff(book.entries),
    ...enabled.flatMap((entry) => dead(book, entry)),
    ...lintCalls(book, enabled),
    ...lintKeys(book, enabled),
    ...sameContents(enabled),
    ...costs(enabled, { ...settings, budgetTokens: Math.min(settings.budgetTokens, book.budgetTokens) }),
  ]
}

// -- entries that never come ------------------------------------------------------------------------------------------

function switchedOff(entries: readonly LoreEntry[]): Finding[] {
  const off = entries.filter(({ isEnabled }) => !isEnabled)
  if (off.length === 0) return []
  const message = `${namesOf(off)}: switched off. Switch on what is needed, and take out the rest.`
  return [finding('switched_off', off, message)]
}

function dead(book: LoreBook, entry: LoreEntry): Finding[] {
  const one = (code: Finding['code'], message: string) => [
    finding(code, [entry], `"${entry.label}" ${message}`),
  ]
  if (entry.content === '') return one('no_text', 'has no text. Write one, or take the entry out.')
  if (entry.probability === 0)
    return one('no_chance', 'has a probability of 0 %. Give it a higher one, or switch it off.')
  if (!isForOrdinaryRequests(entry.triggers))
    return one(
      'impossible_conditions',
      'is meant for kinds of requests that do not exist here. Empty its triggers.',
    )
  if (entry.decorators.isForcedOn) return []
  if (entry.decorators.isForcedOff)
    return one('no_chance', 'says @@dont_activate. Take that line out, or switch it off.')
  if (entry.isConstant) return []
  if (entry.keys.every(isNever)) return [unusable(entry)]
  const contradiction = contradictionOf(book, entry)
  return contradiction === undefined ? [] : one('impossible_conditions', contradiction)
}

function unusable(entry: LoreEntry): Finding {
  const reasons = new Set(entry.keys.map((key) => (key.kind === 'never' ? key.why : undefined)))
  const say = (code: Finding['code'], message: string) =>
    finding(code, [entry], `"${entry.label}" ${message}`)
  if (reasons.has('too_many'))
    return say(
      'unsupported_keys',
      'has keys beyond what a book may have. Split the book, or shorten its keys.',
    )
  if (reasons.has('unsupported'))
    return say(
      'unsupported_keys',
      'has only keys that are patterns of an unknown kind. Write them without look-around and back-references.',
    )
  if (reasons.has('too_large'))
    return say(
      'unsupported_keys',
      'has only patterns that would cost too much. Write them shorter, without repeats of repeats.',
    )
  return say('no_key', 'has no key. Give it one, or make it constant.')
}

const isNever = ({ kind }: CompiledKey): boolean => kind === 'never'

/** Keys that stand in each other cannot be asked for and against at once. */
function contradictionOf(book: LoreBook, entry: LoreEntry): string | undefined {
  const { keys, secondary, logic, excluded } = entry
  const alwaysThere = (key: CompiledKey) =>
    keys.every((each) => isNever(each) || (each.kind === 'plain' && standsIn(book, key, each.written)))
  if (excluded.some(alwaysThere)) return 'excludes what its own keys ask for. Change one of the two.'
  if (secondary.length === 0) return undefined
  const isImpossible = {
    and_any: secondary.every(isNever),
    and_all: secondary.some(isNever),
    not_any: secondary.some(alwaysThere),
    not_all: secondary.every(alwaysThere),
  }[logic]
  if (!isImpossible) return undefined
  return logic === 'and_any' || logic === 'and_all'
    ? 'needs secondary keys that can never be found. Take these out.'
    : 'must not have secondary keys that stand in its own keys. Take these out.'
}

const standsIn = (book: LoreBook, key: CompiledKey, written: string): boolean =>
  book.memory.scan(new LoreText(written.trim())).holds(key)

// -- the same text, and the cost --------------------------------------------------------------------------------------

function sameContents(entries: readonly LoreEntry[]): Finding[] {
  const byContent = new Map<string, LoreEntry[]>()
  for (const entry of entries) {
    const content = entry.content.replace(/\s+/g, ' ').toLowerCase()
    if (content !== '') byContent.set(content, [...(byContent.get(content) ?? []), entry])
  }
  return [...byContent.values()]
    .filter((same) => same.length > 1)
    .map((same) => {
      const message = `${namesOf(same)} have the same text, and it may be printed more than once. Make one of them.`
      return finding('same_content', same, message)
    })
}

function costs(entries: readonly LoreEntry[], { budgetTokens, countTokens }: LintSettings): Finding[] {
  const sized = entries.map((entry) => ({ entry, tokens: countTokens(entry.content) }))
  const tooLong = sized
    .filter(({ entry, tokens }) => tokens > budgetTokens && !entry.ignoresBudget)
    .map(({ entry, tokens }) =>
      finding(
        'too_long',
        [entry],
        `"${entry.label}" takes ${String(tokens)} tokens, and there is room for ${String(budgetTokens)}. Shorten or split it.`,
      ),
    )
  const always = sized.filter(({ entry }) => entry.content !== '' && isAlwaysThere(entry))
  return [...tooLong, ...alwaysThereFindings(always, budgetTokens)]
}

interface Sized {
  entry: LoreEntry
  tokens: number
}

function alwaysThereFindings(always: readonly Sized[], budgetTokens: number): Finding[] {
  if (always.length === 0) return []
  const entries = always.map(({ entry }) => entry)
  const tokens = always.reduce((sum, each) => sum + each.tokens, 0)
  const cost = `${namesOf(entries)}: always there, together ${String(tokens)} tokens of every request`
  if (tokens <= budgetTokens)
    return [finding('always_there', entries, `${cost}. Give keys to what is not always needed.`)]
  const message = `${cost}, and there is room for ${String(budgetTokens)}. Give keys to some, or shorten them.`
  return [finding('too_much_always_there', entries, message)]
}

const isAlwaysThere = ({ decorators, isConstant, probability }: LoreEntry): boolean =>
  probability === 100 && (decorators.isForcedOn || (isConstant && !decorators.isForcedOff))
