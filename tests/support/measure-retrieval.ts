/** Runs the questions of a set through the whole retrieval, and measures words, meaning and both together. */
import { and, eq } from 'drizzle-orm'

import type { KnowledgeSearch } from '#knowledge/open.ts'
import type { RetrievalTrace } from '#knowledge/retrieve.ts'
import type { Store } from '#store/store.ts'

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

/** A base with a document of one piece for each of the set's; rows that are there already are kept. */
export async function addSet(
  { store, search }: { store: Store; search: KnowledgeSearch },
  name: string,
  { documents }: RetrievalSet,
): Promise<ReadonlyMap<number, string>> {
  const { knowledgeBases, knowledgeDocuments, knowledgeChunks } = store.t
  const [known] = await store.db.select().from(knowledgeBases).where(eq(knowledgeBases.id, name))
  if (known === undefined) {
    const rows = documents.map(({ title, text }, number) =>
      sampleChunk({ baseId: name, documentId: name, number, header: title, text }),
    )
    await store.db.insert(knowledgeBases).values(sampleBase(name))
    await store.db.insert(knowledgeDocuments).values(sampleDocument(name, name))
    for (let start = 0; start < rows.length; start += 500)
      await store.db.insert(knowledgeChunks).values(rows.slice(start, start + 500))
  }
  const pieces = await store.db
    .select()
    .from(knowledgeChunks)
    .where(and(eq(knowledgeChunks.baseId, name), eq(knowledgeChunks.generation, 1)))
  const signal = new AbortController().signal
  const { fingerprint } = await search.index.add({ baseId: name, generation: 1 }, pieces, { signal })
  await store.db.update(knowledgeBases).set({ fingerprint }).where(eq(knowledgeBases.id, name))
  return new Map(pieces.map(({ id, number }) => [id, documents[number]?.id ?? '']))
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
  return {
    words: ranked(({ words }) => words?.place),
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

async function traceOf(search: KnowledgeSearch, name: string, text: string): Promise<RetrievalTrace> {
  const { trace } = await search.retrieve({ text, baseIds: [name], deadlineMs: DEADLINE_MS })
  const failed = trace.notes.find(({ code }) => code !== 'unreadable')
  if (failed !== undefined)
    throw new Error(`Nothing is measured where something fails: ${JSON.stringify(failed)}`)
  return trace
}
