/** Every table, once. `tables.sqlite.ts` and `tables.postgres.ts` turn it into the two dialects. */
import type { Card, Note } from '#characters/card.ts'

import type { Kit } from './kit.sqlite.ts'

/**
 * One set of tables for both databases (characters and analytics): the two may then be one server or two files by URL
 * alone, at the price of a few empty tables in each.
 */
export function defineTables(k: Kit) {
  const characters = k.table('characters', {
    /** The slug; also the model id. Never changes. */
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    /** Null while the character is a draft. */
    publishedVersion: k.int('published_version'),
    latestVersion: k.int('latest_version').notNull(),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    updatedAtMs: k.epochMs('updated_at_ms').notNull(),
  })

  const characterVersions = k.table(
    'character_versions',
    {
      characterId: k
        .text('character_id')
        .notNull()
        .references(() => characters.id, { onDelete: 'cascade' }),
      number: k.int('number').notNull(),
      card: k.json<Card>('card').notNull(),
      /** SHA-256 of the uploaded file; the file lies in the data folder under this name. */
      originalHash: k.text('original_hash').notNull(),
      originalName: k.text('original_name').notNull(),
      /** SHA-256 of the re-encoded portrait; null when the card brought none. */
      pictureHash: k.text('picture_hash'),
      notes: k.json<Note[]>('notes').notNull(),
      createdAtMs: k.epochMs('created_at_ms').notNull(),
    },
    (t) => [
      k.primaryKey({ columns: [t.characterId, t.number] }),
      k.index('character_versions_original').on(t.originalHash),
    ],
  )

  const apiKeys = k.table('api_keys', {
    /** The public part of the key. */
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    /** SHA-256 of the secret part: 256 random bits need no slow hash. */
    secretHash: k.text('secret_hash').notNull(),
    scopes: k.json<string[]>('scopes').notNull(),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    expiresAtMs: k.epochMs('expires_at_ms'),
    revokedAtMs: k.epochMs('revoked_at_ms'),
  })

  const callRecords = k.table(
    'call_records',
    {
      id: k.text('id').primaryKey(),
      startedAtMs: k.epochMs('started_at_ms').notNull(),
      kind: k.text('kind').notNull(),
      task: k.text('task'),
      surface: k.text('surface').notNull(),
      keyId: k.text('key_id').notNull(),
      person: k.text('person'),
      chat: k.text('chat'),
      message: k.text('message'),
      characterId: k.text('character_id'),
      characterVersion: k.int('character_version'),
      baseModel: k.text('base_model'),
      upstream: k.text('upstream'),
      streamed: k.bool('streamed').notNull(),
      status: k.text('status').notNull(),
      errorCode: k.text('error_code'),
      finishReason: k.text('finish_reason'),
      contextTokens: k.int('context_tokens'),
      estimatedPromptTokens: k.int('estimated_prompt_tokens'),
      promptTokens: k.int('prompt_tokens'),
      completionTokens: k.int('completion_tokens'),
      cachedTokens: k.int('cached_tokens'),
      tokensByPart: k.json<Record<string, number>>('tokens_by_part').notNull(),
      cutTurns: k.int('cut_turns').notNull(),
      prefixHash: k.text('prefix_hash'),
      firstTokenMs: k.float('first_token_ms'),
      totalMs: k.float('total_ms').notNull(),
      loadMs: k.float('load_ms'),
      prefillMs: k.float('prefill_ms'),
      decodeMs: k.float('decode_ms'),
    },
    (t) => [k.index('call_records_started').on(t.startedAtMs), k.index('call_records_message').on(t.message)],
  )

  const ratings = k.table(
    'ratings',
    {
      id: k.text('id').primaryKey(),
      message: k.text('message').notNull(),
      value: k.int('value').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
    },
    (t) => [k.index('ratings_message').on(t.message)],
  )

  return { characters, characterVersions, apiKeys, callRecords, ratings }
}

export type Tables = ReturnType<typeof defineTables>
