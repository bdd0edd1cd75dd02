/** A character with all its versions, or a lorebook, as one file of a library archive: what leaves one Troupe and comes back into another. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import { Card, Lorebook, type Note } from '#characters/card.ts'
import { contentHash } from '#characters/content.ts'
import { createNotebook } from '#characters/notes.ts'
import { parseCardJson } from '#characters/parse.ts'
import { writeCard } from '#characters/write.ts'

import type { Alongside, Imported, ImportParts } from './importing.ts'
import type { By, CharacterSummary, VersionSummary } from './library.ts'
import type { Lorebooks, StoredLorebook } from './lorebooks.ts'
import { summaryOf } from './shelf.ts'
import { isSlug, numbered } from './slug.ts'

const Note = z.object({ code: z.string(), path: z.string(), message: z.string() })

const ArchivedVersion = z.object({
  /** The card lies in the archive as `cards/<id>/<number>.json`. */
  number: z.number().int().positive(),
  /** The file lies in the archive as `originals/<hash>`. */
  originalHash: z.string(),
  originalName: z.string(),
  /** The portrait lies in the archive as `pictures/<hash>.webp`. */
  pictureHash: z.string().nullable(),
  notes: z.array(Note),
  note: z.string().nullable(),
  createdBy: z.string().nullable(),
  createdAtMs: z.number(),
  publishedAtMs: z.number().nullable(),
})

const ARCHIVE_FORMAT = 'troupe-character/1'

export const ArchivedCharacter = z.object({
  format: z.literal(ARCHIVE_FORMAT),
  id: z.string().refine(isSlug, 'is no id of a character'),
  name: z.string().min(1),
  groups: z.array(z.string()).nullable(),
  publishedVersion: z.number().int().nullable(),
  createdAtMs: z.number(),
  versions: z.array(ArchivedVersion).min(1),
})
export type ArchivedCharacter = z.infer<typeof ArchivedCharacter>

const LOREBOOK_FORMAT = 'troupe-lorebook/1'

const ArchivedLorebook = z.object({
  format: z.literal(LOREBOOK_FORMAT),
  id: z.string().refine(isSlug, 'is no id of a lorebook'),
  name: z.string().min(1),
  book: Lorebook,
  /** As the archive calls them; null for all. */
  characterIds: z.array(z.string()).nullable(),
  createdAtMs: z.number(),
})

/** Tells a library from any other archive of cards. */
export const ARCHIVE_MARK = { name: 'troupe-library.json', content: { format: 'troupe-library/1' } } as const

/** Where the archive keeps a file. */
export const archivePath = {
  lorebook: (id: string) => `lorebooks/${id}.json`,
  character: (id: string) => `characters/${id}.json`,
  card: (id: string, number: number) => `cards/${id}/${String(number)}.json`,
  original: (hash: string) => `originals/${hash}`,
  picture: (hash: string) => `pictures/${hash}.webp`,
}

export function archiveCharacter(
  { id, name, groups, publishedVersion, createdAtMs }: CharacterSummary,
  versions: readonly VersionSummary[],
): ArchivedCharacter {
  const written = versions.map(({ characterId: _characterId, ...version }) => version)
  return { format: ARCHIVE_FORMAT, id, name, groups, publishedVersion, createdAtMs, versions: written }
}

export function archiveLorebook({
  id,
  name,
  book,
  characterIds,
  createdAtMs,
}: StoredLorebook): z.infer<typeof ArchivedLorebook> {
  return { format: LOREBOOK_FORMAT, id, name, book, characterIds, createdAtMs }
}

/**
 * Takes a lorebook in. `idsHere` gives what characters of the archive are called here, those that are: their names may be
 * other ones. Throws AppError `invalid`.
 */
export async function restoreLorebook(
  lorebooks: Pick<Lorebooks, 'restore'>,
  bytes: Uint8Array,
  idsHere: (ids: readonly string[]) => Promise<ReadonlyMap<string, string>>,
  by: By,
  alongside: Alongside,
): Promise<void> {
  const { characterIds: archivedIds, ...archived } = parse(ArchivedLorebook, 'lorebook', bytes)
  const here = await idsHere(archivedIds ?? [])
  const lost = (archivedIds ?? []).filter((id) => !here.has(id))
  const characterIds = archivedIds?.flatMap((id) => here.get(id) ?? []) ?? null
  const notes = lost.length === 0 ? [] : [nobody(lost)]
  await lorebooks.restore({ ...archived, characterIds }, by, (db, imported) =>
    alongside(db, { ...imported, notes: [...imported.notes, ...notes] }),
  )
}

/** As many as a sentence holds. */
const NAMED = 5

const nobody = (ids: readonly string[]) => ({
  code: 'no_such_character',
  path: 'characterIds',
  message: `Not attached to ${ids.slice(0, NAMED).join(', ')}${ids.length > NAMED ? ` and ${String(ids.length - NAMED)} more` : ''}: the archive did not bring them.`,
})

/**
 * Takes a character in with all its versions. One that is here and says the same is skipped; another one of the same id is
 * never touched: the newcomer gets the next free id. Throws AppError `invalid`.
 */
export async function restoreCharacter(
  on: ImportParts,
  bytes: Uint8Array,
  read: (name: string) => Promise<Uint8Array>,
  actor: string,
  alongside: Alongside,
): Promise<Imported> {
  const archived = parseCharacter(bytes)
  const { id: wanted, versions } = archived
  const cards = new Map<number, Card>()
  for (const { number } of versions)
    cards.set(number, parseCard(await read(archivePath.card(wanted, number))))
  const { id, isHere } = await placeOf(on, wanted, cards)
  if (isHere) {
    const notes = (await isWhole(on, id, versions, read)) ? [] : [OTHER_HISTORY]
    const imported: Imported = { status: 'skipped', id, notes }
    await on.store.atomically((db) => alongside(db, imported))
    return imported
  }
  const pictures = new Map<string, string | undefined>()
  const rows: (typeof on.store.t.characterVersions.$inferInsert)[] = []
  for (const version of versions) {
    const card = cards.get(version.number)
    if (card === undefined) continue
    const original = await read(archivePath.original(version.originalHash)).catch(() => undefined)
    const kept = original ?? writeCard(card, 'json', { modifiedAtSeconds: 0 })
    const hash = version.pictureHash
    if (hash !== null && !pictures.has(hash))
      pictures.set(hash, await restorePicture(on, hash, original, read))
    rows.push({
      ...version,
      card,
      characterId: id,
      originalHash: await on.files.keepOriginal(kept),
      pictureHash: (hash === null ? undefined : pictures.get(hash)) ?? null,
      summary: summaryOf(card),
      contentHash: contentHash(card),
    })
  }
  const { characters, characterVersions } = on.store.t
  const { name, groups, publishedVersion, createdAtMs } = archived
  const latestVersion = Math.max(...versions.map(({ number }) => number))
  const imported: Imported = { status: 'created', id, notes: id === wanted ? [] : [renamed(wanted, id)] }
  await on.store.atomically((db) => [
    db
      .insert(characters)
      .values({ id, name, groups, publishedVersion, latestVersion, createdAtMs, updatedAtMs: on.now() }),
    ...rows.map((row) => db.insert(characterVersions).values(row)),
    on.audit.row(db, { actor, action: 'import', target: id, detail: { versions: versions.length } }),
    ...alongside(db, imported),
  ])
  return imported
}

function parseCharacter(bytes: Uint8Array): ArchivedCharacter {
  const archived = parse(ArchivedCharacter, 'character', bytes)
  const { publishedVersion, versions } = archived
  const numbers = new Set(versions.map(({ number }) => number))
  if (numbers.size !== versions.length || (publishedVersion !== null && !numbers.has(publishedVersion)))
    throw new AppError('invalid', 'The archived character is damaged: its versions do not fit together')
  return archived
}

function parse<T>(form: z.ZodType<T>, what: string, bytes: Uint8Array): T {
  const parsed = form.safeParse(toJson(bytes))
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw new AppError(
    'invalid',
    `The archived ${what} is damaged: "${issue?.path.join('.') ?? ''}" ${issue?.message ?? ''}`,
  )
}

/** Bounded like a card from anywhere: an archive is a file like others. */
const toJson = (bytes: Uint8Array): unknown => parseCardJson(Buffer.from(bytes), createNotebook())

function parseCard(bytes: Uint8Array): Card {
  const parsed = Card.safeParse(toJson(bytes))
  if (parsed.success) return parsed.data
  throw new AppError('invalid', 'A card in the archive is damaged; export the library again')
}

/** Where it is, under the id that it has in the archive or one that an earlier import of it got; else the next free one. */
async function placeOf(on: ImportParts, wanted: string, cards: ReadonlyMap<number, Card>) {
  for (let number = 1; ; number++) {
    const id = number === 1 ? wanted : numbered(wanted, number)
    if (!on.shelf.has(id)) return { id, isHere: false }
    if (await saysTheSame(on, id, cards)) return { id, isHere: true }
  }
}

async function saysTheSame(
  { shelf }: ImportParts,
  id: string,
  cards: ReadonlyMap<number, Card>,
): Promise<boolean> {
  if (shelf.get(id).deletedAtMs !== null) return false
  const newest = cards.get(Math.max(...cards.keys()))
  const { card } = await shelf.version(id, shelf.get(id).latestVersion)
  return newest !== undefined && contentHash(card) === contentHash(newest)
}

/** The newest version here is that of the archive, and so is the file it came from, where the archive has that. */
async function isWhole(
  { shelf }: ImportParts,
  id: string,
  versions: readonly { number: number; originalHash: string }[],
  read: (name: string) => Promise<Uint8Array>,
): Promise<boolean> {
  const here = await shelf.version(id, shelf.get(id).latestVersion)
  const there = versions.find(({ number }) => number === here.number)
  if (there === undefined || versions.some(({ number }) => number > here.number)) return false
  if (here.originalHash === there.originalHash) return true
  const hasOriginal = await read(archivePath.original(there.originalHash)).then(
    () => true,
    () => false,
  )
  return !hasOriginal
}

const OTHER_HISTORY: Note = {
  code: 'other_history',
  path: '',
  message:
    'The character is here with the same text, but with another picture or other versions, and was left as it is. To take it from the archive, delete it here for good first.',
}

const renamed = (wanted: string, id: string) => ({
  code: 'renamed',
  path: 'id',
  message: `Another character is called "${wanted}" here, so this one is now "${id}".`,
})

/** From the uploaded file, where it is as sharp as it ever was; else from the largest portrait. Always encoded anew. */
async function restorePicture(
  { files, cards }: ImportParts,
  hash: string,
  original: Uint8Array | undefined,
  read: (name: string) => Promise<Uint8Array>,
): Promise<string | undefined> {
  const card = original && (await cards.readCard(original, '').catch(() => undefined))
  const fromCard = card?.picture && (await files.keepPicture(card.picture))
  if (fromCard !== undefined) return fromCard
  const portrait = await read(archivePath.picture(hash)).catch(() => undefined)
  return portrait && files.keepPicture(portrait)
}
