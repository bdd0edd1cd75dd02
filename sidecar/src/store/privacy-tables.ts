/** What is needed to keep promises to people: new pseudonyms, who objected, who was erased, and texts that may be looked at. */
import type { Kit } from './kit.sqlite.ts'

export function privacyTables(k: Kit) {
  /** Each epoch has pseudonyms of its own. Without its salt nobody can tell any more whose they were. */
  const pseudonymEpochs = k.table('pseudonym_epochs', {
    id: k.text('id').primaryKey(),
    /** Sealed; null once it was destroyed. */
    salt: k.text('salt'),
    startedAtMs: k.epochMs('started_at_ms').notNull(),
    /** When the next one took its place. */
    endedAtMs: k.epochMs('ended_at_ms'),
    /** Keyed hash that only the secret of the installation makes; null in rows of before there were any. */
    secretCheck: k.text('secret_check'),
  })

  /** Keyed hashes of people who want to be counted, not known. */
  const objections = k.table('objections', {
    subject: k.text('subject').primaryKey(),
    atMs: k.epochMs('at_ms').notNull(),
  })

  /** Keyed hashes of ids and pseudonyms that must never come back: not by a late event, not out of a backup. */
  const tombstones = k.table('tombstones', {
    hash: k.text('hash').primaryKey(),
    /** person or chat. */
    kind: k.text('kind').notNull(),
    atMs: k.epochMs('at_ms').notNull(),
  })

  /** One row for each time that a person was erased. */
  const erasures = k.table('erasures', {
    id: k.text('id').primaryKey(),
    /** Keyed hash of the person. */
    subject: k.text('subject').notNull(),
    /** Who asked: the name of a key or an admin, Open WebUI, or the nightly comparison. */
    source: k.text('source').notNull(),
    atMs: k.epochMs('at_ms').notNull(),
    /** Signed; see docs/privacy.md. */
    receipt: k.json<Record<string, unknown>>('receipt').notNull(),
  })

  /** Turns of characters whose makers asked for samples, redacted before they were sealed. */
  const textSamples = k.table(
    'text_samples',
    {
      /** The id of the request. */
      id: k.text('id').primaryKey(),
      characterId: k.text('character_id').notNull(),
      person: k.text('person'),
      chat: k.text('chat'),
      /** Sealed JSON of what was said and answered. */
      text: k.text('text').notNull(),
      atMs: k.epochMs('at_ms').notNull(),
      expiresAtMs: k.epochMs('expires_at_ms').notNull(),
    },
    (t) => [
      k.index('text_samples_character').on(t.characterId, t.atMs),
      k.index('text_samples_person').on(t.person),
    ],
  )

  /** What one process does for all once a day, by name: when it was done last. */
  const chores = k.table('chores', {
    name: k.text('name').primaryKey(),
    doneAtMs: k.epochMs('done_at_ms').notNull(),
  })

  return { chores, pseudonymEpochs, objections, tombstones, erasures, textSamples }
}
