/**
 * What webhooks tell. Every event is read from rows that were committed together with what they tell of, so none is lost
 * between the two, and none is told of what did not happen. Ids and numbers only, never a word of a chat.
 */
import { and, eq, gt, gte, lte } from 'drizzle-orm'

import { createId, sha256Hex } from '#base/ids.ts'
import { MICRO } from '#base/prices.ts'
import type { Store } from '#store/store.ts'

export interface WebhookEvent {
  /** Equal whenever the same event is read again. */
  id: string
  type: WebhookEventType
  atMs: number
  data: Record<string, unknown>
}

export const WEBHOOK_EVENTS = [
  'character.imported',
  'character.edited',
  'character.published',
  'character.unpublished',
  'character.deleted',
  'character.restored',
  'import.finished',
  'document.failed',
  'erasure.done',
  'quota.reached',
  'webhook.test',
] as const
export type WebhookEventType = (typeof WEBHOOK_EVENTS)[number]

/** Actions of the audit that somebody outside wants to know of. */
const TOLD: Readonly<Record<string, WebhookEventType>> = {
  import: 'character.imported',
  edit: 'character.edited',
  publish: 'character.published',
  rollback: 'character.published',
  unpublish: 'character.unpublished',
  delete: 'character.deleted',
  delete_for_good: 'character.deleted',
  restore: 'character.restored',
}

const MOST_EVENTS = 1_000

export interface Span {
  fromMs: number
  untilMs: number
}

/** Oldest first, with the time up to which they are whole: after a large import that is earlier than asked for. */
export async function eventsWithin(
  store: Store,
  span: Span,
): Promise<{ events: WebhookEvent[]; untilMs: number }> {
  const kinds = await Promise.all(
    [audited, imports, failedDocuments, erased, reachedQuotas].map((read) => read(store, span)),
  )
  const cut = kinds.filter(({ isCut }) => isCut).map(({ events }) => events.at(-1)?.atMs ?? span.fromMs)
  const untilMs = Math.min(span.untilMs, ...cut)
  const events = kinds.flatMap((kind) => kind.events).filter(({ atMs }) => atMs <= untilMs)
  return { events: events.sort((a, b) => a.atMs - b.atMs), untilMs }
}

interface OneKind {
  events: WebhookEvent[]
  isCut: boolean
}

/** An id begins with its time. */
const firstIdAt = (atMs: number) => createId(atMs).slice(0, 10)

async function audited({ db, t }: Store, { fromMs, untilMs }: Span): Promise<OneKind> {
  const { auditEvents } = t
  const rows = await db
    .select()
    .from(auditEvents)
    .where(and(gt(auditEvents.id, firstIdAt(fromMs)), lte(auditEvents.atMs, untilMs)))
    .orderBy(auditEvents.id)
    .limit(MOST_EVENTS)
  const events = rows.flatMap(({ id, action, target, atMs, detail }) => {
    const type = TOLD[action]
    // Lorebooks, knowledge and others stand in the same audit with their kind in front, and have no events of their own.
    if (type === undefined || target.includes(' ')) return []
    const version = typeof detail['to'] === 'number' ? { version: detail['to'] } : {}
    return [{ id: `audit_${id}`, type, atMs, data: { characterId: target, action, ...version } }]
  })
  return { events, isCut: rows.length === MOST_EVENTS }
}

async function imports({ db, t }: Store, { fromMs, untilMs }: Span): Promise<OneKind> {
  const { importJobs: jobs } = t
  const rows = await db
    .select()
    .from(jobs)
    .where(and(gte(jobs.finishedAtMs, fromMs), lte(jobs.finishedAtMs, untilMs)))
    .orderBy(jobs.finishedAtMs)
    .limit(MOST_EVENTS)
  const events = rows.map(({ id, state, totalFiles, finishedAtMs }) => ({
    id: `import_${id}`,
    type: 'import.finished' as const,
    atMs: finishedAtMs ?? untilMs,
    data: { importId: id, state, totalFiles },
  }))
  return { events, isCut: rows.length === MOST_EVENTS }
}

/** One that is tried again and fails again is told again. */
async function failedDocuments({ db, t }: Store, { fromMs, untilMs }: Span): Promise<OneKind> {
  const { knowledgeDocuments: documents } = t
  const rows = await db
    .select({
      id: documents.id,
      baseId: documents.baseId,
      failure: documents.failure,
      atMs: documents.updatedAtMs,
    })
    .from(documents)
    .where(
      and(
        eq(documents.state, 'failed'),
        gte(documents.updatedAtMs, fromMs),
        lte(documents.updatedAtMs, untilMs),
      ),
    )
    .orderBy(documents.updatedAtMs)
    .limit(MOST_EVENTS)
  const events = rows.map(({ id, baseId, failure, atMs }) => ({
    id: `document_${id}_${String(atMs)}`,
    type: 'document.failed' as const,
    atMs,
    // Its words may quote the document.
    data: { documentId: id, baseId, code: failure?.code ?? null },
  }))
  return { events, isCut: rows.length === MOST_EVENTS }
}

async function erased({ db, t }: Store, { fromMs, untilMs }: Span): Promise<OneKind> {
  const { erasures } = t
  const rows = await db
    .select({ id: erasures.id, atMs: erasures.atMs, source: erasures.source })
    .from(erasures)
    .where(and(gt(erasures.id, firstIdAt(fromMs)), lte(erasures.atMs, untilMs)))
    .orderBy(erasures.id)
    .limit(MOST_EVENTS)
  const events = rows.map(({ id, atMs, source }) => ({
    id: `erasure_${id}`,
    type: 'erasure.done' as const,
    atMs,
    data: { erasureId: id, source },
  }))
  return { events, isCut: rows.length === MOST_EVENTS }
}

/** Once for each sum, that is for a person or key in a day or month. */
async function reachedQuotas({ db, t }: Store, { fromMs, untilMs }: Span): Promise<OneKind> {
  const { usageSums } = t
  const rows = await db
    .select()
    .from(usageSums)
    .where(and(gte(usageSums.reachedAtMs, fromMs), lte(usageSums.reachedAtMs, untilMs)))
    .orderBy(usageSums.reachedAtMs)
    .limit(MOST_EVENTS)
  const events = rows.map(({ key, sum, most, reachedAtMs }) => {
    const [, kind, who = '', quota, period = ''] = key.split(':')
    const unit = quota === 'budget' ? MICRO : 1
    // A person's name in the sums is erased with the person; what was sent and put down for it has to tell people apart without it.
    const subject = kind === 'person' ? { person: sha256Hex(who).slice(0, 16) } : { keyId: who }
    return {
      id: `quota_${sha256Hex(key)}`,
      type: 'quota.reached' as const,
      atMs: reachedAtMs ?? untilMs,
      data: { ...subject, quota, period, used: sum / unit, limit: (most ?? sum) / unit },
    }
  })
  return { events, isCut: rows.length === MOST_EVENTS }
}
