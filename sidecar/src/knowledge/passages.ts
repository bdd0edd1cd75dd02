/**
 * The passages of a document in one generation of its base. They are written from the last to the first, in commits of a
 * few: the first one says that all are there, whenever the process ended.
 */
import { and, asc, eq, gt, inArray, isNotNull, or } from 'drizzle-orm'

import { textHashOf } from '#rag/embedding-input.ts'
import type { Chunk } from '#rag/document.ts'
import type { Scope } from '#rag/scope.ts'
import type { Store } from '#store/store.ts'

import type { Embeddings, Piece } from './embeddings.ts'
import type { SearchIndex } from './search-index.ts'

/** What the way to being found needs of the index. */
export type Findable = Pick<
  SearchIndex,
  'hasMeaning' | 'add' | 'removeDocument' | 'removeScope' | 'embedBase' | 'forgetOtherVectors'
> & { embeddings: Pick<Embeddings, 'fingerprint'> }

/** One commit; with its text about 60 KB. */
const ROWS_PER_WRITE = 50
const ROWS_PER_READ = 128

export interface Place extends Scope {
  documentId: string
}

type Row = Store['t']['knowledgeChunks']['$inferSelect']

export interface Passages {
  areWhole(place: Place): Promise<boolean>
  /** What was written before and is not whole is replaced. Answers how many edits of `kept` found no place any more. */
  write(place: Place, chunks: readonly Chunk[], kept?: Kept): Promise<{ lostEdits: number }>
  /** In the order of the document, a few at a time: a long one would hold up the event loop. */
  pages(place: Place): AsyncGenerator<Piece[], void>
  /** What somebody changed in a generation, to be carried into the next. */
  edits(place: Place): Promise<Kept>
  /** As they are, for a document whose file is gone. */
  copy(from: Place, generation: number): Promise<void>
  /** A few at a time, so that nobody waits for it. */
  delete(of: { documentId: string } | Scope): Promise<void>
}

/** Changed passages of an older generation. */
export type Kept = readonly Row[]

export function createPassages(store: Store): Passages {
  const { knowledgeChunks: rows } = store.t
  const at = ({ documentId, generation }: Place) =>
    and(eq(rows.documentId, documentId), eq(rows.generation, generation))

  async function deleteWhere(condition: ReturnType<typeof and>): Promise<void> {
    for (;;) {
      const some = await store.db.select({ id: rows.id }).from(rows).where(condition).limit(ROWS_PER_WRITE)
      if (some.length === 0) return
      const ids = some.map(({ id }) => id)
      await store.atomically((db) => [db.delete(rows).where(inArray(rows.id, ids))])
    }
  }

  return {
    async areWhole(place) {
      const first = await store.db
        .select({ id: rows.id })
        .from(rows)
        .where(and(at(place), eq(rows.number, 0)))
      return first.length > 0
    },
    async write(place, chunks, kept = []) {
      await deleteWhere(at(place))
      const toRow = createRows(place, kept)
      for (let end = chunks.length; end > 0; end -= ROWS_PER_WRITE)
        await store.append([
          {
            table: rows,
            rows: chunks
              .slice(Math.max(0, end - ROWS_PER_WRITE), end)
              .reverse()
              .map(toRow.of),
          },
        ])
      return { lostEdits: toRow.lostEdits() }
    },
    async *pages(place) {
      const { id, documentId, header, text, textHash, number } = rows
      for (let after = -1; ;) {
        const page = await store.db
          .select({ id, documentId, header, text, textHash, number })
          .from(rows)
          .where(and(at(place), gt(number, after)))
          .orderBy(asc(number))
          .limit(ROWS_PER_READ)
        if (page.length > 0) yield page
        if (page.length < ROWS_PER_READ) return
        after = page.at(-1)?.number ?? after
      }
    },
    edits: (place) =>
      store.db
        .select()
        .from(rows)
        .where(and(at(place), or(eq(rows.isDisabled, true), isNotNull(rows.originalText)))),
    async copy(from, generation) {
      const old = await store.db.select().from(rows).where(at(from)).orderBy(asc(rows.number))
      const copies = old.map(({ id: _id, ...row }) => ({ ...row, generation }))
      for (let end = copies.length; end > 0; end -= ROWS_PER_WRITE)
        await store.append([
          { table: rows, rows: copies.slice(Math.max(0, end - ROWS_PER_WRITE), end).reverse() },
        ])
    },
    delete: (of) =>
      deleteWhere(
        'documentId' in of
          ? eq(rows.documentId, of.documentId)
          : and(eq(rows.baseId, of.baseId), eq(rows.generation, of.generation)),
      ),
  }
}

type NewRow = Store['t']['knowledgeChunks']['$inferInsert']

function createRows(place: Place, kept: Kept) {
  const edited = new Map(kept.map((row) => [row.originalText ?? row.text, row]))
  const disabled = kept.filter((row) => row.isDisabled)
  const used = new Set<Row>()
  return {
    of(chunk: Chunk): NewRow {
      const before = edited.get(chunk.text)
      if (before !== undefined) used.add(before)
      const text = before?.text ?? chunk.text
      return {
        ...place,
        ...{ number: chunk.ordinal, header: chunk.header, page: chunk.page, text },
        ...{ startOffset: chunk.charStart, endOffset: chunk.charEnd },
        textHash: textHashOf({ header: chunk.header, text }),
        // What somebody took out does not come back because it is cut otherwise now.
        isDisabled: before?.isDisabled ?? disabled.some((row) => coversMuch(row, chunk)),
        originalText: before?.originalText ?? null,
        editedBy: before?.editedBy ?? null,
        editedAtMs: before?.editedAtMs ?? null,
      }
    },
    lostEdits: () => kept.filter((row) => row.originalText !== null && !used.has(row)).length,
  }
}

/** More than the overlap of two passages that stand beside each other. */
const MUCH = 0.3

function coversMuch(row: Row, chunk: Chunk): boolean {
  const common = Math.min(row.endOffset, chunk.charEnd) - Math.max(row.startOffset, chunk.charStart)
  return common > MUCH * Math.min(row.endOffset - row.startOffset, chunk.charEnd - chunk.charStart)
}
