/** A card file becomes a character, or a new version of one. Nothing is ever overwritten. */
import { and, eq, isNull } from 'drizzle-orm'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Card, Note } from '#characters/card.ts'
import { contentHash } from '#characters/content.ts'
import type { Db, Store, Write } from '#store/store.ts'

import type { Audit } from './audit.ts'
import type { CardReader } from './card-reader.ts'
import type { Files } from './files.ts'
import type { ImportResult, ImportWish, UploadedFile, VersionSummary } from './library.ts'
import { summaryOf, type Shelf } from './shelf.ts'
import { isSlug, numbered, slugOf } from './slug.ts'

/** Names taken by another process at the same moment: the next number is tried this often. */
const SLUG_TRIES = 1_000

export interface ImportParts {
  store: Store
  files: Files
  cards: CardReader
  shelf: Shelf
  audit: Audit
  now: () => number
}

export type Imported = Omit<ImportResult, 'file' | 'id'> & {
  id: string
  /** The id is that of a lorebook. */
  isLorebook?: boolean
}

/** Statements that are committed with the import: what it became is told in the same moment as it is so. */
export type Alongside = (db: Db, imported: Imported) => Write[]

/** Throws AppError for what is no card. */
export async function importCard(
  on: ImportParts,
  file: UploadedFile,
  wish: ImportWish,
  alongside: Alongside = () => [],
): Promise<Imported> {
  const read = await on.cards.readCard(file.bytes, file.name)
  const pictureHash = read.picture === undefined ? undefined : await on.files.keepPicture(read.picture)
  const lostPicture = read.picture !== undefined && pictureHash === undefined
  const notes = lostPicture ? [...read.notes, UNREADABLE_PICTURE] : read.notes
  const { card } = read
  const owner = ownerOf(on.shelf, card, wish)

  const twin = await findTwin(on.store, contentHash(card), pictureHash, owner)
  if (twin !== undefined) {
    const imported: Imported = { status: 'skipped', id: twin, notes: [ALREADY_HERE] }
    await on.store.atomically((db) => alongside(db, imported))
    return imported
  }

  const version: NewVersion = {
    card,
    originalHash: await on.files.keepOriginal(file.bytes),
    originalName: file.name,
    pictureHash: pictureHash ?? null,
    notes,
    note: wish.note ?? null,
    createdBy: wish.actor,
  }
  const publishes = wish.publishes ?? true
  if (owner !== undefined) {
    const picture = version.pictureHash ?? (await pictureOf(on.shelf, owner))
    const imported: Imported = { status: 'updated', id: owner, notes }
    await addVersion(on, owner, { ...version, pictureHash: picture }, publishes, (db) => [
      ...alongside(db, imported),
      on.audit.row(db, { actor: wish.actor, action: 'import', target: owner }),
    ])
    return imported
  }
  return addCharacter(on, ownIdOf(card) ?? slugOf(card.name), version, { ...wish, publishes }, alongside)
}

export const UNREADABLE_PICTURE: Note = {
  code: 'unreadable_picture',
  path: 'assets',
  message: 'The picture could not be read, so a drawn initial stands in for it.',
}

const ALREADY_HERE: Note = {
  code: 'already_here',
  path: '',
  message: 'The library has a version that says exactly the same.',
}

const TroupeExtension = z.looseObject({ id: z.string() })

/** Our exports carry the id of their character: reading one back makes a new version instead of a twin. */
function ownIdOf(card: Card): string | undefined {
  const parsed = TroupeExtension.safeParse(card.extensions['troupe'])
  return parsed.success && isSlug(parsed.data.id) ? parsed.data.id : undefined
}

function ownerOf(shelf: Shelf, card: Card, { into }: ImportWish): string | undefined {
  if (into !== undefined) return shelf.get(into).id
  const own = ownIdOf(card)
  return own !== undefined && shelf.has(own) ? own : undefined
}

const pictureOf = async (shelf: Shelf, id: string) =>
  (await shelf.version(id, shelf.get(id).latestVersion)).pictureHash

/**
 * A character outside the trash of which some version says the same and looks the same; of `owner`, if one is named. An
 * older version counts: bringing a file again must not undo what was changed here since.
 */
async function findTwin(
  store: Store,
  hash: string,
  pictureHash: string | undefined,
  owner: string | undefined,
): Promise<string | undefined> {
  const { characterVersions, characters } = store.t
  const rows = await store.db
    .select({ id: characters.id, pictureHash: characterVersions.pictureHash })
    .from(characterVersions)
    .innerJoin(characters, eq(characters.id, characterVersions.characterId))
    .where(and(eq(characterVersions.contentHash, hash), isNull(characters.deletedAtMs)))
  return rows.find(
    (row) =>
      (pictureHash === undefined || row.pictureHash === pictureHash) &&
      (owner === undefined || row.id === owner),
  )?.id
}

// -- writing ----------------------------------------------------------------------------------------------------------

export type NewVersion = Pick<
  VersionSummary,
  'originalHash' | 'originalName' | 'pictureHash' | 'notes' | 'note' | 'createdBy'
> & { card: Card }

const versionRow = (
  characterId: string,
  number: number,
  atMs: number,
  version: NewVersion,
  publishes: boolean,
) => ({
  characterId,
  number,
  ...version,
  summary: summaryOf(version.card),
  contentHash: contentHash(version.card),
  createdAtMs: atMs,
  publishedAtMs: publishes ? atMs : null,
})

/** Brings the character out of the trash as well. Throws AppError `conflict` when another process was quicker. */
export async function addVersion(
  { store, shelf, now }: ImportParts,
  id: string,
  version: NewVersion,
  publishes: boolean,
  alongside: (db: Db) => Write[],
): Promise<number> {
  const { characters, characterVersions } = store.t
  const number = shelf.get(id).latestVersion + 1
  const atMs = now()
  try {
    await store.atomically((db) => [
      db.insert(characterVersions).values(versionRow(id, number, atMs, version, publishes)),
      db
        .update(characters)
        .set({
          latestVersion: number,
          deletedAtMs: null,
          updatedAtMs: atMs,
          ...(publishes && { publishedVersion: number, name: version.card.name }),
        })
        .where(eq(characters.id, id)),
      ...alongside(db),
    ])
  } catch (error) {
    if (!store.isDuplicate(error)) throw error
    throw new AppError('conflict', `Somebody else changed "${id}" at this moment; look at it and try again`)
  }
  return number
}

/** The same name never overwrites: the next free number is taken, also when another process takes one meanwhile. */
async function addCharacter(
  { store, shelf, audit, now }: ImportParts,
  wanted: string,
  version: NewVersion,
  { actor, publishes }: ImportWish & { publishes: boolean },
  alongside: Alongside,
): Promise<Imported> {
  const { characters, characterVersions } = store.t
  const { name } = version.card
  for (let attempt = 1; attempt <= SLUG_TRIES; attempt++) {
    const id = attempt === 1 ? wanted : numbered(wanted, attempt)
    if (shelf.has(id)) continue
    const atMs = now()
    const imported: Imported = {
      status: 'created',
      id,
      notes: [...version.notes, ...sameName(shelf, name, id)],
    }
    const notes = imported.notes
    const publishedVersion = publishes ? 1 : null
    const row = { id, name, publishedVersion, latestVersion: 1, createdAtMs: atMs, updatedAtMs: atMs }
    try {
      await store.atomically((db) => [
        db.insert(characters).values(row),
        db.insert(characterVersions).values({ ...versionRow(id, 1, atMs, version, publishes), notes }),
        audit.row(db, { actor, action: 'import', target: id }),
        ...alongside(db, imported),
      ])
      return imported
    } catch (error) {
      if (!store.isDuplicate(error)) throw error
    }
  }
  throw new AppError('conflict', `There are too many characters called ${name}; give this one another name`)
}

/** Told, since a second one of the same name is often meant as a new version of the first. */
function sameName(shelf: Shelf, name: string, id: string): Note[] {
  const other = [...shelf.all()].find((summary) => summary.name === name && summary.deletedAtMs === null)
  if (other === undefined) return []
  const message = `There is a character called ${name} already ("${other.id}"); this one is kept beside it as "${id}". To make it a new version of the other: npm run troupe -- import FILE --into ${other.id}`
  return [{ code: 'same_name', path: 'name', message }]
}
