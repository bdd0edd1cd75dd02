/** Keys that call up more than their author may want. */
import type { LoreBook } from './book.ts'
import type { LoreEntry } from './entry.ts'
import { finding, namesOf, type Finding } from './finding.ts'
import { hasNoSpaces, LoreText, type CompiledKey } from './match.ts'

interface OwnedKey {
  entry: LoreEntry
  key: Extract<CompiledKey, { kind: 'plain' }>
  folded: string
}

export function lintKeys(book: LoreBook, entries: readonly LoreEntry[]): Finding[] {
  const keys = entries.flatMap(ownedKeys)
  return [...sameKeys(keys), ...containedKeys(book, keys), ...entries.flatMap(broadKeys)]
}

const ownedKeys = (entry: LoreEntry): OwnedKey[] =>
  entry.keys.flatMap((key) =>
    key.kind === 'plain' ? [{ entry, key, folded: key.written.trim().toLowerCase() }] : [],
  )

/** Entries of one group are meant to share what calls them up. */
const shareGroup = (a: LoreEntry, b: LoreEntry): boolean => a.groups.some((group) => b.groups.includes(group))

function sameKeys(keys: readonly OwnedKey[]): Finding[] {
  const owners = new Map<string, Set<LoreEntry>>()
  for (const { folded, entry } of keys) owners.set(folded, (owners.get(folded) ?? new Set()).add(entry))
  return [...owners].flatMap(([key, set]) => {
    const [first, ...others] = set
    if (first === undefined || others.every((other) => shareGroup(first, other))) return []
    const message =
      `"${key}" calls up ${namesOf([...set])} at once. ` +
      'If one of them is enough, put them into one group or give them keys of their own.'
    return [finding('same_key', [...set], message)]
  })
}

function containedKeys(book: LoreBook, keys: readonly OwnedKey[]): Finding[] {
  const byNumber = new Map(keys.map((owned) => [owned.key.number, owned]))
  const containers = new Map<OwnedKey, Set<LoreEntry>>()
  for (const { key, entry, folded } of keys)
    for (const number of book.memory.scan(new LoreText(key.written.trim())).plain) {
      const inner = byNumber.get(number)
      if (inner === undefined || inner.folded === folded || inner.entry === entry) continue
      if (!shareGroup(inner.entry, entry))
        containers.set(inner, (containers.get(inner) ?? new Set()).add(entry))
    }
  return [...containers].map(([{ entry, folded }, outer]) => {
    const message =
      `"${folded}", a key of "${entry.label}", also stands in keys of ${namesOf([...outer])} and comes with them. ` +
      'If that is not meant, make the key longer or give the entry secondary keys.'
    return finding('contained_key', [entry, ...outer], message)
  })
}

/** Of the languages that most cards are written in. */
const COMMON_WORDS = new Set(
  [
    'the and that have for not with you this but his her from they she will one all would there their what out about who',
    'get which when make can like time just him know take people into year your good some could them see other than then',
    'now look only come its over think also back after use two how our work first well way even new want because any these',
    'day most has was are were been had did does say said man woman thing here very',
    'der die das und ist nicht ich ein eine mit auf für les des une est pas que qui dans pour los las una con por para del',
    'это что как она они его',
  ]
    .join(' ')
    .split(' '),
)

const SHORT_LETTERS = 2
const SHORT_PART_LETTERS = 3

function broadKeys(entry: LoreEntry): Finding[] {
  if (isNarrowed(entry)) return []
  return ownedKeys(entry).flatMap(({ folded, key }) => {
    const reason = tooBroad(folded, key.isWholeWord)
    if (reason === undefined) return []
    const message =
      `"${folded}", a key of "${entry.label}", ${reason}. ` +
      'Make it longer, or give the entry secondary keys that have to be there as well.'
    return [finding('broad_key', [entry], message)]
  })
}

/** Something else has to be there as well. */
const isNarrowed = ({ secondary, logic, additional }: LoreEntry): boolean =>
  additional.length > 0 || (secondary.length > 0 && (logic === 'and_any' || logic === 'and_all'))

function tooBroad(key: string, isWholeWord: boolean): string | undefined {
  const letters = [...key].length
  if (COMMON_WORDS.has(key)) return 'is a word that stands in nearly every message'
  if (hasNoSpaces(key))
    return letters === 1 ? 'is one character, and is found inside longer words' : undefined
  if (letters <= SHORT_LETTERS) return `has ${letters === 1 ? 'one letter' : 'two letters'} only`
  if (!isWholeWord && letters <= SHORT_PART_LETTERS) return 'is short, and is found inside longer words'
  return undefined
}
