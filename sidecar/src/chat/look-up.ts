/** What a character's documents say to the last message. Never holds up a turn for long, and never fails it. */
import { settingsOf } from '#characters/settings.ts'
import {
  labelOf,
  type Passage as Piece,
  type Retrieval,
  type RetrievalTrace,
  type WholeDocument,
} from '#knowledge/retrieval.ts'
import { messageText, type Ask } from '#prompt/ask.ts'
import { roomForDocuments, roomForPassages } from '#prompt/compose.ts'
import { foreignContext } from '#prompt/foreign-context.ts'
import type { Knowledge, Passage } from '#prompt/passages.ts'
import type { Materials, ModelProfile } from '#prompt/prompt.ts'

import type { GuestSources } from './guest-sources.ts'

export interface SourceParts {
  /** The bases that a character may look into. Answers at once: every turn asks. */
  basesOf: (characterId: string) => readonly string[]
  retrieval: Pick<Retrieval, 'retrieve'>
  guests: GuestSources
}

export interface Looked {
  knowledge: Knowledge
  /** How it was found; absent where nothing had to be searched. */
  trace?: RetrievalTrace
}

/** About 1,500 tokens of English: more helps recall little and small models less. */
export const MOST_CHARACTERS = 6_000

/** Undefined for a character without documents, and where they say nothing to it. */
export async function lookUp(
  ask: Pick<Ask, 'messages' | 'sampling'>,
  materials: Materials,
  profile: ModelProfile,
  { basesOf, retrieval, guests }: SourceParts,
): Promise<Looked | undefined> {
  const { card, characterId } = materials.speaker
  const { sources } = settingsOf(card)
  const baseIds = basesOf(characterId)
  if (baseIds.length === 0 && sources.length === 0) return undefined
  const foreign = foreignContext(ask.messages)
  // Documents that stand there always are told before what changes; beside others they would be numbered anew each turn.
  const isAlone = sources.length === 0 && foreign.labels.size === 0
  const question = {
    ...{ text: foreign.words, ...previousWords(ask), baseIds },
    ...{ budgetCharacters: MOST_CHARACTERS, budgetTokens: roomForPassages(ask, profile) },
    ...(isAlone && { wholeTokens: roomForDocuments(ask, materials, profile) }),
  }
  const [own, brought] = await Promise.all([
    baseIds.length === 0 ? undefined : retrieval.retrieve(question),
    guests.ask(sources, question),
  ])
  if (own?.whole !== undefined) {
    return { knowledge: { passages: numbered(own.whole.map(ofWhole), foreign.labels), isWhole: true } }
  }
  const found: Found[] = [...(own?.passages ?? []).map(ofPiece), ...brought]
  const isKnown = ({ text }: Found) => isIn(foreign.text, text)
  // Those that are left out come last: a number that no source has would shift all later ones.
  const fresh = found.filter((each) => !isKnown(each))
  const passages = numbered([...fresh, ...found.filter(isKnown)], foreign.labels)
  const knowledge = {
    passages: passages.slice(0, fresh.length),
    twice: passages.slice(fresh.length),
    isWhole: false,
  }
  return { knowledge, ...(own !== undefined && { trace: own.trace }) }
}

type Found = Omit<Passage, 'reference'>

const ofPiece = (piece: Piece): Found => ({
  documentId: piece.documentId,
  label: labelOf(piece),
  text: piece.text,
  page: piece.page,
  similarity: piece.similarity,
  chunkIds: piece.chunkIds,
})

const ofWhole = (document: WholeDocument): Found => ({
  documentId: document.documentId,
  label: labelOf({ page: null, ...document }),
  text: document.text,
  ...{ page: null, similarity: null, chunkIds: [] },
})

/** Open WebUI counts labels and groups by source: two passages of one page need two labels, or all later numbers would be wrong. */
function numbered(found: readonly Found[], taken: ReadonlySet<string>): Passage[] {
  const seen = new Map([...taken].map((label) => [label, 1]))
  return found.map((each, at) => {
    const times = (seen.get(each.label) ?? 0) + 1
    seen.set(each.label, times)
    const label = times === 1 ? each.label : `${each.label} (${String(times)})`
    return { ...each, label, reference: taken.size + at + 1 }
  })
}

/** The question before, for one that leans on it. */
function previousWords({ messages }: Pick<Ask, 'messages'>): { previous?: string } {
  const asked = messages.filter(({ role }) => role === 'user')
  const before = asked.at(-2)
  return before === undefined ? {} : { previous: messageText(before) }
}

/** Enough of a passage to know it again in another's words around it. */
const KNOWN_BY_CHARACTERS = 120

function isIn(foreign: string, text: string): boolean {
  if (foreign === '') return false
  const squeezed = squeeze(text)
  const middle = Math.max(0, Math.floor((squeezed.length - KNOWN_BY_CHARACTERS) / 2))
  return squeeze(foreign).includes(squeezed.slice(middle, middle + KNOWN_BY_CHARACTERS))
}

const squeeze = (text: string): string => text.replaceAll(/\s+/g, ' ').trim()
