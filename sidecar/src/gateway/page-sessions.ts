/**
 * Sessions of the pages. The cookie is 256 bits of chance; the store knows its hash and a pseudonym, so that a copy of it lets
 * nobody in. Every request asks the store: what is ended is ended everywhere.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'

import { sha256Hex } from '#base/ids.ts'
import type { Kv } from '#kv/kv.ts'

const SECRET_BYTES = 32
const TOKEN = /^[\w-]{43}$/

export const SESSION_MS = 12 * 3_600_000
const IDLE_MS = 3_600_000

/** Use is noted once in so long. */
const NOTE_MS = 60_000

const Stored = z.object({ person: z.string(), beganAtMs: z.number(), seenAtMs: z.number() })

export interface PageSessions {
  /** A new token for the person (a pseudonym); the one that the browser had before ends. */
  begin(person: string, previous: string | undefined): Promise<string>
  /** Whose session this is; undefined for one that ended. Throws AppError `unavailable` when the store does not answer. */
  find(token: string): Promise<string | undefined>
  end(token: string): Promise<void>
  /** Ends all of a person's. */
  endAll(person: string): Promise<void>
}

export function createPageSessions({ kv, now }: { kv: Kv; now: () => number }): PageSessions {
  const keyOf = (token: string) => `session:${sha256Hex(token)}`
  const endedKey = (person: string) => `sessions-ended:${person}`

  const lifeMs = (beganAtMs: number) => Math.min(IDLE_MS, beganAtMs + SESSION_MS - now())

  return {
    async begin(person, previous) {
      if (previous !== undefined && TOKEN.test(previous)) await kv.delete(keyOf(previous))
      const token = randomBytes(SECRET_BYTES).toString('base64url')
      const session: z.infer<typeof Stored> = { person, beganAtMs: now(), seenAtMs: now() }
      await kv.set(keyOf(token), JSON.stringify(session), lifeMs(session.beganAtMs))
      return token
    },
    async find(token) {
      if (!TOKEN.test(token)) return undefined
      const key = keyOf(token)
      const text = await kv.get(key)
      if (text === undefined) return undefined
      const session = Stored.parse(JSON.parse(text))
      const endedAtMs = Number((await kv.get(endedKey(session.person))) ?? -1)
      if (session.beganAtMs <= endedAtMs || session.beganAtMs + SESSION_MS <= now()) return undefined
      // Who signs out at this moment is out.
      if (now() - session.seenAtMs >= NOTE_MS)
        await kv.replace(key, JSON.stringify({ ...session, seenAtMs: now() }), lifeMs(session.beganAtMs))
      return session.person
    },
    async end(token) {
      if (TOKEN.test(token)) await kv.delete(keyOf(token))
    },
    async endAll(person) {
      await kv.set(endedKey(person), String(now()), SESSION_MS)
    },
  }
}
