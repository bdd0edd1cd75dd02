/** Rows of knowledge, as an ingest would write them. */
import type { Tables } from '#store/tables.ts'
import { textHashOf } from '#rag/embedding-input.ts'

export function sampleBase(
  id: string,
  differences: Partial<Tables['knowledgeBases']['$inferInsert']> = {},
): Tables['knowledgeBases']['$inferInsert'] {
  return {
    id,
    name: id,
    note: null,
    settings: {},
    generation: 1,
    buildingGeneration: null,
    fingerprint: null,
    revision: 1,
    createdAtMs: 1,
    updatedAtMs: 1,
    ...differences,
  }
}

export function sampleDocument(
  id: string,
  baseId: string,
  differences: Partial<Tables['knowledgeDocuments']['$inferInsert']> = {},
): Tables['knowledgeDocuments']['$inferInsert'] {
  return {
    id,
    baseId,
    name: `${id}.md`,
    title: id,
    mediaType: 'text/markdown',
    sizeBytes: 1,
    originalHash: 'a',
    state: 'ready',
    pagesRead: 0,
    pagesTotal: null,
    chunksEmbedded: 0,
    chunksTotal: null,
    failure: null,
    notes: [],
    createdBy: 'Tess',
    createdAtMs: 1,
    updatedAtMs: 1,
    ...differences,
  }
}

export function sampleChunk({
  text = 'Some text.',
  header = '',
  ...place
}: Partial<Tables['knowledgeChunks']['$inferInsert']> & {
  baseId: string
  documentId: string
  number: number
}): Tables['knowledgeChunks']['$inferInsert'] {
  return {
    generation: 1,
    text,
    header,
    page: null,
    startOffset: 0,
    endOffset: text.length,
    textHash: textHashOf({ header, text }),
    isDisabled: false,
    ...place,
  }
}
