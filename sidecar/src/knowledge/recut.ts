/**
 * A base is cut anew beside itself: all its documents get passages of a new generation, the old one answers until all have
 * them, and one statement switches. What ends in the middle goes on where it was.
 */
import { and, asc, eq, inArray, notInArray, sql } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { readInChild } from '#rag/read-in-child.ts'
import type { Store } from '#store/store.ts'

import type { Originals } from './originals.ts'
import type { Findable, Passages, Place } from './passages.ts'
import type { ProgressBoard } from './progress.ts'
import { readFile, type DocumentRow } from './reading.ts'

export interface RecutParts {
  store: Store
  index: Findable
  originals: Originals
  passages: Passages
  board: ProgressBoard
  read: typeof readInChild
  log: Log
  now: () => number
}

/** Raise it when readers or splitter make other passages of the same file: every base is then cut anew in the background. */
export const CUT_VERSION = 1

type Base = Store['t']['knowledgeBases']['$inferSelect']

/** Does what `buildingGeneration` of the base asks for. Throws AppError `cancelled` when the signal aborts. */
export async function recut(on: RecutParts, baseId: string, signal: AbortSignal): Promise<void> {
  const { store, index, passages, log } = on
  const base = await baseOf(store, baseId)
  if (base === undefined || base.buildingGeneration === null) return
  const building = base.buildingGeneration
  // What an earlier run wrote may not be in the index; to add it again changes nothing there.
  for (const { id: documentId } of await readyIn(store, baseId)) {
    const place = { baseId, generation: building, documentId }
    if (await passages.areWhole(place)) await makeFindable(on, place, signal)
  }
  // Documents that become ready meanwhile are of the old generation, until there are none left.
  for (let missing = await missingIn(store, base, building); missing.length > 0;) {
    for (const row of missing) await recutOne(on, base, row, signal)
    missing = await missingIn(store, base, building)
  }
  await switchTo(on, base, building)
  await passages.delete({ baseId, generation: base.generation })
  await index.removeScope({ baseId, generation: base.generation })
  log.info({ knowledgeBase: baseId, generation: building }, 'a knowledge base was cut anew')
}

/** What was built and never answered is forgotten, for a build that begins anew. */
export async function forgetBuild({ store, index, passages }: RecutParts, baseId: string): Promise<void> {
  const base = await baseOf(store, baseId)
  if (base === undefined || base.buildingGeneration === null) return
  const scope = { baseId, generation: base.buildingGeneration }
  await passages.delete(scope)
  await index.removeScope(scope)
}

/** How many documents of a base that is being built have their passages. */
export async function buildProgress(store: Store, base: Pick<Base, 'id'>, building: number) {
  const ready = await readyIn(store, base.id)
  const missing = await missingIn(store, base, building)
  return { done: ready.length - missing.length, total: ready.length }
}

async function baseOf(store: Store, baseId: string): Promise<Base | undefined> {
  const { knowledgeBases: bases } = store.t
  const [base] = await store.db.select().from(bases).where(eq(bases.id, baseId))
  return base
}

function readyIn(store: Store, baseId: string): PromiseLike<DocumentRow[]> {
  const { knowledgeDocuments: documents } = store.t
  return store.db
    .select()
    .from(documents)
    .where(and(eq(documents.baseId, baseId), eq(documents.state, 'ready')))
    .orderBy(asc(documents.id))
}

function missingIn(
  store: Store,
  { id: baseId }: Pick<Base, 'id'>,
  generation: number,
): PromiseLike<DocumentRow[]> {
  const { knowledgeDocuments: documents, knowledgeChunks: chunks } = store.t
  // The first passage of a document is written last.
  const whole = store.db
    .select({ id: chunks.documentId })
    .from(chunks)
    .where(and(eq(chunks.baseId, baseId), eq(chunks.generation, generation), eq(chunks.number, 0)))
  return store.db
    .select()
    .from(documents)
    .where(and(eq(documents.baseId, baseId), eq(documents.state, 'ready'), notInArray(documents.id, whole)))
    .orderBy(asc(documents.id))
}

async function recutOne(on: RecutParts, base: Base, row: DocumentRow, signal: AbortSignal): Promise<void> {
  const { passages, store } = on
  const old = { baseId: base.id, generation: base.generation, documentId: row.id }
  const place = { ...old, generation: base.buildingGeneration ?? base.generation }
  const { knowledgeDocuments: documents } = store.t
  try {
    const prepared = await readFile(on, row, base.settings, signal)
    const { lostEdits } = await passages.write(place, prepared.chunks, await passages.edits(old))
    const notes = [...prepared.notes, ...(lostEdits === 0 ? [] : [lostEditsNote(lostEdits)])]
    await store.db
      .update(documents)
      .set({ notes, chunksTotal: prepared.chunks.length })
      .where(eq(documents.id, row.id))
  } catch (thrown) {
    const { code, message } = toAppError(thrown)
    if (code === 'cancelled' || code === 'unavailable') throw thrown
    // What could be read once and cannot now is not lost.
    await passages.copy(old, place.generation)
    const notes = [...row.notes.filter((note) => note.code !== KEPT), keptNote(message)]
    await store.db.update(documents).set({ notes }).where(eq(documents.id, row.id))
  }
  await makeFindable(on, place, signal)
}

async function makeFindable(
  { index, passages }: RecutParts,
  place: Place,
  signal: AbortSignal,
): Promise<void> {
  for await (const pieces of passages.pages(place)) await index.add(place, pieces, { signal })
}

const KEPT = 'passages_kept'
const keptNote = (message: string) => ({
  code: KEPT,
  path: '',
  message: `The passages were kept as they were, since the file could not be read again: ${message}`,
})
const lostEditsNote = (count: number) => ({
  code: 'lost_edits',
  path: '',
  message: `${count} edited passages are cut otherwise now; they say again what the document says.`,
})

async function switchTo({ store, now }: RecutParts, base: Base, building: number): Promise<void> {
  const { knowledgeBases: bases, knowledgeDocuments: documents } = store.t
  await store.atomically((db) => [
    db
      .update(bases)
      .set({
        generation: building,
        buildingGeneration: null,
        cutVersion: CUT_VERSION,
        revision: sql`${bases.revision} + 1`,
        updatedAtMs: now(),
      })
      .where(and(eq(bases.id, base.id), eq(bases.buildingGeneration, building))),
  ])
  // One that became ready between the last look and the switch is read once more.
  const late = await missingIn(store, base, building)
  if (late.length > 0)
    await store.db
      .update(documents)
      .set({ state: 'waiting' })
      .where(
        inArray(
          documents.id,
          late.map(({ id }) => id),
        ),
      )
}
