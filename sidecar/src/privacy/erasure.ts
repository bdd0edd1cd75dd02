/** Forgetting people and chats, for good: also what comes late, and what comes back out of a backup. */
import { and, inArray, like } from 'drizzle-orm'

import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Store } from '#store/store.ts'

import { countRows, deleteRows, forgetChats, namesIn, peopleCounted, peopleSeen } from './personal-rows.ts'
import type { Pseudonyms } from './pseudonyms.ts'
import { createSigner, type SignedReceipt } from './receipt.ts'
import { openRegister, type Register } from './register.ts'

export interface Erasure {
  /** Durable from the first moment: whatever stops it, the next start ends it. */
  person(id: string, source: string): Promise<SignedReceipt>
  /** Texts and links of a chat; its numbers stay. */
  chat(id: string): Promise<void>
  /** Erases once more whoever was erased: for a restored backup, for events that came late, and for a kill in the middle. How many people and chats were found. */
  replay(): Promise<number>
  /** People who are gone at the source, by what is left of them here: their pseudonyms. How many there were at least. */
  gone(
    existingIds: ReadonlySet<string>,
    options: { force: boolean },
  ): Promise<{ erased: number; refused: boolean }>
  publicKey: string
}

export interface ErasureParts {
  stores: Readonly<Record<'characters' | 'analytics', Store>>
  pseudonyms: Pseudonyms
  register: Register
  /** Texts that are kept outside of the databases. */
  forgetTexts: (who: { persons: readonly string[]; chats: readonly string[] }) => Promise<void>
  /** Others that somebody was buried, before the wipe: it may be slow, or fail. Never rejects. */
  tell: () => Promise<void>
  secret: string
  log: Log
  now: () => number
}

/** A list of people that is cut, or of another Open WebUI, must not erase a house: more than this share is left to a person. */
const LARGEST_SHARE = 0.2
const ALWAYS_ALLOWED = 5

/** Stands in the audit in place of an id. */
const FORGOTTEN = 'a forgotten person'

/** Statements take so many names at once. */
const NAMES_AT_ONCE = 500

export function createErasure(on: ErasureParts): Erasure {
  const { stores, register, pseudonyms } = on
  const { roles, auditEvents } = stores.characters.t
  /** The audit says that a role was given, and to whom. */
  const isOfRole = like(auditEvents.action, 'role_%')
  const signer = createSigner(on.secret)
  const each = <T>(work: (store: Store) => Promise<T>) =>
    Promise.all(Object.entries(stores).map(async ([name, store]) => [name, await work(store)] as const))

  /** What leads to these people, and the people themselves. */
  async function wipe(persons: readonly string[]): Promise<void> {
    for (let at = 0; at < persons.length; at += NAMES_AT_ONCE) {
      const some = persons.slice(at, at + NAMES_AT_ONCE)
      await on.forgetTexts({ persons: some, chats: [] })
      await each((store) => deleteRows(store, some))
    }
  }

  async function wipeChats(chats: readonly string[]): Promise<void> {
    await on.forgetTexts({ persons: [], chats })
    await each((store) => forgetChats(store, chats))
  }

  /** The only places that know the id itself. */
  async function wipeIds(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const { db } = stores.characters
    await db.delete(roles).where(inArray(roles.personId, [...ids]))
    await db
      .update(auditEvents)
      .set({ target: FORGOTTEN })
      .where(and(isOfRole, inArray(auditEvents.target, [...ids])))
  }

  async function buriedIds(): Promise<string[]> {
    const { db } = stores.characters
    const [given, audited] = await Promise.all([
      db.select({ id: roles.personId }).from(roles),
      db.select({ id: auditEvents.target }).from(auditEvents).where(isOfRole).groupBy(auditEvents.target),
    ])
    const ids = new Set([...given, ...audited].map(({ id }) => id))
    // Of those whom the comparison found, only pseudonyms were known.
    const names = (id: string) => [id, ...pseudonyms.all('person', id)]
    return [...ids].filter((id) => names(id).some((name) => register.isBuried('person', name)))
  }

  async function erasePerson(id: string, source: string): Promise<SignedReceipt> {
    const persons = pseudonyms.all('person', id)
    await register.bury('person', [id, ...persons])
    // Counted before others are told: what they wipe belongs into the receipt.
    const before = Object.fromEntries(await each((store) => countRows(store, persons)).finally(on.tell))
    await wipe(persons)
    await wipeIds([id])
    const after = Object.fromEntries(await each((store) => countRows(store, persons)))
    const subject = register.hashOf('person', id)
    const erasureId = createId(on.now())
    const signed = signer.sign({
      id: erasureId,
      erasedAt: new Date(on.now()).toISOString(),
      subject,
      rowsBefore: before,
      rowsAfter: after,
    })
    const { erasures } = stores.characters.t
    const receipt = { ...signed } as Record<string, unknown>
    await stores.characters.db
      .insert(erasures)
      .values({ id: erasureId, subject, source, atMs: on.now(), receipt })
    return signed
  }

  async function buriedIn(column: 'person' | 'chat'): Promise<string[]> {
    const names = await each((store) => namesIn(store, column))
    const all = new Set(names.flatMap(([, found]) => [...found]))
    return [...all].filter((name) => register.isBuried(column, name))
  }

  /**
   * Who is not among the existing ones: in the records, and where quotas are counted. The two kinds of names cannot be joined,
   * so each is compared by itself.
   */
  async function compare(existingIds: ReadonlySet<string>) {
    const existing = new Set([...existingIds].flatMap((id) => pseudonyms.all('person', id)))
    // Pseudonyms of older epochs cannot be told from those of strangers, and are nobody's any more.
    const seen = await each((store) => peopleSeen(store, pseudonyms.knownSinceMs))
    const counted = await each(peopleCounted)
    return [seen, counted].map((found) => {
      const here = new Set(found.flatMap(([, persons]) => persons))
      const missing = [...here].filter((name) => !existing.has(name))
      const most = Math.max(ALWAYS_ALLOWED, here.size * LARGEST_SHARE)
      return { people: here.size, missing, isTooMany: missing.length > most }
    })
  }

  return {
    publicKey: signer.publicKey,
    person: erasePerson,
    async chat(id) {
      const chats = pseudonyms.all('chat', id)
      await register.bury('chat', [id, ...chats])
      await on.tell()
      await wipeChats(chats)
    },
    async replay() {
      const persons = await buriedIn('person')
      const chats = await buriedIn('chat')
      await wipeIds(await buriedIds())
      if (persons.length > 0) await wipe(persons)
      if (chats.length > 0) await wipeChats(chats)
      if (persons.length + chats.length > 0)
        on.log.info(
          { people: persons.length, chats: chats.length },
          'erased ones had come back and were erased again',
        )
      return persons.length + chats.length
    },
    async gone(existingIds, { force }) {
      const compared = await compare(existingIds)
      const missing = compared.flatMap((of) => of.missing)
      const mostMissing = Math.max(...compared.map((of) => of.missing.length))
      const refused = !force && (existingIds.size === 0 || compared.some((of) => of.isTooMany))
      if (refused && missing.length > 0)
        on.log.warn(
          { missing: mostMissing, people: Math.max(...compared.map(({ people }) => people)) },
          'more people are missing in Open WebUI than seems right; look at it, then run "privacy reconcile --force"',
        )
      if (refused || missing.length === 0) return { erased: 0, refused: refused && missing.length > 0 }
      await register.bury('person', missing)
      await on.tell()
      const ids = await buriedIds()
      const names = ids.flatMap((id) => pseudonyms.all('person', id))
      await register.bury('person', [...ids, ...names])
      await on.tell()
      await wipeIds(ids)
      await wipe([...new Set([...missing, ...names])])
      return { erased: mostMissing, refused: false }
    },
  }
}

/** For databases that were just put back, before anybody uses them: erases whoever was erased. How many people and chats were found. */
export async function replayErasures(
  stores: ErasureParts['stores'],
  { secret, dataDir, log, now }: { secret: string; dataDir: string } & Pick<ErasureParts, 'log' | 'now'>,
): Promise<number> {
  const register = await openRegister({ store: stores.characters, secret, dataDir, now })
  const nobody = {
    ...{ of: () => '', lasting: () => '', all: () => [] },
    ...{ rotate: nothing, refresh: () => Promise.resolve(0) },
  }
  const pseudonyms: Pseudonyms = { ...nobody, knownSinceMs: 0 }
  const { t, db } = stores.analytics
  const erasure = createErasure({
    ...{ stores, register, pseudonyms, secret, log, now, tell: nothing },
    async forgetTexts({ chats }) {
      if (chats.length > 0) await db.delete(t.textSamples).where(inArray(t.textSamples.chat, [...chats]))
    },
  })
  return erasure.replay()
}

const nothing = () => Promise.resolve()
