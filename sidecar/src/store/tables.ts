/** Every table, once. `tables.sqlite.ts` and `tables.postgres.ts` turn it into the two dialects. */
import type { Card, Lorebook, Note } from '#characters/card.ts'

import { defineAccessTables } from './access-tables.ts'
import { defineAnalyticsTables } from './analytics-tables.ts'
import type { Kit } from './kit.sqlite.ts'
import { defineExamTables } from './exam-tables.ts'
import { defineKnowledgeTables } from './knowledge-tables.ts'
import { privacyTables } from './privacy-tables.ts'
import { webhookTables } from './webhook-tables.ts'

/** What a list shows of a card, worked out once when the version is made. */
export interface CardSummary {
  /** One line for a picker: the first sentence of the creator's notes, else of the description. */
  tagline: string
  tags: string[]
  greetings: string[]
  /** What the character adds to every request, before anybody says a word. */
  promptTokens: number
}

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
    /** Names of the groups of Open WebUI that may see it; null leaves that to Open WebUI. */
    groups: k.json<string[]>('groups'),
    /** Set while it lies in the trash. */
    deletedAtMs: k.epochMs('deleted_at_ms'),
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
      /** What lists show, so that they need not read the card. Null in rows of the first release; filled at start. */
      summary: k.json<CardSummary>('summary'),
      /** SHA-256 of what the card says, whatever file it came in. Null as above. */
      contentHash: k.text('content_hash'),
      /** Why it was made, in the words of who made it. */
      note: k.text('note'),
      createdBy: k.text('created_by'),
      createdAtMs: k.epochMs('created_at_ms').notNull(),
      /** When it was last made the one that answers. */
      publishedAtMs: k.epochMs('published_at_ms'),
    },
    (t) => [
      k.primaryKey({ columns: [t.characterId, t.number] }),
      k.index('character_versions_content').on(t.contentHash),
    ],
  )

  /** Who did what to which character, and when. */
  const auditEvents = k.table(
    'audit_events',
    {
      id: k.text('id').primaryKey(),
      atMs: k.epochMs('at_ms').notNull(),
      actor: k.text('actor').notNull(),
      action: k.text('action').notNull(),
      target: k.text('target').notNull(),
      /** Numbers and names of fields; never what stands in them. */
      detail: k.json<Record<string, unknown>>('detail').notNull(),
    },
    (t) => [k.index('audit_events_target').on(t.target)],
  )

  /** An archive of cards that is read in, entry by entry; goes on after a restart. */
  const importJobs = k.table('import_jobs', {
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    actor: k.text('actor').notNull(),
    publishes: k.bool('publishes').notNull(),
    /** running, stopped, done or failed. */
    state: k.text('state').notNull(),
    totalFiles: k.int('total_files').notNull(),
    failure: k.text('failure'),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    finishedAtMs: k.epochMs('finished_at_ms'),
  })

  /** What became of each file; written in one transaction with the character that it became. */
  const importResults = k.table(
    'import_results',
    {
      jobId: k
        .text('job_id')
        .notNull()
        .references(() => importJobs.id, { onDelete: 'cascade' }),
      position: k.int('position').notNull(),
      file: k.text('file').notNull(),
      status: k.text('status').notNull(),
      characterId: k.text('character_id'),
      notes: k.json<Note[]>('notes').notNull(),
    },
    (t) => [k.primaryKey({ columns: [t.jobId, t.position] })],
  )

  /** A lorebook beside the cards: for all characters, or for those that it names. */
  const lorebooks = k.table('lorebooks', {
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    book: k.json<Lorebook>('book').notNull(),
    /** Ids of characters; null for all. */
    characterIds: k.json<string[]>('character_ids'),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    updatedAtMs: k.epochMs('updated_at_ms').notNull(),
  })

  return {
    characters,
    characterVersions,
    auditEvents,
    importJobs,
    importResults,
    lorebooks,
    ...defineAccessTables(k),
    ...defineKnowledgeTables(k),
    ...defineAnalyticsTables(k),
    ...defineExamTables(k),
    ...webhookTables(k),
    ...privacyTables(k),
  }
}

export type Tables = ReturnType<typeof defineTables>
