/** Who did what to which character, lorebook, document or other thing of ours. Where it tells of a row, it is written in the same transaction. */
import { and, desc, eq, lt } from 'drizzle-orm'

import { createId } from '#base/ids.ts'
import type { Db, Store, Write } from '#store/store.ts'

import type { AuditEvent } from './library.ts'

export type AuditAction =
  | 'import'
  | 'edit'
  | 'publish'
  | 'unpublish'
  | 'rollback'
  | 'groups'
  | 'delete'
  | 'restore'
  | 'delete_for_good'
  | 'make_model'
  | 'pull_model'
  // `target` is the id of a key or a person.
  | 'key_create'
  | 'key_change'
  | 'key_rotate'
  | 'key_revoke'
  | 'role_give'
  | 'role_take'
  // What is begun, stopped, sent or read out as a whole.
  | 'import_start'
  | 'import_stop'
  | 'import_resume'
  | 'archive_export'
  | 'document_stop'
  | 'exam_add'
  | 'exam_remove'
  | 'index_rebuild'
  | 'index_rebuild_stop'
  | 'loader_run'
  | 'model_file'
  | 'sync'
  | 'people_reconcile'
  | 'function_install'
  | 'sessions_end'
  | 'objection_set'
  | 'objection_take_back'
  | 'person_export'
  | 'pseudonyms_rotate'
  | 'fields_reseal'
  | 'webhook_create'
  | 'webhook_switch'
  | 'webhook_delete'
  | 'webhook_test'
  | 'webhook_resend'

export interface Audit {
  /** One row, to be written with others. */
  row(
    db: Db,
    event: { actor: string; action: AuditAction; target: string; detail?: Record<string, unknown> },
  ): Write
  find(find: { target?: string; cursor?: string; limit?: number }): Promise<{
    events: AuditEvent[]
    nextCursor: string | null
  }>
}

/** Before the id of a lorebook as a target. */
export const LOREBOOK_TARGET = 'lorebook '

const PAGE = 50
const LARGEST_PAGE = 500

export function createAudit(store: Store, now: () => number): Audit {
  const { auditEvents } = store.t
  return {
    row: (db, { actor, action, target, detail = {} }) =>
      db.insert(auditEvents).values({ id: createId(now()), atMs: now(), actor, action, target, detail }),
    async find({ target, cursor, limit = PAGE }) {
      const most = Math.min(limit, LARGEST_PAGE)
      const events = await store.db
        .select()
        .from(auditEvents)
        .where(
          and(
            target === undefined ? undefined : eq(auditEvents.target, target),
            cursor === undefined ? undefined : lt(auditEvents.id, cursor),
          ),
        )
        .orderBy(desc(auditEvents.id))
        .limit(most + 1)
      const page = events.slice(0, most)
      return { events: page, nextCursor: events.length > most ? (page.at(-1)?.id ?? null) : null }
    },
  }
}

/** For what no row of the library tells: a row of its own, after the fact. */
export function createNoteAction(store: Store, now: () => number) {
  const audit = createAudit(store, now)
  return async (event: {
    actor: string
    action: AuditAction
    target: string
    detail?: Record<string, unknown>
  }): Promise<void> => {
    await audit.row(store.db, event)
  }
}
