/** Who may what: keys, roles, and what was used up. */
import type { Kit } from './kit.sqlite.ts'

/** What one key may use up; absent leaves it to the settings of the house, or without a limit. */
export interface KeyLimits {
  turnsPerMinute?: number
  parallelTurns?: number
  turnsPerDay?: number
  turnsPerMonth?: number
  tokensPerDay?: number
  tokensPerMonth?: number
  /** In the currency of the prices. */
  budgetPerMonth?: number
}

export function defineAccessTables(k: Kit) {
  const apiKeys = k.table('api_keys', {
    /** The public part of the key. */
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    /** SHA-256 of the secret part: 256 random bits need no slow hash. */
    secretHash: k.text('secret_hash').notNull(),
    scopes: k.json<string[]>('scopes').notNull(),
    /** Ids of characters that it may ask; null for all. */
    characterIds: k.json<string[]>('character_ids'),
    /** Or those with one of these tags. */
    tags: k.json<string[]>('tags'),
    limits: k.json<KeyLimits>('limits'),
    /** What keeps its silent streams open; null for comments. */
    keepAlive: k.text('keep_alive'),
    /** Pages that may ask with it from a browser, as origins; null for none. */
    origins: k.json<string[]>('origins'),
    createdBy: k.text('created_by'),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    expiresAtMs: k.epochMs('expires_at_ms'),
    revokedAtMs: k.epochMs('revoked_at_ms'),
    /** True to a minute. */
    lastUsedAtMs: k.epochMs('last_used_at_ms'),
    /** Id of the key that takes its place. */
    replacedBy: k.text('replaced_by'),
  })

  /** People whom somebody gave a role beside that of Open WebUI. */
  const roles = k.table('roles', {
    /** Id of the person in Open WebUI. */
    personId: k.text('person_id').primaryKey(),
    role: k.text('role').notNull(),
    givenBy: k.text('given_by').notNull(),
    givenAtMs: k.epochMs('given_at_ms').notNull(),
  })

  /** What somebody used up in a day or a month: what the fast store counts from when it has forgotten. */
  const usageSums = k.table(
    'usage_sums',
    {
      /** Who, of what, in which period; people under their lasting names (see `personOfUsage`). */
      key: k.text('key').primaryKey(),
      sum: k.float('sum').notNull(),
      expiresAtMs: k.epochMs('expires_at_ms').notNull(),
      /** What it may be, as of the last time that something was added. */
      most: k.float('most'),
      /** When it was first used up, or somebody first refused for it. */
      reachedAtMs: k.epochMs('reached_at_ms'),
    },
    (t) => [k.index('usage_sums_expires').on(t.expiresAtMs), k.index('usage_sums_reached').on(t.reachedAtMs)],
  )

  return { apiKeys, roles, usageSums }
}

/** Keys of `usage_sums` that count a person begin with this, their name and a colon. */
export const USED_BY_PERSON = 'used:person:'

/** Whom a key of `usage_sums` counts; undefined for a key of the API. */
export function personOfUsage(key: string): string | undefined {
  if (!key.startsWith(USED_BY_PERSON)) return undefined
  return key.slice(USED_BY_PERSON.length, key.indexOf(':', USED_BY_PERSON.length))
}
