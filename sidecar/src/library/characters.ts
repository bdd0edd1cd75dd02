/** The library over a store and a data folder. */
import { eq } from 'drizzle-orm'
import { z } from 'zod'

import { AppError, toAppError } from '#base/errors.ts'
import type { Card, Note } from '#characters/card.ts'
import { greetingOffers } from '#characters/greetings.ts'
import { readCard } from '#characters/read.ts'
import { writeCard } from '#characters/write.ts'
import type { Store } from '#store/store.ts'

import { openFiles, type Files } from './files.ts'
import type {
  CharacterSummary,
  CharacterVersion,
  ExportFormat,
  ImportResult,
  Library,
  UploadedFile,
} from './library.ts'
import { isSlug, numbered, slugOf } from './slug.ts'

/** Names taken by another process at the same moment: the next number is tried this often. */
const SLUG_TRIES = 1_000

/** A description for a picker is one line. */
const TAGLINE_CHARACTERS = 160

interface LibraryParts {
  store: Store
  dataDir: string
  now: () => number
}

/** What is kept in memory about a character: its row and its published (else latest) version. */
interface Known {
  summary: CharacterSummary
  version: CharacterVersion
}

export async function openLibrary({ store, dataDir, now }: LibraryParts): Promise<Library> {
  const files = await openFiles(dataDir)
  const listeners = new Set<(id: string) => void>()
  const known = new Map((await readAll(store)).map((entry) => [entry.summary.id, entry]))
  const importing = serially()

  async function changed(id: string): Promise<CharacterSummary> {
    const entry = await readOne(store, id)
    if (entry === undefined) known.delete(id)
    else known.set(id, entry)
    for (const listener of listeners) listener(id)
    if (entry === undefined) throw missing(id)
    return entry.summary
  }

  function get(id: string): Known {
    const entry = known.get(id)
    if (entry === undefined) throw missing(id)
    return entry
  }

  const library: Library = {
    list: () => Promise.resolve([...known.values()].map(({ summary }) => summary).sort(byName)),
    get: (id) => attempt(() => get(id).summary),
    published: (id) => {
      const entry = known.get(id)
      return Promise.resolve(entry?.summary.publishedVersion == null ? undefined : entry.version)
    },
    versions: (id) => readVersions(store, id),
    importFile: (file, picture) =>
      importing(async () => {
        try {
          const result = await importCard({ store, files, now }, file, picture)
          if (result.status !== 'skipped') await changed(result.id)
          return { ...result, file: file.name }
        } catch (thrown) {
          const error = toAppError(thrown)
          const note = { code: error.code, path: '', message: error.message }
          return { file: file.name, status: 'failed', notes: [note] } satisfies ImportResult
        }
      }),
    async publish(id, number) {
      get(id)
      const versions = await readVersions(store, id)
      if (!versions.some((version) => version.number === number)) {
        throw new AppError('not_found', `${id} has no version ${String(number)}`, { param: 'version' })
      }
      const { characters } = store.t
      await store.db
        .update(characters)
        .set({ publishedVersion: number, updatedAtMs: now() })
        .where(eq(characters.id, id))
      return changed(id)
    },
    async delete(id) {
      get(id)
      await store.db.delete(store.t.characters).where(eq(store.t.characters.id, id))
      await changed(id).catch((error: unknown) => {
        if (toAppError(error).code !== 'not_found') throw error
      })
    },
    picture: (hash, widthPixels) => files.picture(hash, widthPixels),
    exportFile: async (id, format) => exportCard(get(id).version, files, format),
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
  return library
}

const missing = (id: string) => new AppError('not_found', `There is no character "${id}"`)
const byName = (a: CharacterSummary, b: CharacterSummary) =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : a.id < b.id ? -1 : 1

/** A synchronous failure as a rejected promise, as callers of an asynchronous interface expect. */
async function attempt<T>(run: () => T): Promise<T> {
  return Promise.resolve().then(run)
}

/** Runs one task after the other: two imports of one file must not race for its slug. */
function serially() {
  let last: Promise<unknown> = Promise.resolve()
  return <T>(task: () => Promise<T>): Promise<T> => {
    const next = last.then(task, task)
    last = next.catch(() => undefined)
    return next
  }
}

// -- reading ----------------------------------------------------------------------------------------------------------

async function readAll(store: Store): Promise<Known[]> {
  const rows = await store.db.select({ id: store.t.characters.id }).from(store.t.characters)
  const entries = await Promise.all(rows.map(({ id }) => readOne(store, id)))
  return entries.filter((entry) => entry !== undefined)
}

async function readOne(store: Store, id: string): Promise<Known | undefined> {
  const { characters } = store.t
  const [row] = await store.db.select().from(characters).where(eq(characters.id, id)).limit(1)
  if (row === undefined) return undefined
  const versions = await readVersions(store, id)
  const version = versions.find(({ number }) => number === (row.publishedVersion ?? row.latestVersion))
  if (version === undefined) return undefined
  const { card, pictureHash, notes } = version
  const summary: CharacterSummary = {
    ...row,
    name: card.name,
    tagline: taglineOf(card),
    tags: card.tags,
    greetings: greetingOffers(card).map(({ greeting }) => greeting),
    pictureHash,
    notes,
  }
  return { summary, version }
}

async function readVersions(store: Store, id: string): Promise<CharacterVersion[]> {
  const { characterVersions } = store.t
  const rows = await store.db
    .select()
    .from(characterVersions)
    .where(eq(characterVersions.characterId, id))
    .orderBy(characterVersions.number)
  return rows
}

/** The first sentence of the creator's notes, which are written for users; else of the description. */
function taglineOf(card: Card): string {
  const text = (card.creator_notes.trim() || card.description.trim()).replace(/\s+/g, ' ')
  const sentence = /^.*?[.!?](?=\s|$)/.exec(text)?.[0] ?? text
  return sentence.length <= TAGLINE_CHARACTERS ? sentence : `${sentence.slice(0, TAGLINE_CHARACTERS - 1)}…`
}

// -- importing --------------------------------------------------------------------------------------------------------

interface ImportParts {
  store: Store
  files: Files
  now: () => number
}

type Imported = Omit<ImportResult, 'file' | 'id'> & { id: string }

async function importCard(on: ImportParts, file: UploadedFile, picture?: UploadedFile): Promise<Imported> {
  const read = await readCard(file.bytes, file.name)
  const originalHash = await on.files.keepOriginal(file.bytes)
  const twin = await findByOriginal(on.store, originalHash)
  if (twin !== undefined) {
    return {
      status: 'skipped',
      id: twin,
      notes: [{ code: 'already_here', path: '', message: 'This very file is in the library already.' }],
    }
  }
  const source = picture?.bytes ?? read.picture
  const pictureHash = source === undefined ? undefined : await on.files.keepPicture(source)
  const notes = [
    ...read.notes,
    ...(source !== undefined && pictureHash === undefined ? [UNREADABLE_PICTURE] : []),
  ]
  const version = {
    card: read.card,
    originalHash,
    originalName: file.name,
    pictureHash: pictureHash ?? null,
    notes,
  }

  const ownId = ownIdOf(read.card)
  const [owner] =
    ownId === undefined
      ? []
      : await on.store.db.select().from(on.store.t.characters).where(eq(on.store.t.characters.id, ownId))
  if (owner !== undefined)
    return { ...(await addVersion(on, owner.id, owner.latestVersion + 1, version)), notes }
  return { ...(await addCharacter(on, ownId ?? slugOf(read.card.name), version)), notes }
}

const UNREADABLE_PICTURE: Note = {
  code: 'unreadable_picture',
  path: 'assets',
  message: 'The picture could not be read, so a drawn initial stands in for it.',
}

const TroupeExtension = z.looseObject({ id: z.string() })

/** Our exports carry the id of their character: reading one back makes a new version instead of a twin. */
function ownIdOf(card: Card): string | undefined {
  const parsed = TroupeExtension.safeParse(card.extensions['troupe'])
  return parsed.success && isSlug(parsed.data.id) ? parsed.data.id : undefined
}

/** The character whose newest version is this very file. */
async function findByOriginal(store: Store, originalHash: string): Promise<string | undefined> {
  const { characterVersions, characters } = store.t
  const rows = await store.db
    .select({ id: characters.id, number: characterVersions.number, latest: characters.latestVersion })
    .from(characterVersions)
    .innerJoin(characters, eq(characters.id, characterVersions.characterId))
    .where(eq(characterVersions.originalHash, originalHash))
  return rows.find(({ number, latest }) => number === latest)?.id
}

type NewVersion = Pick<CharacterVersion, 'card' | 'originalHash' | 'originalName' | 'pictureHash' | 'notes'>

async function addVersion({ store, now }: ImportParts, id: string, number: number, version: NewVersion) {
  const { characters, characterVersions } = store.t
  await store.atomically((db) => [
    db.insert(characterVersions).values({ characterId: id, number, createdAtMs: now(), ...version }),
    db
      .update(characters)
      .set({ name: version.card.name, latestVersion: number, publishedVersion: number, updatedAtMs: now() })
      .where(eq(characters.id, id)),
  ])
  return { status: 'updated' as const, id }
}

/** The same name never overwrites: the next free number is taken, also when another process takes one meanwhile. */
async function addCharacter({ store, now }: ImportParts, wanted: string, version: NewVersion) {
  const { characters, characterVersions } = store.t
  for (let attempt = 1; attempt <= SLUG_TRIES; attempt++) {
    const id = attempt === 1 ? wanted : numbered(wanted, attempt)
    const atMs = now()
    try {
      await store.atomically((db) => [
        db.insert(characters).values({
          id,
          name: version.card.name,
          publishedVersion: 1,
          latestVersion: 1,
          createdAtMs: atMs,
          updatedAtMs: atMs,
        }),
        db.insert(characterVersions).values({ characterId: id, number: 1, createdAtMs: atMs, ...version }),
      ])
      return { status: 'created' as const, id }
    } catch (error) {
      if (!store.isDuplicate(error)) throw error
    }
  }
  throw new AppError(
    'conflict',
    `There are too many characters called ${version.card.name}; give this one another name`,
  )
}

// -- exporting --------------------------------------------------------------------------------------------------------

const MEDIA_TYPES = { json: 'application/json', yaml: 'application/yaml', png: 'image/png' } as const

async function exportCard(version: CharacterVersion, files: Files, format: ExportFormat) {
  const original = await files.original(version.originalHash)
  if (format === 'original')
    return { name: version.originalName, mediaType: 'application/octet-stream', bytes: original }
  const { card, characterId, createdAtMs } = version
  const extensions = {
    ...card.extensions,
    troupe: { ...asObject(card.extensions['troupe']), id: characterId },
  }
  const modifiedAtSeconds = Math.floor(createdAtMs / 1_000)
  const picture = format === 'png' ? await portraitFor(original, version, files) : undefined
  const bytes = writeCard({ ...card, extensions }, format, {
    modifiedAtSeconds,
    ...(picture === undefined ? {} : { picture }),
  })
  return { name: `${characterId}.${format}`, mediaType: MEDIA_TYPES[format], bytes }
}

function asObject(value: unknown): Record<string, unknown> {
  return z.record(z.string(), z.unknown()).catch({}).parse(value)
}

const PNG_SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47])

/** The uploaded PNG itself, else the portrait, else a plain square: a PNG card needs some picture. */
async function portraitFor(
  original: Uint8Array,
  { pictureHash }: CharacterVersion,
  files: Files,
): Promise<Uint8Array> {
  if (Buffer.from(original.subarray(0, 4)).equals(PNG_SIGNATURE)) return original
  return files.portraitPng(pictureHash)
}
