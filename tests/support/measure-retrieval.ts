/** Runs the questions of a set through the whole retrieval, and measures words, meaning and both together. */
import { and, eq } from 'drizzle-orm'

import type { KnowledgeSearch } from '#knowledge/open.ts'
import type { Retrieved, RetrievalTrace } from '#knowledge/retrieval.ts'
import { queryWords } from '#rag/words.mjs'
import type { Store } from '#store/store.ts'

import type { CutSet } from './chunking-set.ts'
import { measureRankings, type Measured, type RetrievalSet } from './retrieval-sets.ts'
import { sampleBase, sampleChunk, sampleDocument } from './sample-knowledge.ts'

export interface MeasuredRetrieval {
  words: Measured
  meaning: Measured
  both: Measured
  /** Share of the questions that the gate lets through. */
  passed: number
}

/** Longest wait for each question: here quality is measured, not time. */
const DEADLINE_MS = 600_000

interface Piece {
  documentId: string
  header: string
  text: string
  startOffset?: number
  endOffset?: number
}

/** A base with a document of one piece for each of the set's. Answers which of them each row of a piece is. */
export async function addSet(
  on: { store: Store; search: KnowledgeSearch },
  name: string,
  { documents }: RetrievalSet,
): Promise<ReadonlyMap<number, string>> {
  const pieces = documents.map(({ title, text }) => ({ documentId: name, header: title, text }))
  const rows = await addPieces(on, name, pieces)
  return new Map(rows.map(({ id, number }) => [id, documents[number]?.id ?? '']))
}

/** A base of these pieces, numbered from 0; rows that are there already are kept. */
export async function addPieces(
  { store, search }: { store: Store; search: KnowledgeSearch },
  name: string,
  pieces: readonly Piece[],
) {
  const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
  const [known] = await store.db.select().from(knowledgeBases).where(eq(knowledgeBases.id, name))
  if (known === undefined) {
    const rows = pieces.map((piece, number) => sampleChunk({ baseId: name, number, ...piece }))
    const documents = [...new Set(pieces.map(({ documentId }) => documentId))]
    await store.db.insert(knowledgeBases).values(sampleBase(name))
    await store.db.insert(knowledgeDocuments).values(documents.map((id) => sampleDocument(id, name)))
    for (let start = 0; start < rows.length; start += 500)
      await store.db.insert(knowledgeChunks).values(rows.slice(start, start + 500))
  }
  const rows = await store.db
    .select()
    .from(knowledgeChunks)
    .where(and(eq(knowledgeChunks.baseId, name), eq(knowledgeChunks.generation, 1)))
  const signal = new AbortController().signal
  const { fingerprint } = await search.index.add({ baseId: name, generation: 1 }, rows, { signal })
  await store.db.update(knowledgeBases).set({ fingerprint }).where(eq(knowledgeBases.id, name))
  return rows
}

export async function measureRetrieval(
  search: KnowledgeSearch,
  name: string,
  { set, ids }: { set: RetrievalSet; ids: ReadonlyMap<number, string> },
): Promise<MeasuredRetrieval> {
  await search.calibrate([name], new AbortController().signal)
  const traces: RetrievalTrace[] = []
  for (const { text } of set.queries) traces.push(await traceOf(search, name, text))
  const ranked = (place: (piece: RetrievalTrace['pieces'][number], index: number) => number | undefined) =>
    measureRankings(
      set.queries,
      traces.map(({ pieces }) =>
        pieces
          .flatMap((piece, index) => {
            const at = place(piece, index)
            return at === undefined ? [] : [{ id: ids.get(piece.id) ?? '', at }]
          })
          .sort((a, b) => a.at - b.at)
          .map(({ id }) => id),
      ),
    )
  const byWords: string[][] = []
  for (const { text } of set.queries) {
    const scopes = [{ baseId: name, generation: 1 }]
    const { hits } = await search.index.lexical.search({ scopes, words: queryWords(text), limit: 10 })
    byWords.push(hits.map(({ id }) => ids.get(id) ?? ''))
  }
  return {
    // Asked directly: the account of a search ends before the ranking of its words does.
    words: measureRankings(set.queries, byWords),
    meaning: ranked(({ meaning }) => meaning?.place),
    both: ranked((_, index) => index),
    passed: traces.filter(({ gate }) => gate?.passes === true).length / traces.length,
  }
}

/** Share of the texts that the gate lets through. */
export async function shareThatPasses(
  search: KnowledgeSearch,
  name: string,
  texts: readonly string[],
): Promise<number> {
  let passed = 0
  for (const text of texts) if ((await traceOf(search, name, text)).gate?.passes === true) passed++
  return passed / texts.length
}

/** Mean share of what answers that the passages of each question hold. */
export async function measureRecall(
  search: KnowledgeSearch,
  name: string,
  { queries, recallOf }: CutSet,
): Promise<number> {
  await search.calibrate([name], new AbortController().signal)
  let sum = 0
  for (const query of queries) sum += recallOf(query, (await answerOf(search, name, query.text)).passages)
  return sum / queries.length
}

const traceOf = async (search: KnowledgeSearch, name: string, text: string): Promise<RetrievalTrace> =>
  (await answerOf(search, name, text)).trace

async function answerOf(search: KnowledgeSearch, name: string, text: string): Promise<Retrieved> {
  const found = await search.retrieve({ text, baseIds: [name], deadlineMs: DEADLINE_MS })
  const failed = found.trace.notes.find(({ code }) => code !== 'unreadable')
  if (failed !== undefined)
    throw new Error(`Nothing is measured where something fails: ${JSON.stringify(failed)}`)
  return found
}
