/** What may be searched, by the rows of the database: bases, and the pieces that an index found in them. */
import { and, eq, inArray, isNull, sql, type SQL } from 'drizzle-orm'

import type { Scope } from '#rag/scope.ts'
import type { Store } from '#store/store.ts'

import type { Census } from './floors.ts'

export interface Base {
  id: string
  generation: number
  fingerprint: string | null
  revision: number
}

export const scopeOf = ({ id, generation }: Base): Scope => ({ baseId: id, generation })

/** All without ids; never one in the trash. */
export async function basesOf(
  { db, t: { knowledgeBases } }: Store,
  { ids, hasMeaning }: { ids: readonly string[] | undefined; hasMeaning: boolean },
): Promise<(Base & { isWhole: boolean })[]> {
  if (ids?.length === 0) return []
  const rows = await db
    .select()
    .from(knowledgeBases)
    .where(
      and(
        isNull(knowledgeBases.deletedAtMs),
        ids === undefined ? undefined : inArray(knowledgeBases.id, [...ids]),
      ),
    )
  return rows
    .map(({ settings, fingerprint, ...base }) => ({
      ...base,
      fingerprint: hasMeaning ? fingerprint : null,
      isWhole: settings.wholeBase !== 'never',
    }))
    .sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** The rows decide: what is deleted, disabled or of another base is not there, whatever an index says. */
export async function rowsOf(
  { db, t: { knowledgeChunks: chunk, knowledgeDocuments } }: Store,
  ids: readonly number[],
  bases: readonly Base[],
) {
  if (ids.length === 0) return new Map<number, never>()
  const rows = await db
    .select({
      id: chunk.id,
      baseId: chunk.baseId,
      documentId: chunk.documentId,
      number: chunk.number,
      text: chunk.text,
      header: chunk.header,
      page: chunk.page,
      startOffset: chunk.startOffset,
      endOffset: chunk.endOffset,
      generation: chunk.generation,
      documentName: knowledgeDocuments.name,
      documentTitle: knowledgeDocuments.title,
    })
    .from(chunk)
    .innerJoin(knowledgeDocuments, eq(knowledgeDocuments.id, chunk.documentId))
    .where(
      and(inArray(chunk.id, [...ids]), eq(chunk.isDisabled, false), eq(knowledgeDocuments.state, 'ready')),
    )
  // Not asked of SQL: SQLite would walk the whole base to find the few, which takes 20 ms in 100,000 pieces.
  const generations = new Map(bases.map(({ id, generation }) => [id, generation]))
  return new Map(
    rows.filter((row) => generations.get(row.baseId) === row.generation).map((row) => [row.id, row]),
  )
}

/** By the database, whose ids tell what is new. */
export function censusOf({ db, t: { knowledgeChunks: chunk } }: Store): Census {
  const number = (value: SQL) => sql<number>`coalesce(${value}, 0)`.mapWith(Number)
  return async ({ baseId, generation }, after) => {
    const [counted] = await db
      .select({
        pieces: number(sql`count(*)`),
        newest: number(sql`max(${chunk.id})`),
        since: number(sql`sum(case when ${chunk.id} > ${after} then 1 else 0 end)`),
      })
      .from(chunk)
      .where(and(eq(chunk.baseId, baseId), eq(chunk.generation, generation)))
    return counted ?? { pieces: 0, newest: 0, since: 0 }
  }
}
