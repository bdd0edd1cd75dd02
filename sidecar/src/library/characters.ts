/** The library over a store and a data folder. */
import { and, eq, inArray, isNotNull, lt } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import { Card } from '#characters/card.ts'
import { contentHash, diffCards } from '#characters/content.ts'
import { isObject } from '#characters/mend.ts'
import { senselessSettings } from '#characters/settings.ts'
import type { Db, Store, Write } from '#store/store.ts'

import { restoreCharacter } from './archived.ts'
import { createAudit, type AuditAction } from './audit.ts'
import { readsHere, type CardReader } from './card-reader.ts'
import { exportCard } from './exporting.ts'
import { openFiles, type Files } from './files.ts'
import { findCharacters } from './finding.ts'
import { addVersion, importCard, type Alongside, type Imported, type ImportParts } from './importing.ts'
import type { By, CharacterSummary, Edit, ImportWish, Library, UploadedFile } from './library.ts'
import type { Lorebooks } from './lorebooks.ts'
import { openShelf } from './shelf.ts'

/** How long the trash keeps a character. */
const TRASH_MS = 30 * 86_400_000

export interface LibraryParts {
  store: Store
  /** What a character has beside its card; whoever gets its id later has not. */
  lorebooks?: Pick<Lorebooks, 'leave'>
  dataDir: string
  /** Absent: cards are read where they come in. */
  cards?: CardReader
  now: () => number
}

/** What the jobs of the library need beside what everybody may do. */
export interface OpenLibrary extends Library {
  files: Files
  cards: CardReader
  /** Reads a character again: another process changed it. Those who wait for changes are not told. */
  refresh(id: string): Promise<void>
  /** Throws AppError for what is no card; `alongside` is committed with it. */
  importCard(file: UploadedFile, wish: ImportWish, alongside: Alongside): Promise<Imported>
  /** Takes in a character of a library archive, of which `read` gives the other files. Throws AppError `invalid`. */
  restoreCharacter(
    bytes: Uint8Array,
    read: (name: string) => Promise<Uint8Array>,
    by: By,
    alongside: Alongside,
  ): Promise<Imported>
}

export async function openLibrary({
  store,
  lorebooks,
  dataDir,
  cards = readsHere,
  now,
}: LibraryParts): Promise<OpenLibrary> {
  const files = await openFiles(dataDir)
  const shelf = await openShelf(store)
  const audit = createAudit(store, now)
  const on: ImportParts = { store, files, cards, shelf, audit, now }
  const listeners = new Set<(id: string) => void>()
  // Two changes at once must not race for a slug or the number of a version.
  const inTurn = serially()

  async function changed(id: string): Promise<CharacterSummary> {
    await shelf.refresh(id)
    for (const listener of listeners) listener(id)
    return shelf.get(id)
  }

  /** Changes a character's row and says who did it, in one transaction. */
  function change(id: string, { action, actor, detail }: Told, write: (db: Db) => Write[]) {
    return inTurn(async () => {
      shelf.get(id)
      await store.atomically((db) => [
        ...write(db),
        audit.row(db, { actor, action, target: id, ...(detail && { detail }) }),
      ])
      return changed(id)
    })
  }

  async function importOne(file: UploadedFile, wish: ImportWish, alongside?: Alongside): Promise<Imported> {
    return inTurn(async () => {
      const imported = await importCard(on, file, wish, alongside)
      if (imported.status !== 'skipped') await changed(imported.id)
      return imported
    })
  }

  async function publish(id: string, number: number, by: By & { note?: string }, action: AuditAction) {
    const { card } = await shelf.version(id, number)
    const { characters, characterVersions: versions } = store.t
    const from = shelf.get(id).publishedVersion
    const told = { ...by, action, detail: { from, to: number, ...(by.note && { note: by.note }) } }
    return change(id, told, (db) => [
      db
        .update(characters)
        .set({ publishedVersion: number, name: card.name, deletedAtMs: null, updatedAtMs: now() })
        .where(eq(characters.id, id)),
      db
        .update(versions)
        .set({ publishedAtMs: now(), ...(by.note && { note: by.note }) })
        .where(and(eq(versions.characterId, id), eq(versions.number, number))),
    ])
  }

  const setRow = (values: Partial<typeof store.t.characters.$inferInsert>, id: string) => (db: Db) => [
    db
      .update(store.t.characters)
      .set({ ...values, updatedAtMs: now() })
      .where(eq(store.t.characters.id, id)),
  ]

  const library: OpenLibrary = {
    files,
    cards,
    async refresh(id) {
      await shelf.refresh(id)
    },
    importCard: importOne,
    restoreCharacter: (bytes, read, { actor }, alongside) =>
      inTurn(async () => {
        const imported = await restoreCharacter(on, bytes, read, actor, alongside)
        if (imported.status !== 'skipped') await changed(imported.id)
        return imported
      }),
    // eslint-disable-next-line @typescript-eslint/require-await -- from memory today; callers may not count on it
    list: async () => [...shelf.sorted()],
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    async find(find) {
      const trash = [...shelf.all()].filter(({ deletedAtMs }) => deletedAtMs !== null)
      return findCharacters(shelf.sorted(), trash.sort(latestDeletedFirst), find)
    },
    // eslint-disable-next-line @typescript-eslint/require-await -- as above
    get: async (id) => shelf.get(id),
    async published(id) {
      const { publishedVersion, deletedAtMs } = shelf.has(id) ? shelf.get(id) : NOBODY
      if (publishedVersion === null || deletedAtMs !== null) return undefined
      return shelf.version(id, publishedVersion)
    },
    async versions(id) {
      shelf.get(id)
      return shelf.versions(id)
    },
    version: (id, number) => shelf.version(id, number),
    async diff(id, from, to) {
      const [before, after] = await Promise.all([shelf.version(id, from), shelf.version(id, to)])
      return diffCards(before.card, after.card)
    },
    async importFile(file, wish) {
      try {
        return { ...(await importOne(file, wish)), file: file.name }
      } catch (thrown) {
        const error = toAppError(thrown)
        return {
          file: file.name,
          status: 'failed',
          notes: [{ code: error.code, path: '', message: error.message }],
        }
      }
    },
    async edit(id, edit) {
      if (edit.groups !== undefined)
        await change(
          id,
          { ...edit, action: 'groups', detail: { groups: edit.groups } },
          setRow({ groups: edit.groups }, id),
        )
      if (edit.card === undefined) return shelf.get(id)
      return inTurn(async () => {
        await addEdited(on, id, edit)
        return changed(id)
      })
    },
    publish: (id, number, by) => publish(id, number, by, 'publish'),
    async rollback(id, number, by) {
      return publish(id, number ?? (await publishedBefore(on, id)), by, 'rollback')
    },
    unpublish: (id, by) => change(id, { ...by, action: 'unpublish' }, setRow({ publishedVersion: null }, id)),
    async delete(id, { actor, forGood = false }) {
      if (!forGood) {
        await change(id, { actor, action: 'delete' }, setRow({ deletedAtMs: now() }, id))
        return
      }
      await deleteForGood([id], actor)
    },
    restore: (id, by) => change(id, { ...by, action: 'restore' }, setRow({ deletedAtMs: null }, id)),
    async purge() {
      const { characters } = store.t
      const old = await store.db
        .select({ id: characters.id })
        .from(characters)
        .where(and(isNotNull(characters.deletedAtMs), lt(characters.deletedAtMs, now() - TRASH_MS)))
      await deleteForGood(
        old.map(({ id }) => id),
        'the trash',
      )
      return old.length
    },
    async tell(event) {
      await store.atomically((db) => [audit.row(db, event)])
    },
    audit: (find) => audit.find(find),
    picture: (hash, widthPixels, format) => files.picture(hash, widthPixels, format),
    async exportFile(id, format, number) {
      const { publishedVersion, latestVersion } = shelf.get(id)
      const version = await shelf.version(id, number ?? publishedVersion ?? latestVersion)
      return exportCard(version, await shelf.versions(id), on, format)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }

  /** The files that only these characters had go with them. */
  async function deleteForGood(ids: readonly string[], actor: string): Promise<void> {
    if (ids.length === 0) return
    await inTurn(async () => {
      const { characters } = store.t
      for (const id of ids) shelf.get(id)
      const held = (await Promise.all(ids.map((id) => shelf.versions(id)))).flat()
      const leaving = lorebooks?.leave(ids, { actor })
      await store.atomically((db) => [
        db.delete(characters).where(inArray(characters.id, [...ids])),
        ...ids.map((target) => audit.row(db, { actor, action: 'delete_for_good', target })),
        ...(leaving?.write(db) ?? []),
      ])
      leaving?.done()
      await dropFiles(on, held)
      for (const id of ids) {
        await shelf.refresh(id)
        for (const listener of listeners) listener(id)
      }
    })
  }

  return library
}

interface Told extends By {
  action: AuditAction
  detail?: Record<string, unknown>
}

const NOBODY = { publishedVersion: null, deletedAtMs: null }

const latestDeletedFirst = (a: CharacterSummary, b: CharacterSummary) =>
  (b.deletedAtMs ?? 0) - (a.deletedAtMs ?? 0)

/** Runs one task after the other. */
function serially() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(task: () => Promise<T>): Promise<T> => {
    const next = last.then(task, task)
    last = next.catch(() => undefined)
    return next
  }
}

// -- changing ---------------------------------------------------------------------------------------------------------

async function addEdited(on: ImportParts, id: string, edit: Edit): Promise<void> {
  const { latestVersion } = on.shelf.get(id)
  if (edit.baseVersion !== undefined && edit.baseVersion !== latestVersion)
    throw new AppError(
      'conflict',
      `"${id}" has version ${String(latestVersion)} by now; look at what changed since version ${String(edit.baseVersion)}, and save again`,
      { param: 'baseVersion' },
    )
  const { card, originalHash, originalName, pictureHash, notes } = await on.shelf.version(id, latestVersion)
  const edited = editCard(card, edit.card ?? {})
  if (contentHash(edited) === contentHash(card)) return
  const version = {
    card: edited,
    ...{ originalHash, originalName, pictureHash, notes },
    note: edit.note ?? null,
    createdBy: edit.actor,
  }
  const fields = [...new Set(diffCards(card, edited).map(({ path }) => path.split(/[.[]/)[0] ?? path))]
  await addVersion(on, id, version, edit.publishes ?? false, (db) => [
    on.audit.row(db, {
      actor: edit.actor,
      action: 'edit',
      target: id,
      detail: { version: latestVersion + 1, fields, publishes: edit.publishes ?? false },
    }),
  ])
}

/** Throws AppError `invalid` that names the field. */
function editCard(card: Card, changes: Readonly<Record<string, unknown>>): Card {
  const { extensions, ...fields } = changes
  const merged: Record<string, unknown> = { ...card, ...fields }
  if (isObject(extensions)) merged['extensions'] = { ...card.extensions, ...extensions }
  const kept = Object.entries(merged).flatMap(([name, value]) => emptied(card, name, value))
  const parsed = Card.safeParse(Object.fromEntries(kept))
  if (parsed.success) return isObject(extensions) ? withSensibleSettings(parsed.data, card) : parsed.data
  const issue = parsed.error.issues[0]
  const param = ['card', ...(issue?.path ?? [])].join('.')
  throw new AppError('invalid', `"${param}": ${issue?.message ?? 'is wrong'}`, { param })
}

/** Nothing takes a field away; those that every card has are empty then. */
function emptied(card: Card, name: string, value: unknown): [name: string, value: unknown][] {
  if (value !== null) return [[name, value]]
  if (!(REQUIRED.has(name) && name in card)) return []
  return [[name, Array.isArray(card[name]) ? [] : '']]
}

const REQUIRED: ReadonlySet<string> = new Set(
  Object.entries(Card.shape).flatMap(([name, field]) => (field.safeParse(undefined).success ? [] : [name])),
)

/** A card from elsewhere may bring nonsense and still speaks; who sets it here is told. */
function withSensibleSettings(card: Card, before: Card): Card {
  const broughtAlong = new Set(senselessSettings(before).map((each) => JSON.stringify(each)))
  const wrong = senselessSettings(card).find((each) => !broughtAlong.has(JSON.stringify(each)))
  if (wrong === undefined) return card
  const param = `card.${wrong.path}`
  throw new AppError('invalid', `"${param}": the value makes no sense; docs/prompt.md lists those that do`, {
    param,
  })
}

/** The version that was published last before the present one. */
async function publishedBefore({ shelf }: ImportParts, id: string): Promise<number> {
  const { publishedVersion } = shelf.get(id)
  const [last] = (await shelf.versions(id))
    .filter(({ number, publishedAtMs }) => number !== publishedVersion && publishedAtMs !== null)
    .sort((a, b) => (b.publishedAtMs ?? 0) - (a.publishedAtMs ?? 0))
  if (last !== undefined) return last.number
  throw new AppError('conflict', `No other version of "${id}" was ever published; name one to publish`)
}

async function dropFiles(
  { store, files }: ImportParts,
  held: readonly { originalHash: string; pictureHash: string | null }[],
): Promise<void> {
  const { characterVersions } = store.t
  const left = await store.db
    .select({ originalHash: characterVersions.originalHash, pictureHash: characterVersions.pictureHash })
    .from(characterVersions)
  const inUse = new Set(left.flatMap(({ originalHash, pictureHash }) => [originalHash, pictureHash]))
  for (const { originalHash, pictureHash } of held) {
    if (!inUse.has(originalHash)) await files.dropOriginal(originalHash)
    if (pictureHash !== null && !inUse.has(pictureHash)) await files.dropPicture(pictureHash)
  }
}
