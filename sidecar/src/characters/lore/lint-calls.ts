/** Entries that call each other up, and such as nobody can call up. */
import type { LoreBook } from './book.ts'
import type { LoreEntry } from './entry.ts'
import { finding, namesOf, type Finding } from './finding.ts'
import { findRings } from './rings.ts'

export function lintCalls(book: LoreBook, entries: readonly LoreEntry[]): Finding[] {
  const calls = callsOf(book, entries)
  return [
    ...findRings(calls).map((ring) => ringFinding(ring.flatMap((index) => entries[index] ?? []))),
    ...neverCalled(book, entries, calls),
  ]
}

/** By entry, the others that its text calls up. Patterns are left out: each would have to be tried on each text. */
function callsOf(book: LoreBook, entries: readonly LoreEntry[]): number[][] {
  if (!book.isRecursive) return []
  const position = new Map(entries.map((entry, index) => [entry, index]))
  return entries.map((entry, index) => {
    if (entry.preventsRecursion) return []
    const called = new Set<number>()
    for (const key of book.memory.scan(entry.wording).plain) {
      const owner = book.entries[book.index.owners[key] ?? -1]
      const to = owner && !owner.excludesRecursion ? position.get(owner) : undefined
      if (to !== undefined && to !== index) called.add(to)
    }
    return [...called]
  })
}

const NAMES_SHOWN = 6

function ringFinding(ring: readonly LoreEntry[]): Finding {
  const names = ring.map(({ label }) => `"${label}"`)
  const skipped = names.length - NAMES_SHOWN
  if (skipped > 0) names.splice(NAMES_SHOWN, skipped, `${String(skipped)} more`)
  const way = [...names, ...names.slice(0, 1)].join(' → ')
  const message =
    `${way}: whichever is called up brings the others. ` +
    'If that is not meant, let one of them prevent further recursion.'
  return finding('ring', ring, message)
}

function neverCalled(
  book: LoreBook,
  entries: readonly LoreEntry[],
  calls: readonly (readonly number[])[],
): Finding[] {
  const called = new Set(calls.flat())
  const lost = entries.filter(
    (entry, index) => entry.recursionLevel > 0 && !called.has(index) && !mayBeCalledOtherwise(book, entry),
  )
  if (lost.length === 0) return []
  const why = book.isRecursive
    ? 'and no other text holds one of their keys. Mention them in another entry'
    : 'and this book lets none do so. Switch its recursion on'
  const message = `Only other entries can call up ${namesOf(lost)}, ${why}, or let them not wait for recursion.`
  return [finding('never_called', lost, message)]
}

const mayBeCalledOtherwise = (book: LoreBook, { isConstant, decorators, keys }: LoreEntry): boolean =>
  book.isRecursive && (isConstant || decorators.isForcedOn || keys.some(({ kind }) => kind === 'pattern'))
