/** What becomes of one thing out of an archive; said in the table of results in the same commit, so that it comes once. */
import { and, eq, inArray } from 'drizzle-orm'

import { AppError, toAppError } from '#base/errors.ts'
import type { Note } from '#characters/card.ts'
import type { Store } from '#store/store.ts'

import { readUnit, type Unit } from './archive-units.ts'
import { archivePath, restoreLorebook } from './archived.ts'
import type { OpenLibrary } from './characters.ts'
import type { Alongside } from './importing.ts'
import type { ImportWish, UploadedFile } from './library.ts'
import type { Lorebooks } from './lorebooks.ts'
import type { CardArchive } from './open-archive.ts'
import { slugOf } from './slug.ts'

export interface TakingInParts {
  store: Store
  library: Pick<OpenLibrary, 'cards' | 'importCard' | 'restoreCharacter'>
  lorebooks: Pick<Lorebooks, 'restore'>
  now: () => number
}

/** Which job it belongs to, and where it stands in its archive. */
interface Place {
  jobId: string
  position: number
}

/** A thing that cannot be read is a result as well. Throws AppError `unavailable` when the database is away. */
export type TakeIn = (
  archive: CardArchive,
  unit: Unit,
  place: Place,
  wish: { actor: string; publishes: boolean },
) => Promise<void>

export function createTakingIn({ store, library, lorebooks, now }: TakingInParts): TakeIn {
  const { importResults: outcomes } = store.t

  const takeIn: TakeIn = async (archive, unit, { jobId, position }, { actor, publishes }) => {
    const outcome = { jobId, position, file: unit.name }
    const alongside: Alongside = (db, { id, status, notes, isLorebook = false }) => [
      db.insert(outcomes).values({ ...outcome, status, notes, characterId: isLorebook ? null : id }),
    ]
    try {
      if (unit.kind === 'character')
        await library.restoreCharacter(await archive.read(unit.name), archive.read, { actor }, alongside)
      else if (unit.kind === 'lorebook') {
        const bytes = await archive.read(unit.name)
        await restoreLorebook(lorebooks, bytes, (ids) => idsHere(store, jobId, ids), { actor }, alongside)
      } else await takeFile(await readUnit(archive, unit, library.cards), { actor, publishes }, alongside)
    } catch (thrown) {
      const error = toAppError(thrown)
      // The database is gone: no verdict about a card.
      if (error.code === 'unavailable') throw error
      const notes = [{ code: error.code, path: '', message: error.message }]
      await store.db.insert(outcomes).values({ ...outcome, status: 'failed', notes, characterId: null })
    }
  }

  /** A card, or a lorebook: people pack what they have into one archive. */
  async function takeFile(file: UploadedFile, wish: ImportWish, alongside: Alongside): Promise<void> {
    try {
      await library.importCard(file, wish, alongside)
    } catch (thrown) {
      const isOther = thrown instanceof AppError && thrown.code === 'invalid'
      const read = isOther
        ? await library.cards.readLorebook(file.bytes, file.name).catch(() => undefined)
        : undefined
      if (read === undefined) throw thrown
      const { name, lorebook: book, notes } = read
      const wanted = { id: slugOf(name), name, book, characterIds: [], createdAtMs: now() }
      await lorebooks.restore(wanted, wish, (db, imported) =>
        alongside(db, {
          ...imported,
          notes: [...imported.notes, ...notes, ...(imported.status === 'created' ? [NOBODYS_BOOK] : [])],
        }),
      )
    }
  }

  return takeIn
}

const NOBODYS_BOOK: Note = {
  code: 'lorebook',
  path: '',
  message: 'This is a lorebook; no character has it yet.',
}

/** What characters of a library archive became, as far as they came in. */
async function idsHere(
  store: Store,
  jobId: string,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const { importResults: outcomes } = store.t
  const idOf = new Map(ids.map((id) => [archivePath.character(id), id]))
  const rows = await store.db
    .select({ file: outcomes.file, characterId: outcomes.characterId })
    .from(outcomes)
    .where(and(eq(outcomes.jobId, jobId), inArray(outcomes.file, [...idOf.keys()])))
  return new Map(
    rows.flatMap(({ file, characterId }) => {
      const id = idOf.get(file)
      return id === undefined || characterId === null ? [] : [[id, characterId] as const]
    }),
  )
}
