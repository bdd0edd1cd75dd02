/** What people can ask of the house: what is kept of them, to be forgotten, not to be known. And what has to happen by itself for that. */
import { desc, eq } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Vault } from '#base/vault.ts'
import type { Kv } from '#kv/kv.ts'
import type { Store } from '#store/store.ts'

import { createErasure } from './erasure.ts'
import { exportPerson } from './export.ts'
import { countRows } from './personal-rows.ts'
import { openPseudonyms, type Pseudonyms } from './pseudonyms.ts'
import type { SignedReceipt } from './receipt.ts'
import { openRegister, type Register } from './register.ts'
import { createSamples, type Sample, type Samples } from './samples.ts'

export interface PersonState {
  /** Counted, but not known. */
  objects: boolean
  erased: boolean
  /** Rows by table, in both databases. */
  rows: Record<string, Record<string, number>>
  /** Sentences about chats of this person, which are kept for seven days. */
  summaries: number
}

export interface Privacy {
  pseudonyms: Pseudonyms
  samples: Samples
  isHidden: Register['isHidden']
  isBuried: Register['isBuried']
  state(personId: string): Promise<PersonState>
  export(personId: string): Promise<NodeJS.ReadableStream>
  erase(personId: string, source: string): Promise<SignedReceipt>
  eraseChat(chatId: string): Promise<void>
  setObjection(personId: string, objects: boolean): Promise<void>
  erasures(
    limit: number,
  ): Promise<{ id: string; source: string; atMs: number; receipt: Record<string, unknown> }[]>
  publicKey: string
  rotatePseudonyms(): Promise<void>
  /** Forgets the people who are not in this list any more. */
  reconcile(
    existingIds: ReadonlySet<string>,
    options: { force: boolean },
  ): Promise<{ erased: number; refused: boolean }>
  listSamples(find: { characterId?: string; limit: number }): Promise<Sample[]>
  /** Seals with the newest key what older ones sealed; afterwards the older ones can be taken away. How many fields. */
  reseal(): Promise<number>
  /** Waits for what is being done. */
  close(): Promise<void>
}

interface Parts {
  stores: Readonly<Record<'characters' | 'analytics', Store>>
  /** Tells other processes. */
  kv: Pick<Kv, 'publish' | 'subscribe'>
  vault: Vault
  secret: string
  dataDir: string
  /** New pseudonyms after so many days; undefined for never. */
  pseudonymDays: number | undefined
  texts: {
    forget(who: { persons: readonly string[]; chats: readonly string[] }): Promise<void>
    texts(persons: readonly string[]): Promise<string[]>
  }
  log: Log
  now: () => number
}

/** Who was not told of an objection or an erasure, since Redis did not answer, learns of it after so long. */
const REFRESH_MS = 15_000
const CHANNEL = 'people'
const UPKEEP_MS = 6 * 3_600_000
const AGAIN_MS = 60_000
const DAY_MS = 86_400_000

export async function openPrivacy(on: Parts): Promise<Privacy> {
  const { stores, kv, vault, secret, log, now } = on
  const { characters, analytics } = stores
  const register = await openRegister({ store: characters, secret, dataDir: on.dataDir, now })
  const pseudonyms = await openPseudonyms({
    ...{ store: characters, vault, secret, now },
    hasOlderRecords: () => hasRecords(analytics),
  })
  const samples = createSamples({ store: analytics, vault, now })
  const self = createId(now())
  /** The others; those who cannot be told ask by themselves. */
  const tell = () => kv.publish(CHANNEL, self).catch(() => undefined)
  const erasure = createErasure({
    ...{ stores, pseudonyms, register, secret, log, now, tell },
    async forgetTexts({ persons, chats }) {
      await on.texts.forget({ persons, chats })
      await samples.forgetChats(chats)
    },
  })

  /** Names of erased ones whose rows were looked for here: less than is known where a wipe is owed. */
  let replayedNames = 0
  async function replay(): Promise<void> {
    // Who is buried meanwhile may be missed.
    const names = register.buriedNames
    await erasure.replay()
    replayedNames = names
  }

  async function upkeep(): Promise<void> {
    await register.refresh()
    if (on.pseudonymDays !== undefined) await pseudonyms.rotate(on.pseudonymDays * DAY_MS)
    await pseudonyms.refresh()
    await samples.expire()
    await replay()
  }

  async function learn(): Promise<void> {
    await Promise.all([register.refresh(), pseudonyms.refresh()])
    // What this process wrote of them before it knew, and what a wipe that failed left.
    if (register.buriedNames > replayedNames) await replay()
  }

  let running = Promise.resolve()
  const inTurn = (work: () => Promise<unknown>) => {
    running = running.then(work).then(
      () => undefined,
      (thrown: unknown) => {
        const error = toAppError(thrown)
        log.warn(
          { errorCode: error.code, error },
          'what is owed to people could not be done; tried again later',
        )
      },
    )
  }
  let isWaiting = false
  /** One that waits will also learn of whom it is told until it begins. */
  const learnInTurn = () => {
    if (isWaiting) return
    isWaiting = true
    inTurn(() => {
      isWaiting = false
      return learn()
    })
  }
  const timers: NodeJS.Timeout[] = [
    setInterval(learnInTurn, REFRESH_MS),
    setInterval(() => inTurn(upkeep), UPKEEP_MS),
  ]
  for (const timer of timers) timer.unref()
  // Ends what a kill cut off; a database that is away at the start is waited for.
  const upkeepAtStart = () =>
    upkeep().catch((thrown: unknown) => {
      timers.push(setTimeout(() => inTurn(upkeepAtStart), AGAIN_MS).unref())
      throw thrown
    })
  inTurn(upkeepAtStart)

  const stopListening = kv.subscribe(CHANNEL, (from) => {
    if (from !== self) learnInTurn()
  })
  const telling =
    <Args extends unknown[], Answer>(change: (...args: Args) => Promise<Answer>) =>
    async (...args: Args): Promise<Answer> => {
      const answer = await change(...args)
      await tell()
      return answer
    }

  const rowsOf = async (personId: string) => {
    const persons = pseudonyms.all('person', personId)
    const [inCharacters, inAnalytics] = await Promise.all([
      countRows(characters, persons),
      countRows(analytics, persons),
    ])
    return { characters: inCharacters, analytics: inAnalytics }
  }

  return {
    pseudonyms,
    samples,
    // Of those whom the comparison found, only the pseudonym is known.
    isHidden: (id) => register.isHidden(id) || register.isBuried('person', pseudonyms.of('person', id)),
    isBuried: register.isBuried,
    async state(personId) {
      return {
        objects: register.objects(personId),
        erased: register.isBuried('person', personId),
        rows: await rowsOf(personId),
        summaries: (await on.texts.texts(pseudonyms.all('person', personId))).length,
      }
    },
    async export(personId) {
      const persons = pseudonyms.all('person', personId)
      return exportPerson({
        stores,
        persons,
        atMs: now(),
        texts: {
          samples: await samples.list({ persons, limit: 100_000 }),
          summaries: await on.texts.texts(persons),
          state: { objects: register.objects(personId) },
        },
      })
    },
    erase: erasure.person,
    eraseChat: erasure.chat,
    setObjection: telling(register.setObjection),
    async erasures(limit) {
      const { erasures } = characters.t
      const rows = await characters.db.select().from(erasures).orderBy(desc(erasures.id)).limit(limit)
      return rows.map(({ id, source, atMs, receipt }) => ({ id, source, atMs, receipt }))
    },
    publicKey: erasure.publicKey,
    rotatePseudonyms: telling(() => pseudonyms.rotate()),
    reconcile: erasure.gone,
    listSamples: (find) => samples.list(find),
    reseal: async () => (await samples.reseal()) + (await resealRows(characters, vault)),
    async close() {
      stopListening()
      for (const timer of timers) clearInterval(timer)
      await running
    },
  }
}

async function hasRecords({ db, t }: Store): Promise<boolean> {
  return (await db.select({ id: t.callRecords.id }).from(t.callRecords).limit(1)).length > 0
}

/** Sealed fields of the other database. */
async function resealRows({ db, t }: Store, vault: Vault): Promise<number> {
  const { webhooks, pseudonymEpochs: epochs } = t
  const renew = (table: string, column: string, row: string, sealed: string) => {
    const place = { table, column, row }
    return vault.seal(vault.open(sealed, place), place)
  }
  let fields = 0
  for (const { id, url, secret } of await db.select().from(webhooks)) {
    if (vault.isCurrent(url) && vault.isCurrent(secret)) continue
    const set = { url: renew('webhooks', 'url', id, url), secret: renew('webhooks', 'secret', id, secret) }
    await db.update(webhooks).set(set).where(eq(webhooks.id, id))
    fields += 2
  }
  for (const { id, salt } of await db.select().from(epochs)) {
    if (salt === null || vault.isCurrent(salt)) continue
    await db
      .update(epochs)
      .set({ salt: renew('pseudonym_epochs', 'salt', id, salt) })
      .where(eq(epochs.id, id))
    fields += 1
  }
  return fields
}
