/** Whether a base can find what a question of its exam expects: one that cannot be found counts as lost in every run. */
import { and, asc, eq, gt, ne } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { continued } from '#rag/arrange.ts'
import type { Store } from '#store/store.ts'

import type { DocumentState } from './knowledge.ts'

interface Expected {
  baseId: string
  documentName: string
  /** As it is kept. */
  quote: string
}

/** Spaces and capitals are what another reader or cut changes. */
export const squeeze = (text: string): string => text.replaceAll(/\s+/g, ' ').trim().toLowerCase()

const AT_WORK: readonly DocumentState[] = ['waiting', 'parsing', 'embedding']
const ROWS_PER_READ = 128
/** Of what was read, enough for a quote that goes on in the next passage, and for the overlap of both. */
const TAIL_CHARACTERS = 2_000

/**
 * Throws AppError `not_found` for a document that the base does not have, `invalid` for a quote that does not stand in it. Of
 * one that is still being read the quote is taken as it is.
 */
export async function refuseUnfindable(
  { baseId, documentName, quote }: Expected,
  store: Store,
): Promise<void> {
  const { knowledgeDocuments: documents } = store.t
  const named = await store.db
    .select({ id: documents.id, state: documents.state })
    .from(documents)
    .where(
      and(eq(documents.baseId, baseId), eq(documents.name, documentName), ne(documents.state, 'deleting')),
    )
  if (named.length === 0)
    throw new AppError(
      'not_found',
      `"document": the base has no document "${documentName}"; name it as the list of its documents does`,
      { param: 'document' },
    )
  for (const { id } of named.filter(({ state }) => state === 'ready'))
    if (await says({ baseId, documentId: id }, squeeze(quote), store)) return
  // The file that will answer may say it.
  if (named.some(({ state }) => AT_WORK.includes(state as DocumentState))) return
  throw new AppError(
    'invalid',
    named.some(({ state }) => state === 'ready')
      ? `"quote": "${documentName}" does not say that; give words as they stand in its passages`
      : `"document": "${documentName}" was not read, so that nothing of it can be found; look at its state`,
    { param: named.some(({ state }) => state === 'ready') ? 'quote' : 'document' },
  )
}

/** In a passage that can be found, or across several that follow each other, as they stand in a prompt. */
async function says(
  { baseId, documentId }: { baseId: string; documentId: string },
  wanted: string,
  { db, t: { knowledgeBases: bases, knowledgeChunks: chunks } }: Store,
): Promise<boolean> {
  const { number, text, startOffset, endOffset } = chunks
  let read = ''
  let last = { number: -1, endOffset: 0 }
  for (;;) {
    const page = await db
      .select({ number, text, startOffset, endOffset })
      .from(chunks)
      .innerJoin(bases, and(eq(bases.id, baseId), eq(bases.generation, chunks.generation)))
      .where(and(eq(chunks.documentId, documentId), eq(chunks.isDisabled, false), gt(number, last.number)))
      .orderBy(asc(number))
      .limit(ROWS_PER_READ)
    for (const piece of page) {
      const follows = last.number + 1 === piece.number
      read = follows ? continued(read, piece.text, last.endOffset - piece.startOffset) : piece.text
      if (squeeze(read).includes(wanted)) return true
      read = read.slice(-TAIL_CHARACTERS)
      last = piece
    }
    if (page.length < ROWS_PER_READ) return false
  }
}
