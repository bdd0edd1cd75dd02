/** Documents of knowledge bases and their passages: added, looked at, stopped, corrected, deleted. */
import { and, asc, desc, eq, gt, inArray, ne, sql } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import { cleanText } from '#rag/clean.ts'
import { textHashOf } from '#rag/embedding-input.ts'
import { kindOfName, mediaTypeOf } from '#rag/kinds.ts'
import type { createAudit } from '#library/audit.ts'
import type { Store } from '#store/store.ts'

import type { Added, Documents, DocumentState, KnowledgeChunk, KnowledgeDocument } from './knowledge.ts'
import type { Originals } from './originals.ts'
import type { Findable, Passages } from './passages.ts'
import type { ProgressBoard } from './progress.ts'
import { isServerAway, type DocumentRow } from './reading.ts'
import type { ReadingQueue } from './reading-queue.ts'

export interface DocumentParts {
  store: Store
  audit: ReturnType<typeof createAudit>
  index: Findable
  originals: Originals
  passages: Passages
  board: ProgressBoard
  queue: () => ReadingQueue
  now: () => number
}

const PAGE = 100
/** Four times what the splitter makes: an embedding model would cut it. */
const LONGEST_CHUNK = 4_000
const LONGEST_NAME = 300

export interface OpenDocuments extends Documents {
  /** Its rows, its file, and what the index knows; idempotent. */
  remove(id: string): Promise<void>
  removeAll(baseId: string): Promise<void>
}

export function createDocuments(on: DocumentParts): OpenDocuments {
  const { store, now } = on
  const { knowledgeDocuments: documents, knowledgeBases: bases, knowledgeChunks: chunks } = store.t

  async function rowOf(id: string): Promise<DocumentRow> {
    const [row] = await store.db.select().from(documents).where(eq(documents.id, id))
    if (row === undefined || row.state === 'deleting')
      throw new AppError('not_found', 'There is no document with this id')
    return row
  }

  const present = (row: DocumentRow): KnowledgeDocument => ({
    ...{ id: row.id, baseId: row.baseId, file: row.name, title: row.title, mediaType: row.mediaType },
    ...{ sizeBytes: row.sizeBytes, sha256: row.originalHash, state: row.state as DocumentState },
    progress: on.board.of(row.id, row),
    ...{ failure: row.failure, notes: row.notes, addedBy: row.createdBy },
    ...{ createdAtMs: row.createdAtMs, updatedAtMs: row.updatedAtMs },
  })

  const raise = () => ({ revision: sql`${bases.revision} + 1`, updatedAtMs: now() })

  async function addOne(
    baseId: string,
    file: { name: string; bytes: AsyncIterable<Uint8Array> },
    actor: string,
  ): Promise<Added> {
    const name = nameOf(file.name)
    const { sha256, sizeBytes } = await on.originals.keep(name, file.bytes)
    const same = await store.db
      .select()
      .from(documents)
      .where(and(eq(documents.baseId, baseId), inArray(documents.state, ALIVE), sameAs(name, sha256)))
    const twin = same.find((row) => row.originalHash === sha256)
    if (twin !== undefined) return skipped(name, twin)
    const id = createId(now())
    const atMs = now()
    const row: typeof documents.$inferInsert = {
      ...{ id, baseId, name, title: name, mediaType: mediaTypeOf(kindOfName(name) ?? 'text') },
      ...{ sizeBytes, originalHash: sha256, state: 'waiting', pagesRead: 0, pagesTotal: null },
      ...{ chunksEmbedded: 0, chunksTotal: null, failure: null, notes: [] },
      ...{ createdBy: actor, createdAtMs: atMs, updatedAtMs: atMs },
    }
    const detail = { document: id, sha256, sizeBytes }
    await store.atomically((db) => [
      db.insert(documents).values(row),
      on.audit.row(db, { actor, action: 'import', target: `knowledge ${baseId}`, detail }),
    ])
    on.queue().wake()
    return { file: name, status: same.length > 0 ? 'updated' : 'created', id, notes: [] }
  }

  const sameAs = (name: string, sha256: string) =>
    sql`(${documents.name} = ${name} or ${documents.originalHash} = ${sha256})`

  async function remove(id: string): Promise<void> {
    const [row] = await store.db.select().from(documents).where(eq(documents.id, id))
    if (row === undefined) return
    await on.passages.delete({ documentId: id })
    await on.index.removeDocument(id)
    await store.db.delete(documents).where(eq(documents.id, id))
    const others = await store.db
      .select({ id: documents.id })
      .from(documents)
      .where(eq(documents.originalHash, row.originalHash))
      .limit(1)
    if (others.length === 0) await on.originals.drop(row.originalHash)
  }

  /** From this moment it answers nothing; the rest may take a while. */
  async function hide(row: DocumentRow, actor: string): Promise<void> {
    const detail = { document: row.id, sha256: row.originalHash }
    await store.atomically((db) => [
      db.update(documents).set({ state: 'deleting', updatedAtMs: now() }).where(eq(documents.id, row.id)),
      db.update(bases).set(raise()).where(eq(bases.id, row.baseId)),
      on.audit.row(db, { actor, action: 'delete_for_good', target: `knowledge ${row.baseId}`, detail }),
    ])
  }

  async function chunkOf(id: number) {
    const [row] = await store.db
      .select({ chunk: chunks })
      .from(chunks)
      .innerJoin(documents, and(eq(documents.id, chunks.documentId), ne(documents.state, 'deleting')))
      .where(eq(chunks.id, id))
    if (row === undefined)
      throw new AppError('not_found', 'There is no passage with this id; it was cut anew, perhaps')
    return row.chunk
  }

  /** By its words at once; when the embedding server is away, by its meaning later. */
  async function makeFindable({ baseId, generation, documentId }: ChunkRow, piece: ChunkRow): Promise<void> {
    const { signal } = new AbortController()
    try {
      await on.index.add({ baseId, generation }, [piece], { signal })
    } catch (thrown) {
      if (!isServerAway(thrown)) throw thrown
      await store.db
        .update(documents)
        .set({ chunksEmbedded: sql`${documents.chunksTotal} - 1` })
        .where(and(eq(documents.id, documentId), sql`${documents.chunksEmbedded} > 0`))
    }
  }

  return {
    remove,
    async add(baseId, file, { actor }) {
      try {
        return await addOne(baseId, file, actor)
      } catch (thrown) {
        const { code, message } = toAppError(thrown)
        if (code === 'unavailable' || code === 'internal') throw thrown
        return { file: file.name, status: 'failed', notes: [{ code, path: '', message }] }
      }
    },
    async list(baseId) {
      const rows = await store.db
        .select()
        .from(documents)
        .where(and(eq(documents.baseId, baseId), ne(documents.state, 'deleting')))
        .orderBy(asc(documents.id))
      return rows.map(present)
    },
    get: async (id) => present(await rowOf(id)),
    async original(id) {
      const { name, mediaType, originalHash } = await rowOf(id)
      if (!(await on.originals.isHere(originalHash)))
        throw new AppError('not_found', 'The file of this document is not on this machine; add it again')
      return { name, mediaType, file: on.originals.fileOf(originalHash) }
    },
    async delete(id, { actor }) {
      const row = await rowOf(id)
      await hide(row, actor)
      await on.queue().abort(id)
      await remove(id)
    },
    async stop(id) {
      const { state } = await rowOf(id)
      if (!WORKING.includes(state))
        throw new AppError('conflict', `The document is not at work: it is ${state}`)
      await store.db
        .update(documents)
        .set({ state: 'stopped', updatedAtMs: now() })
        .where(and(eq(documents.id, id), eq(documents.state, 'waiting')))
      await on.queue().abort(id)
      return present(await rowOf(id))
    },
    async retry(id, { actor }) {
      const row = await rowOf(id)
      if (row.state !== 'stopped' && row.state !== 'failed')
        throw new AppError(
          'conflict',
          `Only a stopped or failed document can be tried again; this one is ${row.state}`,
        )
      if (!(await on.originals.isHere(row.originalHash)))
        throw new AppError('conflict', 'The file of this document is not on this machine; add it again')
      const detail = { document: id, retried: true }
      await store.atomically((db) => [
        db
          .update(documents)
          .set({ state: 'waiting', failure: null, updatedAtMs: now() })
          .where(eq(documents.id, id)),
        on.audit.row(db, { actor, action: 'edit', target: `knowledge ${row.baseId}`, detail }),
      ])
      on.queue().wake()
      return present(await rowOf(id))
    },
    async chunks(id, { after = -1, limit = PAGE }) {
      const { baseId } = await rowOf(id)
      const [base] = await store.db.select().from(bases).where(eq(bases.id, baseId))
      const rows = await store.db
        .select()
        .from(chunks)
        .where(
          and(
            eq(chunks.documentId, id),
            eq(chunks.generation, base?.generation ?? 0),
            gt(chunks.number, after),
          ),
        )
        .orderBy(asc(chunks.number))
        .limit(limit + 1)
      const shown = rows.slice(0, limit).map(presentChunk)
      return { chunks: shown, nextAfter: rows.length > limit ? (shown.at(-1)?.number ?? null) : null }
    },
    chunk: async (id) => presentChunk(await chunkOf(id)),
    async editChunk(id, changes, { actor }) {
      const row = await chunkOf(id)
      const text = textAfter(row, changes.text)
      const isChanged = text !== row.text
      const isOriginal = text === (row.originalText ?? row.text)
      const values = {
        isDisabled: changes.isDisabled ?? row.isDisabled,
        ...(isChanged && {
          text,
          textHash: textHashOf({ header: row.header, text }),
          originalText: isOriginal ? null : (row.originalText ?? row.text),
          editedBy: isOriginal ? null : actor,
          editedAtMs: isOriginal ? null : now(),
        }),
      }
      const fields = Object.keys(changes)
      const detail = { document: row.documentId, chunk: row.number, fields }
      await store.atomically((db) => [
        db.update(chunks).set(values).where(eq(chunks.id, id)),
        db.update(bases).set(raise()).where(eq(bases.id, row.baseId)),
        on.audit.row(db, { actor, action: 'edit', target: `knowledge ${row.baseId}`, detail }),
      ])
      const after = await chunkOf(id)
      if (isChanged) await makeFindable(row, after)
      return presentChunk(after)
    },
    async removeAll(baseId) {
      const rows = await store.db
        .select({ id: documents.id })
        .from(documents)
        .where(eq(documents.baseId, baseId))
        .orderBy(desc(documents.id))
      await store.db.update(documents).set({ state: 'deleting' }).where(eq(documents.baseId, baseId))
      for (const { id } of rows) {
        await on.queue().abort(id)
        await remove(id)
      }
    },
  }
}

const WORKING = ['waiting', 'parsing', 'embedding']
const ALIVE = [...WORKING, 'ready']

/** The folders stay; what leads out of them, or cannot be seen, does not. */
function nameOf(sent: string): string {
  const parts = cleanText(sent.slice(-LONGEST_NAME))
    .text.replaceAll('\n', ' ')
    .split(/[\\/]+/)
    .filter((part) => part !== '' && part !== '.' && part !== '..')
  if (parts.length === 0)
    throw new AppError('invalid', 'A file came without a name; give it one', { param: 'files' })
  return parts.join('/')
}

const skipped = (file: string, twin: DocumentRow): Added => ({
  ...{ file, status: 'skipped', id: twin.id },
  notes:
    twin.name === file
      ? []
      : [{ code: 'same_file', path: '', message: `The base has this very file already, as "${twin.name}".` }],
})

function textAfter(
  row: { text: string; originalText: string | null },
  wish: string | null | undefined,
): string {
  if (wish === undefined) return row.text
  if (wish === null) return row.originalText ?? row.text
  const { text } = cleanText(wish)
  if (text === '')
    throw new AppError('invalid', 'The text is empty; disable the passage instead', { param: 'text' })
  if (text.length > LONGEST_CHUNK)
    throw new AppError('invalid', `A passage may have ${LONGEST_CHUNK} characters; this has ${text.length}`, {
      param: 'text',
    })
  return text
}

type ChunkRow = Store['t']['knowledgeChunks']['$inferSelect']

const presentChunk = (row: ChunkRow): KnowledgeChunk => ({
  ...{ id: row.id, documentId: row.documentId, number: row.number, header: row.header, text: row.text },
  ...{ page: row.page, startOffset: row.startOffset, endOffset: row.endOffset, isDisabled: row.isDisabled },
  ...{ originalText: row.originalText, editedBy: row.editedBy, editedAtMs: row.editedAtMs },
})
