/** Lorebooks beside the cards: for every character, or for those that they name. Kept in memory; there are few, and each turn needs them. */
import { eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { Lorebook } from '#characters/card.ts'
import { isSameBook } from '#characters/content.ts'
import type { Store } from '#store/store.ts'

import { createAudit, LOREBOOK_TARGET, type AuditAction } from './audit.ts'
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
  /** Throws AppError `not_found`, `invalid`. */
  edit(
    id: string,
    changes: { name?: string; book?: unknown; characterIds?: string[] | null },
    by: By,
  ): Promise<StoredLorebook>
  /** Throws AppError `not_found`. */
  delete(id: string, by: By): Promise<void>
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

  return {
    list: () => [...known.values()].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)),
    get,
    of(characterId) {
      const own = [...known.values()].filter(({ characterIds }) => characterIds?.includes(characterId))
      return [...own, ...[...known.values()].filter(({ characterIds }) => characterIds === null)]
    },
    twin: (book) => [...known.values()].find((row) => isSameBook(row.book, book)),
    async add({ name, book, characterIds }, by) {
      const wanted = slugOf(name)
      let id = wanted
      for (let number = 2; known.has(id); number++) id = numbered(wanted, number)
      const row = { id, name, book, characterIds, createdAtMs: now(), updatedAtMs: now() }
      await store.atomically((db) => [
        db.insert(lorebooks).values(row),
        audit.row(db, told('import', id, by)),
      ])
      known.set(id, row)
      return row
    },
    async edit(id, { book, ...changes }, by) {
      const before = get(id)
      const parsed = book === undefined ? before.book : parseBook(book)
      const row = { ...before, ...changes, book: parsed, updatedAtMs: now() }
      await store.atomically((db) => [
        db.update(lorebooks).set(row).where(eq(lorebooks.id, id)),
        audit.row(db, told('edit', id, by)),
      ])
      known.set(id, row)
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
    async refresh(id) {
      const [row] = await store.db.select().from(lorebooks).where(eq(lorebooks.id, id))
      if (row === undefined) known.delete(id)
      else known.set(id, row)
    },
  }
}

/** Throws AppError `invalid` that names the field. */
export function parseBook(value: unknown): Lorebook {
  const parsed = Lorebook.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  const param = ['book', ...(issue?.path ?? [])].join('.')
  throw new AppError('invalid', `"${param}": ${issue?.message ?? 'is wrong'}`, { param })
}
