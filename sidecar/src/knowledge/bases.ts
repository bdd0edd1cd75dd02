/** Knowledge bases: who may look into which, their trash, and when they are cut anew. */
import { and, count, eq, inArray, isNotNull, isNull, sql, sum } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import type { createAudit } from '#library/audit.ts'
import { numbered, slugOf } from '#library/slug.ts'
import type { KnowledgeSettings } from '#store/knowledge-tables.ts'
import type { Db, Store, Write } from '#store/store.ts'

import type { Background } from './background.ts'
import type { Bases, BaseWish, By, DocumentState, KnowledgeBase } from './knowledge.ts'
import type { Findable } from './passages.ts'
import { buildProgress, CUT_VERSION, forgetBuild, type RecutParts } from './recut.ts'
import { chunkingOf } from './reading.ts'

export interface BaseParts {
  store: Store
  audit: ReturnType<typeof createAudit>
  recut: RecutParts
  index: Pick<Findable, 'hasMeaning'>
  background: Background
  /** Throws AppError `not_found` for a character that is not there. */
  nameOfCharacter(id: string): Promise<string>
  /** Ends all work on its documents and deletes what they are. */
  removeDocuments(baseId: string): Promise<void>
  now: () => number
}

type Row = Store['t']['knowledgeBases']['$inferSelect']

const NO_DOCUMENTS: Record<DocumentState, number> = {
  waiting: 0,
  parsing: 0,
  embedding: 0,
  ready: 0,
  failed: 0,
  stopped: 0,
  deleting: 0,
}

export interface OpenBases extends Bases {
  /** Reads again who may look into what: another process may have changed it. */
  refresh(): Promise<void>
}

export async function openBases(on: BaseParts): Promise<OpenBases> {
  const { store, audit, now } = on
  const { knowledgeBases: bases, knowledgeAttachments: attachments } = store.t
  let byCharacter = new Map<string, string[]>()

  async function refresh(): Promise<void> {
    const rows = await store.db
      .select({ baseId: attachments.baseId, characterId: attachments.characterId })
      .from(attachments)
      .innerJoin(bases, eq(bases.id, attachments.baseId))
      .where(isNull(bases.deletedAtMs))
      .orderBy(attachments.baseId)
    const next = new Map<string, string[]>()
    for (const { baseId, characterId } of rows)
      next.set(characterId, [...(next.get(characterId) ?? []), baseId])
    byCharacter = next
  }

  async function rowOf(id: string): Promise<Row> {
    const [row] = await store.db.select().from(bases).where(eq(bases.id, id))
    if (row === undefined) throw new AppError('not_found', `There is no knowledge base "${id}"`)
    return row
  }

  const get = async (id: string): Promise<KnowledgeBase> => {
    const [base] = await present([await rowOf(id)], on)
    if (base === undefined) throw new AppError('not_found', `There is no knowledge base "${id}"`)
    return base
  }

  /** A change of what can be found, with who made it; in memory too when it is written. */
  async function change(
    id: string,
    told: {
      action: 'edit' | 'delete' | 'restore' | 'delete_for_good' | 'import'
      detail?: Record<string, unknown>
    },
    by: By,
    writes: (db: Db) => Write[],
  ): Promise<void> {
    await store.atomically((db) => [
      ...writes(db),
      db
        .update(bases)
        .set({ revision: sql`${bases.revision} + 1`, updatedAtMs: now() })
        .where(eq(bases.id, id)),
      audit.row(db, { ...told, actor: by.actor, target: `knowledge ${id}` }),
    ])
    await refresh()
  }

  async function create(
    { name, note = null, settings = {}, characterIds = [] }: BaseWish,
    by: By,
    wanted = slugOf(name),
  ) {
    for (const characterId of characterIds) await on.nameOfCharacter(characterId)
    let id = wanted
    for (let number = 2; await isTaken(id); number++) id = numbered(wanted, number)
    const atMs = now()
    const row: Row = {
      ...{
        id,
        name,
        note,
        settings: settingsWith({}, settings),
        generation: 1,
        buildingGeneration: null,
        cutVersion: CUT_VERSION,
        busyUntilMs: null,
      },
      ...{ fingerprint: null, revision: 1, createdAtMs: atMs, updatedAtMs: atMs, deletedAtMs: null },
    }
    await change(id, { action: 'import' }, by, (db) => [
      db.insert(bases).values(row),
      ...attach(db, id, characterIds),
    ])
    return get(id)
  }

  const isTaken = async (id: string) =>
    (await store.db.select({ id: bases.id }).from(bases).where(eq(bases.id, id))).length > 0

  const attach = (db: Db, baseId: string, characterIds: readonly string[]): Write[] =>
    characterIds.map((characterId) =>
      db.insert(attachments).values({ baseId, characterId }).onConflictDoNothing(),
    )

  async function rebuild(id: string): Promise<void> {
    await on.background.abort(id)
    await forgetBuild(on.recut, id)
    await store.db
      .update(bases)
      .set({ buildingGeneration: sql`${bases.generation} + 1` })
      .where(eq(bases.id, id))
    on.background.wake()
  }

  await refresh()
  return {
    refresh,
    of: (characterId) => byCharacter.get(characterId) ?? [],
    async list({ isDeleted = false } = {}) {
      const rows = await store.db
        .select()
        .from(bases)
        .where(isDeleted ? isNotNull(bases.deletedAtMs) : isNull(bases.deletedAtMs))
        .orderBy(bases.name)
      return present(rows, on)
    },
    async ofCharacter(characterId) {
      await on.nameOfCharacter(characterId)
      const own = byCharacter.get(characterId) ?? []
      return present(await store.db.select().from(bases).where(inArray(bases.id, own)).orderBy(bases.id), on)
    },
    get,
    async kept(id) {
      const base = await get(id)
      if (base.deletedAtMs === null) return base
      throw new AppError('conflict', `The knowledge base "${id}" lies in the trash; restore it first`)
    },
    create: (wish, by) => create(wish, by),
    async edit(id, { characterIds, settings, ...fields }, by) {
      const before = await rowOf(id)
      const changes = {
        ...fields,
        ...(settings !== undefined && { settings: settingsWith(before.settings, settings) }),
      }
      for (const characterId of characterIds ?? []) await on.nameOfCharacter(characterId)
      const named = [...Object.keys(changes), ...(characterIds === undefined ? [] : ['characterIds'])]
      await change(id, { action: 'edit', detail: { fields: named } }, by, (db) => [
        ...(Object.keys(changes).length === 0 ? [] : [db.update(bases).set(changes).where(eq(bases.id, id))]),
        ...(characterIds === undefined ? [] : [db.delete(attachments).where(eq(attachments.baseId, id))]),
        ...attach(db, id, characterIds ?? []),
      ])
      if (changes.settings !== undefined && isCutOtherwise(before.settings, changes.settings))
        await rebuild(id)
      return get(id)
    },
    async delete(id, by) {
      await rowOf(id)
      await change(id, { action: 'delete' }, by, (db) => [
        db.update(bases).set({ deletedAtMs: now() }).where(eq(bases.id, id)),
      ])
    },
    async restore(id, by) {
      await rowOf(id)
      await change(id, { action: 'restore' }, by, (db) => [
        db.update(bases).set({ deletedAtMs: null }).where(eq(bases.id, id)),
      ])
      return get(id)
    },
    async deleteForGood(id, by) {
      await rowOf(id)
      await change(id, { action: 'delete_for_good' }, by, (db) => [
        db.update(bases).set({ deletedAtMs: now() }).where(eq(bases.id, id)),
        db.delete(attachments).where(eq(attachments.baseId, id)),
      ])
      await on.background.abort(id)
      await on.removeDocuments(id)
      await store.db.delete(bases).where(eq(bases.id, id))
    },
    async ownOf(characterId, by) {
      const name = await on.nameOfCharacter(characterId)
      const found = (await store.db.select().from(bases).where(eq(bases.id, characterId)))[0]
      const isItsOwn =
        found?.deletedAtMs === null && byCharacter.get(characterId)?.includes(found.id) === true
      return isItsOwn ? get(characterId) : create({ name, characterIds: [characterId] }, by, characterId)
    },
    async rebuild(id, by) {
      await rowOf(id)
      await change(id, { action: 'edit', detail: { fields: ['generation'] } }, by, () => [])
      await rebuild(id)
      return get(id)
    },
  }
}

/** Throws AppError `invalid` where both together make no passages. */
function settingsWith(
  before: KnowledgeSettings,
  wishes: NonNullable<BaseWish['settings']>,
): KnowledgeSettings {
  const after = Object.fromEntries(
    Object.entries({ ...before, ...wishes }).filter(([, value]) => value !== null),
  ) as KnowledgeSettings
  const { size, overlap } = chunkingOf(after)
  if (overlap <= size / 2) return after
  throw new AppError('invalid', '"settings.overlapCharacters": at most half of a passage may be overlap', {
    param: 'settings.overlapCharacters',
  })
}

function isCutOtherwise(before: KnowledgeSettings, after: KnowledgeSettings): boolean {
  const [old, wanted] = [chunkingOf(before), chunkingOf(after)]
  return old.size !== wanted.size || old.overlap !== wanted.overlap
}

/** With what belongs to them, in a few statements however many there are. */
async function present(
  rows: readonly Row[],
  { store, index }: Pick<BaseParts, 'store' | 'index'>,
): Promise<KnowledgeBase[]> {
  const { knowledgeAttachments: attachments, knowledgeDocuments: documents } = store.t
  const ids = rows.map(({ id }) => id)
  if (ids.length === 0) return []
  const attached = await store.db.select().from(attachments).where(inArray(attachments.baseId, ids))
  const groups = await store.db
    .select({
      baseId: documents.baseId,
      state: documents.state,
      documents: count(),
      chunks: sum(documents.chunksTotal),
      sizeBytes: sum(documents.sizeBytes),
    })
    .from(documents)
    .where(inArray(documents.baseId, ids))
    .groupBy(documents.baseId, documents.state)
  return Promise.all(
    rows.map(async (row): Promise<KnowledgeBase> => {
      const own = groups.filter(({ baseId, state }) => baseId === row.id && state !== 'deleting')
      const { buildingGeneration: building } = row
      return {
        ...{ id: row.id, name: row.name, note: row.note, settings: row.settings },
        characterIds: attached
          .filter(({ baseId }) => baseId === row.id)
          .map(({ characterId }) => characterId),
        documents: {
          ...NO_DOCUMENTS,
          ...Object.fromEntries(own.map((group) => [group.state, group.documents])),
        },
        chunks: own.reduce(
          (total, { state, chunks }) => total + (state === 'ready' ? Number(chunks ?? 0) : 0),
          0,
        ),
        sizeBytes: own.reduce((total, { sizeBytes }) => total + Number(sizeBytes ?? 0), 0),
        searchedBy: row.fingerprint !== null && index.hasMeaning ? 'words and meaning' : 'words',
        rebuilding: building === null ? null : await buildProgress(store, row, building),
        ...{ createdAtMs: row.createdAtMs, updatedAtMs: row.updatedAtMs, deletedAtMs: row.deletedAtMs },
      }
    }),
  )
}

/** Attachments of characters that are gone for good. */
export async function forgetLostAttachments(store: Store): Promise<void> {
  const { knowledgeAttachments: attachments, characters } = store.t
  const known = store.db.select({ id: characters.id }).from(characters)
  await store.db.delete(attachments).where(and(sql`${attachments.characterId} not in ${known}`))
}
