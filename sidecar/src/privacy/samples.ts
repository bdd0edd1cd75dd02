/**
 * Texts of turns, for characters whose settings ask for them (`extensions.troupe.sampling`): redacted, then sealed, for some
 * days. Whoever talks to such a character is told so; people who objected are never sampled.
 */
import { desc, eq, inArray, lt } from 'drizzle-orm'

import type { Vault } from '#base/vault.ts'
import type { Store } from '#store/store.ts'

import { createRedactor } from './redact.ts'

export interface Turn {
  requestId: string
  characterId: string
  person: string | null
  chat: string | null
  said: string
  answered: string
  days: number
}

export interface Sample {
  requestId: string
  characterId: string
  atMs: number
  expiresAtMs: number
  said: string
  answered: string
}

export interface Samples {
  keep(turn: Turn): Promise<void>
  /** Newest first. */
  list(find: { characterId?: string; persons?: readonly string[]; limit: number }): Promise<Sample[]>
  forgetChats(chats: readonly string[]): Promise<void>
  /** Deletes those whose time is over. */
  expire(): Promise<void>
  /** Seals with the newest key what an older one sealed; how many. */
  reseal(): Promise<number>
}

const DAY_MS = 86_400_000

/** Enough to see how a character talks. */
const MOST_CHARACTERS = 20_000

interface Parts {
  store: Store
  vault: Vault
  now: () => number
}

export function createSamples({ store, vault, now }: Parts): Samples {
  const { db, t } = store
  const { textSamples: samples } = t
  const place = (id: string) => ({ table: 'text_samples', column: 'text', row: id })

  return {
    async keep({ requestId: id, characterId, person, chat, said, answered, days }) {
      const redact = createRedactor()
      const text = JSON.stringify({
        said: redact(said.slice(0, MOST_CHARACTERS)),
        answered: redact(answered.slice(0, MOST_CHARACTERS)),
      })
      const row = { id, characterId, person, chat, text: vault.seal(text, place(id)) }
      await db.insert(samples).values({ ...row, atMs: now(), expiresAtMs: now() + days * DAY_MS })
    },
    async list({ characterId, persons, limit }) {
      const which =
        persons === undefined
          ? characterId === undefined
            ? undefined
            : eq(samples.characterId, characterId)
          : inArray(samples.person, [...persons])
      const rows = await db.select().from(samples).where(which).orderBy(desc(samples.atMs)).limit(limit)
      return rows.map(({ id, text, characterId: of, atMs, expiresAtMs }) => ({
        ...{ requestId: id, characterId: of, atMs, expiresAtMs },
        ...(JSON.parse(vault.open(text, place(id))) as Pick<Sample, 'said' | 'answered'>),
      }))
    },
    async forgetChats(chats) {
      if (chats.length > 0) await db.delete(samples).where(inArray(samples.chat, [...chats]))
    },
    async expire() {
      await db.delete(samples).where(lt(samples.expiresAtMs, now()))
    },
    async reseal() {
      const old = (await db.select().from(samples)).filter(({ text }) => !vault.isCurrent(text))
      for (const { id, text } of old) {
        const fresh = vault.seal(vault.open(text, place(id)), place(id))
        await db.update(samples).set({ text: fresh }).where(eq(samples.id, id))
      }
      return old.length
    },
  }
}
