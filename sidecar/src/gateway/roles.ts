/**
 * Who may what at the admin API. An admin of Open WebUI is an admin here; everybody else there has the role that somebody
 * gave them, or none. Each role may all that the ones before it may.
 */
import { eq } from 'drizzle-orm'

import type { Kv } from '#kv/kv.ts'
import type { Store } from '#store/store.ts'

import type { Scope } from './keys.ts'

/**
 * viewer: reads characters and figures. editor: changes content. admin: keys, people and what concerns them. owner: roles of
 * admins, keys that let others in, and what cannot be undone.
 */
export const ROLES = ['viewer', 'editor', 'admin', 'owner'] as const
export type Role = (typeof ROLES)[number]

/** What a route demands: a role, a key with a scope, or nothing. */
export type Permission = Role | Scope | 'anyone'

export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text)

export const reaches = (role: Role | undefined, demanded: Role): boolean =>
  role !== undefined && ROLES.indexOf(role) >= ROLES.indexOf(demanded)

export interface GivenRole {
  personId: string
  role: Role
  givenBy: string
  givenAtMs: number
}

export interface Roles {
  /** `openWebUiRole` as Open WebUI says it: `admin`, `user` or `pending`. */
  of(person: { id: string; role: string }): Promise<Role | undefined>
  list(): Promise<GivenRole[]>
  give(personId: string, role: Role, givenBy: string): Promise<GivenRole>
  /** Says whether there was one. */
  take(personId: string): Promise<boolean>
}

/** Other replicas learn of a change at once, or when their copy is this old. */
const CACHE_MS = 5_000
const CHANNEL = 'roles'

export function createRoles({ store, kv, now }: { store: Store; kv: Kv; now: () => number }): Roles {
  const { roles } = store.t
  let copy: { given: Map<string, Role>; readAtMs: number } | undefined
  kv.subscribe(CHANNEL, () => (copy = undefined))

  async function given(): Promise<Map<string, Role>> {
    if (copy !== undefined && now() - copy.readAtMs < CACHE_MS) return copy.given
    const rows = (await store.db.select().from(roles)) as GivenRole[]
    copy = { given: new Map(rows.map(({ personId, role }) => [personId, role])), readAtMs: now() }
    return copy.given
  }

  async function changed(): Promise<void> {
    copy = undefined
    // Without it the others learn of it by the age of their copies.
    await kv.publish(CHANNEL, '').catch(() => undefined)
  }

  return {
    async of({ id, role }) {
      if (role !== 'admin' && role !== 'user') return undefined
      const own = (await given()).get(id)
      return role === 'admin' && !reaches(own, 'admin') ? 'admin' : own
    },
    list: async () => (await store.db.select().from(roles).orderBy(roles.givenAtMs)) as GivenRole[],
    async give(personId, role, givenBy) {
      const row = { personId, role, givenBy, givenAtMs: now() }
      const { personId: _id, ...set } = row
      await store.db.insert(roles).values(row).onConflictDoUpdate({ target: roles.personId, set })
      await changed()
      return row
    },
    async take(personId) {
      const taken = await store.db.delete(roles).where(eq(roles.personId, personId)).returning()
      await changed()
      return taken.length > 0
    },
  }
}
