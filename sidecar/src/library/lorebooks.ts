/** Lorebooks beside the cards: for every character, or for those that they name. Kept in memory; there are few, and each turn needs them. */
import { eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { Lorebook, type Note } from '#characters/card.ts'
import { isSameBook } from '#characters/content.ts'
import type { Db, Store, Write } from '#store/store.ts'

import { createAudit, LOREBOOK_TARGET, type AuditAction } from './audit.ts'
import type { Alongside, Imported } from './importing.ts'
import type { By } from './library.ts'
import { numbered, slugOf } from './slug.ts'

export interface StoredLorebook {
  /** A slug of its name; never changes. */
  id: string
  name: string
  book: Lorebook
  /** Ids of the characters that have it; null for all. */
  characterIds: string[] | null
  createdAtMs: number
  updatedAtMs: number
}

export interface Lorebooks {
  /** By name. */
  list(): readonly StoredLorebook[]
  /** Throws AppError `not_found`. */
  get(id: string): StoredLorebook
  /** What a character has beside its own, those for all last. */
  of(characterId: string): readonly StoredLorebook[]
  /** One that says the same. */
  twin(book: Lorebook): StoredLorebook | undefined
  /** The same name never overwrites. */
  add(wish: { name: string; book: Lorebook; characterIds: string[] | null }, by: By): Promise<StoredLorebook>
  /**
   * Takes one in under its id, or the next free one. One that is here and says the same gets the characters that it lacks,
   * and loses none. `alongside` is committed with it.
   */
  restore(archived: Omit<StoredLorebook, 'updatedAtMs'>, by: By, alongside: Alongside): Promise<Imported>
  /** Those of them that it lacks get it too; null is all. False when none does. Throws AppError `not_found`. */
  give(id: string, characterIds: string[] | null, by: By): Promise<boolean>
  /** Its name stands in the book too from then on: what is exported is called what it is called here. Throws AppError `not_found`, `invalid`. */
  edit(
    id: string,
    changes: { name?: string; book?: unknown; characterIds?: string[] | null },
    by: By,
  ): Promise<StoredLorebook>
  /** Throws AppError `not_found`. */
  delete(id: string, by: By): Promise<void>
  /** Takes characters that are deleted for good out of all of them: `write` is committed with that, `done` called behind it. */
  leave(characterIds: readonly string[], by: By): { write(db: Db): Write[]; done(): void }
  /** Reads it again: another process changed it. */
  refresh(id: string): Promise<void>
}

export async function openLorebooks({ store, now }: { store: Store; now: () => number }): Promise<Lorebooks> {
  const { lorebooks } = store.t
  const audit = createAudit(store, now)
  const rows: StoredLorebook[] = await store.db.select().from(lorebooks)
  const known = new Map(rows.map((row) => [row.id, row]))

  function get(id: string): StoredLorebook {
    const found = known.get(id)
    if (found === undefined) throw new AppError('not_found', `There is no lorebook "${id}"`)
    return found
  }
  const told = (action: AuditAction, target: string, { actor }: By) => ({
    ...{ action, actor, target: `${LOREBOOK_TARGET}${target}` },
  })
  /** False when another process took the id at this moment. */
  async function insert(row: StoredLorebook, by: By, alongside: (db: Db) => Write[] = () => []) {
    try {
      await store.atomically((db) => [
        db.insert(lorebooks).values(row),
        audit.row(db, told('import', row.id, by)),
        ...alongside(db),
      ])
    } catch (error) {
      if (!store.isDuplicate(error)) throw error
      return false
    }
    known.set(row.id, row)
    return true
  }
  async function update(row: StoredLorebook, by: By, alongside: (db: Db) => Write[] = () => []) {
    await store.atomically((db) => [
      db.update(lorebooks).set(row).where(eq(lorebooks.id, row.id)),
      audit.row(db, told('edit', row.id, by)),
      ...alongside(db),
    ])
    known.set(row.id, row)
  }

  return {
    list: () => [...known.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    get,
    of(characterId) {
      const own = [...known.values()].filter(({ characterIds }) => characterIds?.includes(characterId))
      return [...own, ...[...known.values()].filter(({ characterIds }) => characterIds === null)]
    },
    twin: (book) => [...known.values()].find((row) => isSameBook(row.book, book)),
    async add({ name, book, characterIds }, by) {
      const times = { createdAtMs: now(), updatedAtMs: now() }
      for (const id of idsFrom(slugOf(name))) {
        const row = { id, name, book, characterIds, ...times }
        if (!known.has(id) && (await insert(row, by))) return row
      }
      throw new AppError(
        'conflict',
        `There are too many lorebooks called ${name}; give this one another name`,
      )
    },
    async restore({ id: wanted, name, book, characterIds, createdAtMs }, by, alongside) {
      for (const id of idsFrom(wanted)) {
        const here = known.get(id)
        if (here === undefined) {
          const notes = id === wanted ? [] : [renamed(wanted, id)]
          const imported: Imported = { status: 'created', id, notes, isLorebook: true }
          const row = { id, name, book, characterIds, createdAtMs, updatedAtMs: now() }
          if (await insert(row, by, (db) => alongside(db, imported))) return imported
        } else if (isSameBook(here.book, book)) {
          const more = withMore(here, characterIds)
          const isMore = more !== undefined
          const imported: Imported = {
            status: isMore ? 'updated' : 'skipped',
            id,
            notes: isMore ? [MORE] : [],
            isLorebook: true,
          }
          const commit = (db: Db) => alongside(db, imported)
          if (isMore) await update({ ...more, updatedAtMs: now() }, by, commit)
          else await store.atomically(commit)
          return imported
        }
      }
      throw new AppError('conflict', `There are too many lorebooks called ${name}; delete some and try again`)
    },
    async give(id, characterIds, by) {
      const more = withMore(get(id), characterIds)
      if (more !== undefined) await update({ ...more, updatedAtMs: now() }, by)
      return more !== undefined
    },
    async edit(id, { book, ...changes }, by) {
      const before = get(id)
      const parsed = book === undefined ? before.book : parseBook(book)
      const { name = before.name } = changes
      const isRenamed = name !== before.name || book !== undefined
      const called = isRenamed ? { ...parsed, name } : parsed
      const row = { ...before, ...changes, book: called, updatedAtMs: now() }
      await update(row, by)
      return row
    },
    async delete(id, by) {
      get(id)
      await store.atomically((db) => [
        db.delete(lorebooks).where(eq(lorebooks.id, id)),
        audit.row(db, told('delete_for_good', id, by)),
      ])
      known.delete(id)
    },
    leave(characterIds, by) {
      const gone = new Set(characterIds)
      const without = (row: StoredLorebook) => row.characterIds?.filter((id) => !gone.has(id))
      const left = [...known.values()].flatMap((row) => {
        const characterIds = without(row)
        const isLess = characterIds !== undefined && characterIds.length !== row.characterIds?.length
        return isLess ? [{ id: row.id, change: { characterIds, updatedAtMs: now() } }] : []
      })
      return {
        // Not the whole row: it may be edited meanwhile.
        write: (db) =>
          left.flatMap(({ id, change }) => [
            db.update(lorebooks).set(change).where(eq(lorebooks.id, id)),
            audit.row(db, told('edit', id, by)),
          ]),
        done() {
          for (const { id, change } of left) {
            const row = known.get(id)
            if (row !== undefined) known.set(id, { ...row, ...change, characterIds: without(row) ?? null })
          }
        },
      }
    },
    async refresh(id) {
      const [row] = await store.db.select().from(lorebooks).where(eq(lorebooks.id, id))
      if (row === undefined) known.delete(id)
      else known.set(id, row)
    },
  }
}

/** Names taken by another process at the same moment, and those that are here: the next number is tried this often. */
const ID_TRIES = 1_000

function* idsFrom(wanted: string): Generator<string> {
  yield wanted
  for (let number = 2; number <= ID_TRIES; number++) yield numbered(wanted, number)
}

/** Undefined when it has them all. */
function withMore(here: StoredLorebook, characterIds: string[] | null): StoredLorebook | undefined {
  const all = together(here.characterIds, characterIds)
  return all?.length === here.characterIds?.length ? undefined : { ...here, characterIds: all }
}

/** Null is all. */
const together = (some: string[] | null, more: string[] | null): string[] | null =>
  some === null || more === null ? null : [...new Set([...some, ...more])]

const renamed = (wanted: string, id: string): Note => ({
  code: 'renamed',
  path: 'id',
  message: `Another lorebook is called "${wanted}" here, so this one is now "${id}".`,
})

const MORE: Note = {
  code: 'more_characters',
  path: 'characterIds',
  message: 'This lorebook was here; the characters that have it in the archive have it here too now.',
}

/** Throws AppError `invalid` that names the field. */
export function parseBook(value: unknown): Lorebook {
  const parsed = Lorebook.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const param = ['book', ...(issue?.path ?? [])].join('.')
  throw new AppError('invalid', `"${param}": ${issue?.message ?? 'is wrong'}`, { param })
}
