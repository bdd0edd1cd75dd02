/** A search index in memory that can be held, for tests of what happens around it. */
import { and, asc, eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import type { Findable } from '#knowledge/passages.ts'
import type { Store } from '#store/store.ts'

export interface FakeIndex extends Findable {
  /** The embedding model; null for words alone. */
  model: string | null
  /** The next call of `add` waits until the gate is opened, or its signal aborts. */
  hold(): { reached: Promise<void>; open(): void }
  /** What a search by the rules of the tables would find, in the order of documents. */
  findable(baseId: string): Promise<string[]>
  /** How many chunks have a vector of this model. */
  embedded(model: string): number
  /** How many chunks it knows. */
  size(): number
}

export function createFakeIndex(store: Store): FakeIndex {
  const known = new Map<number, { baseId: string; generation: number; documentId: string; text: string }>()
  const vectors = new Map<string, Set<number>>()
  let gate: { reach: () => void; opened: Promise<void> } | undefined
  const { knowledgeBases: bases, knowledgeDocuments: documents, knowledgeChunks: chunks } = store.t

  async function pass(signal: AbortSignal): Promise<void> {
    if (gate === undefined) return
    const { reach, opened } = gate
    reach()
    const aborted = new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(new AppError('cancelled', 'Stopped')))
    })
    await Promise.race([opened, aborted])
  }
  const embed = (ids: readonly number[]) => {
    if (index.model === null) return null
    const own = vectors.get(index.model) ?? new Set()
    for (const id of ids) own.add(id)
    vectors.set(index.model, own)
    return index.model
  }
  const forget = (isGone: (of: { baseId: string; generation: number; documentId: string }) => boolean) => {
    for (const [id, chunk] of known) if (isGone(chunk)) known.delete(id)
  }

  const index: FakeIndex = {
    model: null,
    get hasMeaning() {
      return index.model !== null
    },
    async add(scope, added, { signal, onEmbedded }) {
      await pass(signal)
      for (const { id, documentId, text } of added) known.set(id, { ...scope, documentId, text })
      const fingerprint = embed(added.map(({ id }) => id))
      if (fingerprint !== null) onEmbedded?.(added.length, added.length)
      return { fingerprint, lexicalOnly: [] }
    },
    async removeDocument(documentId) {
      forget((chunk) => chunk.documentId === documentId)
      await Promise.resolve()
    },
    async removeScope(scope) {
      forget((chunk) => chunk.baseId === scope.baseId && chunk.generation === scope.generation)
      await Promise.resolve()
    },
    async embedBase(baseId) {
      const ids = [...known].filter(([, chunk]) => chunk.baseId === baseId).map(([id]) => id)
      return Promise.resolve({ fingerprint: embed(ids), lexicalOnly: [] })
    },
    forgetOtherVectors: () => Promise.resolve(),
    embeddings: { fingerprint: () => Promise.resolve(index.model) },
    hold() {
      let reach: () => void = () => undefined
      let open: () => void = () => undefined
      const reached = new Promise<void>((resolve) => (reach = resolve))
      const opened = new Promise<void>((resolve) => (open = resolve))
      gate = { reach, opened }
      return {
        reached,
        open() {
          gate = undefined
          open()
        },
      }
    },
    async findable(baseId) {
      const rows = await store.db
        .select({ id: chunks.id })
        .from(chunks)
        .innerJoin(documents, and(eq(documents.id, chunks.documentId), eq(documents.state, 'ready')))
        .innerJoin(bases, and(eq(bases.id, chunks.baseId), eq(bases.generation, chunks.generation)))
        .where(and(eq(chunks.baseId, baseId), eq(chunks.isDisabled, false)))
        .orderBy(asc(chunks.documentId), asc(chunks.number))
      return rows.flatMap(({ id }) => known.get(id)?.text ?? [])
    },
    embedded: (model) => vectors.get(model)?.size ?? 0,
    size: () => known.size,
  }
  return index
}
