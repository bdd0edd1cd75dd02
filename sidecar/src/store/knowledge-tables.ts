/**
 * What characters may look up: bases, their documents, the pieces of those, and the vectors of the pieces. These rows are the
 * truth; what searches them (words, vectors) is built from them and can be built again.
 */
import type { Note } from '#characters/card.ts'

import type { Kit } from './kit.sqlite.ts'

/** How a base is cut and used. Absent fields mean the defaults of `knowledge/`. */
export interface KnowledgeSettings {
  chunkCharacters?: number
  overlapCharacters?: number
  /** Whether the whole base goes into the prompt when it is small enough: `auto` (the default) or `never`. */
  wholeBase?: 'auto' | 'never'
}

export interface DocumentFailure {
  code: string
  message: string
}

export function defineKnowledgeTables(k: Kit) {
  const knowledgeBases = k.table('knowledge_bases', {
    /** A slug of its name; never changes. */
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    note: k.text('note'),
    settings: k.json<KnowledgeSettings>('settings').notNull(),
    /** The generation of pieces that answers. */
    generation: k.int('generation').notNull(),
    /** A newer one that is being built beside it; null for none. */
    buildingGeneration: k.int('building_generation'),
    /** Names the embedding model whose vectors answer; null while words alone do. */
    fingerprint: k.text('fingerprint'),
    /** Grows with every change of what can be found, so that nothing stale is answered. */
    revision: k.int('revision').notNull(),
    /** Of readers and splitter; an older one is cut anew. See `CUT_VERSION` in `knowledge/recut.ts`. */
    cutVersion: k.int('cut_version').notNull().default(1),
    /** Until then a process works on the whole base, so that no other does; null when none does. */
    busyUntilMs: k.epochMs('busy_until_ms'),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    updatedAtMs: k.epochMs('updated_at_ms').notNull(),
    /** Set while it lies in the trash. */
    deletedAtMs: k.epochMs('deleted_at_ms'),
  })

  /** Which characters may look into which bases. The ids of characters never change, and one in the trash may come back. */
  const knowledgeAttachments = k.table(
    'knowledge_attachments',
    {
      baseId: k
        .text('base_id')
        .notNull()
        .references(() => knowledgeBases.id, { onDelete: 'cascade' }),
      characterId: k.text('character_id').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.baseId, t.characterId] }),
      k.index('knowledge_attachments_character').on(t.characterId),
    ],
  )

  const knowledgeDocuments = k.table(
    'knowledge_documents',
    {
      id: k.text('id').primaryKey(),
      baseId: k
        .text('base_id')
        .notNull()
        .references(() => knowledgeBases.id, { onDelete: 'cascade' }),
      /** Name of the file. */
      name: k.text('name').notNull(),
      /** What the document calls itself; the name of the file where it does not. */
      title: k.text('title').notNull(),
      mediaType: k.text('media_type').notNull(),
      sizeBytes: k.int('size_bytes').notNull(),
      /** SHA-256 of the uploaded file; the file lies in the data folder under this name. */
      originalHash: k.text('original_hash').notNull(),
      /** waiting, parsing, embedding, ready, failed, stopped or deleting. */
      state: k.text('state').notNull(),
      pagesRead: k.int('pages_read').notNull(),
      /** Null until it is known, and for formats without pages. */
      pagesTotal: k.int('pages_total'),
      chunksEmbedded: k.int('chunks_embedded').notNull(),
      /** Null until it is known. */
      chunksTotal: k.int('chunks_total'),
      failure: k.json<DocumentFailure>('failure'),
      notes: k.json<Note[]>('notes').notNull(),
      createdBy: k.text('created_by').notNull(),
      createdAtMs: k.epochMs('created_at_ms').notNull(),
      updatedAtMs: k.epochMs('updated_at_ms').notNull(),
    },
    (t) => [k.index('knowledge_documents_base').on(t.baseId)],
  )

  const knowledgeChunks = k.table(
    'knowledge_chunks',
    {
      /** Given by the database and never again, so that an index that still knows a deleted one finds nothing. */
      id: k.serial('id'),
      baseId: k
        .text('base_id')
        .notNull()
        .references(() => knowledgeBases.id, { onDelete: 'cascade' }),
      documentId: k
        .text('document_id')
        .notNull()
        .references(() => knowledgeDocuments.id, { onDelete: 'cascade' }),
      generation: k.int('generation').notNull(),
      /** Place in the document, from 0. */
      number: k.int('number').notNull(),
      text: k.text('text').notNull(),
      /** Document title › headings › lead sentence: searched and embedded with the text, not shown in the prompt. */
      header: k.text('header').notNull(),
      /** From 1; null for formats without pages. */
      page: k.int('page'),
      /** Characters (UTF-16 units) in the text of the whole document: half-open. */
      startOffset: k.int('start_offset').notNull(),
      endOffset: k.int('end_offset').notNull(),
      /** SHA-256 of what is embedded: see `rag/embedding-input.ts`. */
      textHash: k.text('text_hash').notNull(),
      isDisabled: k.bool('is_disabled').notNull(),
      /** What the document says, where somebody changed the text; null otherwise. */
      originalText: k.text('original_text'),
      editedBy: k.text('edited_by'),
      editedAtMs: k.epochMs('edited_at_ms'),
    },
    (t) => [
      k.uniqueIndex('knowledge_chunks_place').on(t.documentId, t.generation, t.number),
      k.index('knowledge_chunks_base').on(t.baseId, t.generation),
    ],
  )

  /** Every vector that was ever paid for, whichever piece it is of. */
  const embeddings = k.table(
    'embeddings',
    {
      fingerprint: k.text('fingerprint').notNull(),
      textHash: k.text('text_hash').notNull(),
      /** Little-endian float32, of length 1. */
      vector: k.bytes('vector').notNull(),
    },
    (t) => [k.primaryKey({ columns: [t.fingerprint, t.textHash] })],
  )

  return { knowledgeBases, knowledgeAttachments, knowledgeDocuments, knowledgeChunks, embeddings }
}
