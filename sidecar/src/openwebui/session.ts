/**
 * Who is signed in at Open WebUI. Its token carries no role and stays valid after sign-out, so Open WebUI is asked, and
 * the answer believed for half a minute. Neither token nor answer is kept or logged: the answer repeats the token.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { Person } from '#prompt/ask.ts'

import { expectAnswer, openWire } from './wire.ts'

/** How long somebody who signed out, or lost a role, may still be let in. */
const TRUST_MS = 30_000

/** More people than edit characters at once. */
const MAX_SESSIONS = 500

/** A JWT and nothing that could be another header. */
const TOKEN = /^[\w.~+/=-]{1,4096}$/

const Session = z.object({ id: z.string().min(1), name: z.string().optional(), role: z.string() })

export interface Sessions {
  /**
   * The person with this session token (cookie `token`, or bearer). What the role allows is the caller's decision: it may be
   * `pending`. Throws AppError `unauthenticated`, or as `Wire.ask` when Open WebUI does not answer.
   */
  check(token: string): Promise<Person & { role: string }>
}

export function createSessions({ openWebUiUrl, now }: { openWebUiUrl: string; now: () => number }): Sessions {
  // Never closed: its connections close themselves when they have no work.
  const wire = openWire(openWebUiUrl)
  const known = new Map<string, { untilMs: number; person: Promise<Person & { role: string }> }>()

  async function ask(token: string): Promise<Person & { role: string }> {
    const reply = await wire.ask({ path: '/api/v1/auths/', token })
    // 403 is for API keys: they stand for no person at a screen.
    if (reply.status === 401 || reply.status === 403) throw notSignedIn()
    const { id, name, role } = expectAnswer(Session, reply)
    return name === undefined ? { id, role } : { id, name, role }
  }

  return {
    async check(token) {
      if (!TOKEN.test(token)) throw notSignedIn()
      const key = createHash('sha256').update(token).digest('base64url')
      const found = known.get(key)
      if (found !== undefined && found.untilMs > now()) return found.person
      const person = ask(token)
      known.delete(key)
      known.set(key, { untilMs: now() + TRUST_MS, person })
      for (const oldest of known.keys()) {
        if (known.size <= MAX_SESSIONS) break
        known.delete(oldest)
      }
      // Only answers are believed; a refusal or a failure is asked for again.
      person.catch(() => {
        if (known.get(key)?.person === person) known.delete(key)
      })
      return person
    },
  }
}

const notSignedIn = (): AppError =>
  new AppError(
    'unauthenticated',
    'You are not signed in at Open WebUI; sign in there and load this page again',
  )
