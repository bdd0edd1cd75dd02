/** From ranked pieces to the passages of a prompt: nothing twice, not everything from one document, neighbours joined, within a budget. */

export interface RankedPiece {
  id: number
  baseId: string
  documentId: string
  /** Place in its document. */
  number: number
  text: string
  header: string
  page: number | null
  startOffset: number
  endOffset: number
  /** Larger is better. */
  score: number
  /** Cosine; null where only its words were compared. */
  similarity: number | null
}

/** A stretch of a document: one piece, or several that follow each other. */
export interface Stretch {
  /** In the order of the document. */
  ids: readonly number[]
  baseId: string
  documentId: string
  text: string
  /** Those of the first piece. */
  header: string
  page: number | null
  startOffset: number
  endOffset: number
  /** The best of its pieces'. */
  score: number
  similarity: number | null
}

export type Fate = 'used' | 'duplicate' | 'budget'

export interface ArrangeBudget<P extends RankedPiece = RankedPiece> {
  /** Of the texts. */
  characters: number
  /** Of what a piece costs by itself: in some scripts a letter is a token, in others a word is. Neighbours cost less together. */
  tokens?: { most: number; of: (piece: P) => number }
}

export interface Arranged {
  /** Best first. */
  stretches: readonly Stretch[]
  fates: ReadonlyMap<number, Fate>
}

/** Pieces of a document that come in before those of others are preferred. */
const PER_DOCUMENT = 3
/** What each further piece of the document still counts: it yields to one that is nearly as good. Less shuts out what answers. */
const FURTHER = 0.97
/** Shared words of two pieces, of all words of both, from which on they say the same. */
const SAME = 0.85

/** The pieces come best first. The best of all is chosen whatever its length: half an answer is better than the next best text. */
export function arrange<P extends RankedPiece>(pieces: readonly P[], budget: ArrangeBudget<P>): Arranged {
  const fates = new Map<number, Fate>()
  const chosen: P[] = []
  const seen: Set<string>[] = []
  let [characters, tokens] = [0, 0]
  for (const piece of spread(pieces)) {
    const words = new Set(marksOf(piece.text))
    const cost = budget.tokens?.of(piece) ?? 0
    const isTooMuch =
      characters + piece.text.length > budget.characters || tokens + cost > (budget.tokens?.most ?? Infinity)
    if (seen.some((other) => share(words, other) > SAME)) fates.set(piece.id, 'duplicate')
    else if (isTooMuch && chosen.length > 0) fates.set(piece.id, 'budget')
    else {
      fates.set(piece.id, 'used')
      chosen.push(piece)
      seen.push(words)
      characters += piece.text.length
      tokens += cost
    }
  }
  return { stretches: join(chosen), fates }
}

/** Further pieces of a document step back behind those of others, but are not shut out: often one document has it all. */
function spread<P extends RankedPiece>(pieces: readonly P[]): P[] {
  const perDocument = new Map<string, number>()
  const weighed = pieces.map((piece) => {
    const before = perDocument.get(piece.documentId) ?? 0
    perDocument.set(piece.documentId, before + 1)
    return { piece, weight: piece.score * FURTHER ** Math.max(0, before + 1 - PER_DOCUMENT) }
  })
  return weighed.sort((a, b) => b.weight - a.weight || a.piece.id - b.piece.id).map(({ piece }) => piece)
}

/** Words where there are spaces, pairs of characters where there are none. */
function marksOf(text: string): string[] {
  const words = text.split(/\s+/)
  if (words.length > text.length / 20) return words
  return [...text].map((character, index, all) => character + (all[index + 1] ?? ''))
}

function share(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let both = 0
  for (const word of a) if (b.has(word)) both++
  return both / (a.size + b.size - both)
}

function join(chosen: readonly RankedPiece[]): Stretch[] {
  const inOrder = chosen.toSorted(
    (a, b) => (a.documentId < b.documentId ? -1 : a.documentId > b.documentId ? 1 : 0) || a.number - b.number,
  )
  const stretches: { stretch: Stretch; last: RankedPiece }[] = []
  for (const piece of inOrder) {
    const before = stretches.at(-1)
    if (before?.last.documentId === piece.documentId && before.last.number + 1 === piece.number) {
      before.stretch = glued(before.stretch, before.last, piece)
      before.last = piece
    } else {
      const { id, ...rest } = piece
      stretches.push({ stretch: { ...rest, ids: [id] }, last: piece })
    }
  }
  return stretches.map(({ stretch }) => stretch).sort((a, b) => b.score - a.score)
}

function glued(stretch: Stretch, last: RankedPiece, next: RankedPiece): Stretch {
  return {
    ...stretch,
    ids: [...stretch.ids, next.id],
    text: continued(stretch.text, next.text, last.endOffset - next.startOffset),
    endOffset: next.endOffset,
    score: Math.max(stretch.score, next.score),
    similarity: largest(stretch.similarity, next.similarity),
  }
}

/** Without what both have: the overlap, if the texts still are what was cut. */
export function continued(text: string, next: string, overlap: number): string {
  if (overlap > 0 && text.endsWith(next.slice(0, overlap))) return text + next.slice(overlap)
  return `${text}\n${next}`
}

const largest = (a: number | null, b: number | null) => (a === null ? b : b === null ? a : Math.max(a, b))
