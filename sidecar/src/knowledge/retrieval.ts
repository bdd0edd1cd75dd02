/** What a turn is answered from the documents, and the account of how that was found. */
import type { Fate, RankedPiece, Stretch } from '#rag/arrange.ts'
import type { Verdict } from '#rag/gate.ts'

export interface Question {
  /** The last message of the person. */
  text: string
  /** The message of the person before, which the last may lean on. */
  previous?: string
  /** What the character may look into: nothing else is ever answered. */
  baseIds: readonly string[]
  /** Of the texts of all passages together. */
  budgetCharacters?: number
  /** Of what they cost in the prompt (`passageTokens`); without it characters alone count. The best may be longer by itself. */
  budgetTokens?: number
  /** How long the turn waits for everything but a reranker; what is late is left out. Milliseconds. */
  deadlineMs?: number
  /**
   * Bases that cost no more than this, and fit into the budget's characters, are answered whole and not searched, unless one of
   * them does not allow it. Absent: all are searched.
   */
  wholeTokens?: number
}

export interface Passage extends Omit<Stretch, 'ids'> {
  chunkIds: readonly number[]
  documentName: string
  documentTitle: string
}

/** Where it stands, for people. */
export function labelOf({
  documentTitle,
  documentName,
  page,
}: Pick<Passage, 'documentTitle' | 'documentName'> & { page: number | null }): string {
  const title = documentTitle || documentName
  return page === null ? title : `${title}, page ${String(page)}`
}

/** What a person should know of a search that went less well than it could. */
export type RetrievalNote =
  | { code: 'late'; what: 'words' | 'meaning' | 'rerank' | 'passages' }
  | { code: 'unavailable'; what: 'words' | 'meaning' | 'rerank' | 'passages'; message: string }
  | { code: 'unreadable'; what: 'meaning' }

export interface TracedPiece {
  id: number
  documentId: string
  documentName: string
  /**
   * BM25 and place among the words' hits, from 1, of the message itself, or where that did not find it of the message with the
   * one before; null where neither did.
   */
  words: { score: number; place: number } | null
  /** The same of the nearest pieces, by the model of its base. */
  meaning: { similarity: number; place: number } | null
  score: number
  fate: PieceFate
}

/**
 * `gate`: the turn asks for nothing; `far`: others answer, and this one hardly has to do with it; `behind`: it has to do with it,
 * and so many do so more that it was not looked at.
 */
export type PieceFate = Fate | 'gate' | 'far' | 'behind'

export interface RetrievalTrace {
  lookups: readonly { text: string; words: readonly string[]; weight: number }[]
  bases: readonly string[]
  /** What was asked for the meaning; null for words alone. */
  store: string | null
  gate: (Verdict & { similarity: number | null; floor: number | null }) | null
  pieces: readonly TracedPiece[]
  notes: readonly RetrievalNote[]
  isCached: boolean
  milliseconds: { words: number; meaning: number; rerank: number; total: number }
}

export interface Retrieved {
  /** Best first; none for small talk. */
  passages: readonly Passage[]
  trace: RetrievalTrace
  /**
   * Every text of the bases, in a fixed order, instead of passages: it is then found without fail, and always the same, so that
   * the model reads it once.
   */
  whole?: readonly WholeDocument[]
}

export interface WholeDocument {
  baseId: string
  documentId: string
  documentName: string
  documentTitle: string
  text: string
}

export interface Retrieval {
  retrieve(question: Question, signal?: AbortSignal): Promise<Retrieved>
  /** Learns how near small talk comes to the bases, of all or of those; otherwise that is learnt beside the first turn. */
  calibrate(baseIds: readonly string[] | undefined, signal: AbortSignal): Promise<void>
}

/** A row of the database with what the searches say of it. */
export interface FoundPiece extends RankedPiece {
  documentName: string
  documentTitle: string
}

/** In the order of the ranking. */
export function traced(
  pieces: readonly FoundPiece[],
  on: {
    words: ReadonlyMap<number, { score: number; place: number }>
    meaning: ReadonlyMap<number, { similarity: number; place: number }>
    /** Of every piece. */
    fates: ReadonlyMap<number, PieceFate>
  },
): TracedPiece[] {
  return pieces.map(({ id, documentId, documentName, score }) => {
    const [word, near] = [on.words.get(id), on.meaning.get(id)]
    return {
      ...{ id, documentId, documentName, score },
      words: word === undefined ? null : { score: word.score, place: word.place },
      meaning: near === undefined ? null : { similarity: near.similarity, place: near.place },
      fate: on.fates.get(id) ?? 'behind',
    }
  })
}

export function nothingFrom(notes: readonly RetrievalNote[]): Retrieved {
  const milliseconds = { words: 0, meaning: 0, rerank: 0, total: 0 }
  return {
    passages: [],
    trace: {
      lookups: [],
      bases: [],
      store: null,
      gate: null,
      pieces: [],
      notes,
      isCached: false,
      milliseconds,
    },
  }
}
