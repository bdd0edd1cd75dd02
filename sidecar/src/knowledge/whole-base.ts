/** Bases that fit into a prompt as they are. */
import { and, eq, sql, type SQL } from 'drizzle-orm'

import { passageTokens } from '#prompt/passages.ts'
import { continued } from '#rag/arrange.ts'
import type { Store } from '#store/store.ts'

import { labelOf, type WholeDocument } from './retrieval.ts'

interface Whole {
  characters: number
  /** Absent where they were too long for everybody so far. */
  texts?: { documents: readonly WholeDocument[]; tokens: number }
}

interface Room {
  /** Of the texts. */
  characters: number
  /** Of what they cost in the prompt: see `passageTokens`. */
  tokens: number
}

interface Base {
  id: string
  generation: number
  revision: number
}

/** Combinations of bases whose sizes, and texts where they are short, are remembered. */
const KEPT = 200

export interface WholeBases {
  /** Every text of the bases; undefined where it is too long. Their sizes are known until something in them changes. */
  of(bases: readonly Base[], most: Room): Promise<readonly WholeDocument[] | undefined>
}

export function createWholeBases({ db, t }: Store): WholeBases {
  const { knowledgeChunks: chunk, knowledgeDocuments } = t
  const wholes = new Map<string, Whole>()

  function keep(key: string, whole: Whole): void {
    wholes.set(key, whole)
    const [oldest] = wholes.keys()
    if (wholes.size > KEPT && oldest !== undefined) wholes.delete(oldest)
  }

  /** The overlaps are counted twice: a base that hardly fits is searched instead. */
  async function charactersOf(answering: SQL | undefined): Promise<number> {
    const sums = await db
      .select({ characters: sql<number>`coalesce(sum(length(${chunk.text})), 0)`.mapWith(Number) })
      .from(chunk)
      .innerJoin(knowledgeDocuments, eq(knowledgeDocuments.id, chunk.documentId))
      .where(answering)
    return sums[0]?.characters ?? 0
  }

  return {
    async of(bases, most) {
      const key = JSON.stringify(bases.map(({ id, revision, generation }) => [id, revision, generation]))
      const known = wholes.get(key)
      const answering = and(
        sql`(${chunk.baseId}, ${chunk.generation}) in (${sql.join(
          bases.map(({ id, generation }) => sql`(${id}, ${generation})`),
          sql`, `,
        )})`,
        eq(chunk.isDisabled, false),
        eq(knowledgeDocuments.state, 'ready'),
      )
      const characters = known?.characters ?? (await charactersOf(answering))
      keep(key, { characters, ...known })
      if (characters === 0 || characters > most.characters) return undefined
      if (known?.texts !== undefined) return within(most, known.texts)
      const rows = await db
        .select({
          baseId: chunk.baseId,
          documentId: chunk.documentId,
          documentName: knowledgeDocuments.name,
          documentTitle: knowledgeDocuments.title,
          number: chunk.number,
          text: chunk.text,
          startOffset: chunk.startOffset,
          endOffset: chunk.endOffset,
        })
        .from(chunk)
        .innerJoin(knowledgeDocuments, eq(knowledgeDocuments.id, chunk.documentId))
        .where(answering)
        .orderBy(chunk.baseId, knowledgeDocuments.createdAtMs, chunk.documentId, chunk.number)
      const documents = wholeDocuments(rows)
      const texts = { documents, tokens: costOf(documents) }
      keep(key, { characters, texts })
      return within(most, texts)
    },
  }
}

const within = ({ tokens }: Room, texts: NonNullable<Whole['texts']>) =>
  texts.tokens <= tokens ? texts.documents : undefined

const costOf = (documents: readonly WholeDocument[]): number =>
  documents
    .map(({ text, ...document }) => passageTokens({ label: labelOf({ page: null, ...document }), text }))
    .reduce((sum, tokens) => sum + tokens, 0)

interface WholePiece extends WholeDocument {
  number: number
  startOffset: number
  endOffset: number
}

function wholeDocuments(pieces: readonly WholePiece[]): WholeDocument[] {
  const documents: { document: WholeDocument; last: WholePiece }[] = []
  for (const piece of pieces) {
    const { baseId, documentId, documentName, documentTitle, text } = piece
    const before = documents.at(-1)
    if (before?.document.documentId !== documentId) {
      documents.push({ document: { baseId, documentId, documentName, documentTitle, text }, last: piece })
      continue
    }
    const overlap = before.last.number + 1 === piece.number ? before.last.endOffset - piece.startOffset : 0
    before.document = { ...before.document, text: continued(before.document.text, text, overlap) }
    before.last = piece
  }
  return documents.map(({ document }) => document)
}
