/**
 * Pseudonyms of people, chats and answers. Each epoch has a salt of its own; when its salt is destroyed, a month after the
 * next epoch began, nobody can tell any more whose its pseudonyms were: not even with the secret of the installation.
 */
import { createHmac, randomBytes } from 'node:crypto'

import { and, desc, eq, isNull, lt } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { pseudonym } from '#base/ids.ts'
import type { Vault } from '#base/vault.ts'
import type { Store } from '#store/store.ts'

export type NamedKind = 'person' | 'chat' | 'message'

export interface Pseudonyms {
  of(kind: NamedKind, id: string): string
  /**
   * Of a person, the same in all epochs: what limits, quotas and sessions of the pages go by, which a rotation must not begin
   * anew. It stands in no record, so that it joins no two epochs.
   */
  lasting(personId: string): string
  /** Under every epoch whose salt is still there, newest first, and a person's lasting one: what may be kept somewhere. */
  all(kind: NamedKind, id: string): string[]
  /**
   * Begins an epoch, where an age is given only when the newest one is so old. The old pseudonyms can be found for 30 more days.
   * Of several processes that do it at once, one does, and the others learn of it.
   */
  rotate(leastAgeMs?: number): Promise<void>
  /** Learns of epochs that other processes began, and destroys salts whose time is over; how many. */
  refresh(): Promise<number>
  /** The beginning of the oldest epoch that can still be told. */
  readonly knownSinceMs: number
}

interface Parts {
  store: Store
  vault: Vault
  secret: string
  now: () => number
  /** Asked once in the life of a house: where records were made before there were epochs, their pseudonyms go on. */
  hasOlderRecords: () => Promise<boolean>
}

const DAY_MS = 86_400_000
const TOLD_FOR_MS = 30 * DAY_MS
const SALT_BYTES = 32

/** Ids of epochs count up, and sort as they do. */
const ID_PREFIX = 'epoch-'
const ID_DIGITS = 6

/** The kind of the lasting names; no epoch has names of it. */
const LASTING = 'limits'

interface Epoch {
  secret: string
  startedAtMs: number
  endedAtMs: number | null
}

const NONE: Epoch = { secret: '', startedAtMs: 0, endedAtMs: null }

const checkOf = (secret: string) =>
  createHmac('sha256', secret).update('the secret of the pseudonyms').digest('base64url')

/**
 * Under another secret everybody is a stranger: whoever objected or was erased would be known again, without a word. `checks` are
 * those of the epochs. Throws AppError `invalid`.
 */
export function checkSecret(secret: string | undefined, checks: readonly (string | null)[]): void {
  const known = checks.filter((check) => check !== null)
  if (known.length === 0 || (secret !== undefined && known.includes(checkOf(secret)))) return
  throw new AppError(
    'invalid',
    'TROUPE_PSEUDONYM_SECRET is not the one that these records were made with, so nobody could be told who is who, who objected or who was erased: ' +
      'set it to the old one, in every sidecar (the file pseudonym-secret in the data folder where a sidecar made it for itself, pseudonymSecret in secrets.json where ./scripts/up did)',
  )
}

/** Throws AppError `invalid` where the secret is another than that of the epochs which are there. */
export async function openPseudonyms(on: Parts): Promise<Pseudonyms> {
  const { store, vault, now } = on
  const { pseudonymEpochs: epochs } = store.t
  let known: Epoch[] = []

  async function load(): Promise<void> {
    const rows = await store.db.select().from(epochs).orderBy(desc(epochs.id))
    known = rows.flatMap(({ id, salt, startedAtMs, endedAtMs }) =>
      salt === null ? [] : [{ secret: secretOf(salt, id), startedAtMs, endedAtMs }],
    )
  }

  function secretOf(sealed: string, id: string): string {
    const salt = vault.open(sealed, { table: 'pseudonym_epochs', column: 'salt', row: id })
    return salt === '' ? on.secret : createHmac('sha256', on.secret).update(salt).digest('base64url')
  }

  /** Of two processes that begin the same epoch at once, one writes and both read the same. */
  async function begin(number: number, salt: string): Promise<void> {
    const id = `${ID_PREFIX}${String(number).padStart(ID_DIGITS, '0')}`
    const sealed = vault.seal(salt, { table: 'pseudonym_epochs', column: 'salt', row: id })
    await store.db
      .insert(epochs)
      .values({ id, salt: sealed, startedAtMs: now(), endedAtMs: null, secretCheck: checkOf(on.secret) })
      .onConflictDoNothing()
  }

  const newestEpoch = async () =>
    (await store.db.select().from(epochs).orderBy(desc(epochs.id)).limit(1)).at(0)

  /** All but the newest have an end: the moment at which it began. */
  async function endOlder(): Promise<void> {
    const newest = await newestEpoch()
    if (newest === undefined) return
    await store.db
      .update(epochs)
      .set({ endedAtMs: newest.startedAtMs })
      .where(and(isNull(epochs.endedAtMs), lt(epochs.id, newest.id)))
  }

  const lasting = (personId: string) => pseudonym(on.secret, LASTING, personId)
  const freshSalt = () => randomBytes(SALT_BYTES).toString('base64url')

  async function holdToSecret(): Promise<void> {
    const checks = await store.db.select({ check: epochs.secretCheck }).from(epochs)
    checkSecret(
      on.secret,
      checks.map(({ check }) => check),
    )
  }

  await holdToSecret()
  await load()
  // Of before there were checks: what opens from now on is held to this secret.
  await store.db
    .update(epochs)
    .set({ secretCheck: checkOf(on.secret) })
    .where(isNull(epochs.secretCheck))
  if (known.length === 0) {
    await begin(1, (await on.hasOlderRecords()) ? '' : freshSalt())
    await load()
  }
  // Another process may have started under another secret at the same moment, and been first.
  await holdToSecret()

  return {
    of: (kind, id) => pseudonym((known[0] ?? NONE).secret, kind, id),
    lasting,
    all: (kind, id) => [
      ...known.map(({ secret }) => pseudonym(secret, kind, id)),
      ...(kind === 'person' ? [lasting(id)] : []),
    ],
    async rotate(leastAgeMs = -Infinity) {
      // Asked of the database: what this process knows may be older than the last rotation of another.
      const newest = await newestEpoch()
      if (newest !== undefined && now() - newest.startedAtMs >= leastAgeMs)
        await begin(Number(newest.id.slice(ID_PREFIX.length)) + 1, freshSalt())
      await endOlder()
      await load()
    },
    async refresh() {
      // A process that died in the middle of a rotation left one open.
      await endOlder()
      const rows = await store.db.select().from(epochs)
      const over = rows.filter(
        ({ salt, endedAtMs }) => salt !== null && endedAtMs !== null && endedAtMs < now() - TOLD_FOR_MS,
      )
      for (const { id } of over) await store.db.update(epochs).set({ salt: null }).where(eq(epochs.id, id))
      await load()
      return over.length
    },
    get knownSinceMs() {
      return known.at(-1)?.startedAtMs ?? now()
    },
  }
}
