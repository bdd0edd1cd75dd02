/** What a character's documents say to the last message. Never holds up a turn for long, and never fails it. */
import type { Passage as Piece, Retrieval, RetrievalTrace, WholeDocument } from '#knowledge/retrieval.ts'
import { messageText, type Ask } from '#prompt/ask.ts'
import { shareContext } from '#prompt/budget.ts'
import { foreignContext } from '#prompt/foreign-context.ts'
import { PASSAGE_SHARE, type Knowledge, type Passage } from '#prompt/passages.ts'
import type { ModelProfile } from '#prompt/prompt.ts'

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

/** About what a token of prose is long, in characters. Passages that turn out longer are dropped when the prompt is composed. */
const CHARACTERS_PER_TOKEN = 4
/** About 1,500 tokens: more helps recall little and small models less. */
const MOST_CHARACTERS = 6_000

/** Undefined for a character without documents, and where they say nothing to it. */
export async function lookUp(
  ask: Pick<Ask, 'messages' | 'sampling'>,
  character: { id: string; sources: readonly string[] },
  profile: ModelProfile,
  { basesOf, retrieval, guests }: SourceParts,
): Promise<Looked | undefined> {
  const baseIds = basesOf(character.id)
  if (baseIds.length === 0 && character.sources.length === 0) return undefined
  const foreign = foreignContext(ask.messages)
  const { promptTokens } = shareContext(profile, ask.sampling.maxTokens)
  const budgetCharacters = Math.min(
    MOST_CHARACTERS,
    Math.floor(promptTokens * PASSAGE_SHARE * CHARACTERS_PER_TOKEN),
  )
  // Documents that stand there always are told before what changes; beside others they would be numbered anew each turn.
  const isAlone = character.sources.length === 0 && foreign.labels.size === 0
  const question = { text: foreign.words, ...previousWords(ask), baseIds, budgetCharacters }
  const [own, brought] = await Promise.all([
    baseIds.length === 0 ? undefined : retrieval.retrieve({ ...question, mayBeWhole: isAlone }),
    guests.ask(character.sources, question),
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
  label: document.documentTitle || document.documentName,
  text: document.text,
  ...{ page: null, similarity: null, chunkIds: [] },
})

function labelOf({ documentTitle, documentName, page }: Piece): string {
  const title = documentTitle || documentName
  return page === null ? title : `${title}, page ${String(page)}`
}

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
