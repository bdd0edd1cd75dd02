/**
 * Pseudonyms of people, chats and answers. Each epoch has a salt of its own; when its salt is destroyed, a month after the
 * next epoch began, nobody can tell any more whose its pseudonyms were: not even with the secret of the installation.
 */
import { createHmac, randomBytes } from 'node:crypto'

import { desc, eq, isNull } from 'drizzle-orm'

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
  /** Begins an epoch. The old pseudonyms can be found for 30 more days. */
  rotate(): Promise<void>
  /** Learns of epochs that other processes began, and destroys salts whose time is over; how many. */
  refresh(): Promise<number>
  /** The beginning of the oldest epoch that can still be told. */
  readonly knownSinceMs: number
  readonly startedAtMs: number
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

/** The kind of the lasting names; no epoch has names of it. */
const LASTING = 'limits'

interface Epoch {
  secret: string
  startedAtMs: number
  endedAtMs: number | null
}

const NONE: Epoch = { secret: '', startedAtMs: 0, endedAtMs: null }

export async function openPseudonyms(on: Parts): Promise<Pseudonyms> {
  const { store, vault, now } = on
  const { pseudonymEpochs: epochs } = store.t
  let known: Epoch[] = []

  async function load(): Promise<void> {
    const rows = await store.db.select().from(epochs).orderBy(desc(epochs.startedAtMs), desc(epochs.id))
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
    const id = `epoch-${String(number).padStart(6, '0')}`
    const sealed = vault.seal(salt, { table: 'pseudonym_epochs', column: 'salt', row: id })
    await store.db
      .insert(epochs)
      .values({ id, salt: sealed, startedAtMs: now(), endedAtMs: null })
      .onConflictDoNothing()
  }

  const lasting = (personId: string) => pseudonym(on.secret, LASTING, personId)
  const freshSalt = () => randomBytes(SALT_BYTES).toString('base64url')

  await load()
  if (known.length === 0) {
    await begin(1, (await on.hasOlderRecords()) ? '' : freshSalt())
    await load()
  }

  return {
    of: (kind, id) => pseudonym((known[0] ?? NONE).secret, kind, id),
    lasting,
    all: (kind, id) => [
      ...known.map(({ secret }) => pseudonym(secret, kind, id)),
      ...(kind === 'person' ? [lasting(id)] : []),
    ],
    async rotate() {
      const rows = await store.db.select({ id: epochs.id }).from(epochs)
      await begin(rows.length + 1, freshSalt())
      const [newest] = await store.db.select().from(epochs).orderBy(desc(epochs.id)).limit(1)
      for (const { id, endedAtMs } of await store.db.select().from(epochs).where(isNull(epochs.endedAtMs)))
        if (id !== newest?.id && endedAtMs === null)
          await store.db.update(epochs).set({ endedAtMs: now() }).where(eq(epochs.id, id))
      await load()
    },
    async refresh() {
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
    get startedAtMs() {
      return known[0]?.startedAtMs ?? now()
    },
  }
}
