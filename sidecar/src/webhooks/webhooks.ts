/** Webhooks: who is told of what. Telling is the work of `courier.ts`. */
import { and, asc, desc, eq } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { createId } from '#base/ids.ts'
import type { Log } from '#base/log.ts'
import type { Vault } from '#base/vault.ts'
import type { Guard } from '#outgoing/guard.ts'
import type { Store } from '#store/store.ts'

import { startCourier, type Courier } from './courier.ts'
import type { WebhookEventType } from './events.ts'
import { createWebhookSecret } from './sign.ts'

export interface Webhook {
  id: string
  name: string
  /** Without its query, which often holds a token. */
  url: string
  /** Empty for all. */
  events: WebhookEventType[]
  isActive: boolean
  createdBy: string
  createdAtMs: number
}

export interface Delivery {
  messageId: string
  type: string
  state: 'pending' | 'delivered' | 'dead'
  attempts: number
  /** Null for what is not tried any more. */
  nextAtMs: number | null
  lastStatus: number | null
  lastError: string | null
  createdAtMs: number
  deliveredAtMs: number | null
}

export interface WebhookWish {
  name: string
  url: string
  events: readonly WebhookEventType[]
  actor: string
}

export interface Webhooks {
  list(): Promise<Webhook[]>
  /** The only time that the secret is told. Throws AppError `invalid` for an address that nothing is sent to. */
  create(wish: WebhookWish): Promise<Webhook & { secret: string }>
  /** Throws AppError `not_found`. */
  setActive(id: string, isActive: boolean): Promise<Webhook>
  /** With all that was to be delivered. Throws AppError `not_found`. */
  delete(id: string): Promise<void>
  /** Newest first. Throws AppError `not_found`. */
  deliveries(id: string, find: { state?: Delivery['state']; limit?: number }): Promise<Delivery[]>
  /** Tries it again as if it were new, under its old id. Throws AppError `not_found`. */
  resend(id: string, messageId: string): Promise<void>
  /** Sends a message that says nothing but that it arrived. */
  test(id: string): Promise<{ messageId: string }>
  /** Looks for what happened at once, instead of within seconds. */
  wake(): void
  close(): Promise<void>
}

interface WebhookParts {
  store: Store
  vault: Vault
  guard: Guard
  log: Log
  now: () => number
  /** Waits between tries; others are for tests. */
  waitsMs?: readonly number[]
}

const PAGE = 50

export function openWebhooks({ store, vault, guard, log, now, waitsMs }: WebhookParts): Webhooks {
  const { db, t } = store
  const { webhooks, webhookDeliveries: deliveries } = t
  const courier: Courier = startCourier({ store, vault, guard, log, now, ...(waitsMs && { waitsMs }) })

  const show = (row: typeof webhooks.$inferSelect): Webhook => ({
    id: row.id,
    name: row.name,
    url: withoutQuery(vault.open(row.url, { table: 'webhooks', column: 'url', row: row.id })),
    events: row.events as WebhookEventType[],
    isActive: row.isActive,
    createdBy: row.createdBy,
    createdAtMs: row.createdAtMs,
  })

  async function get(id: string) {
    const [row] = await db.select().from(webhooks).where(eq(webhooks.id, id)).limit(1)
    if (row === undefined) throw new AppError('not_found', `There is no webhook with the id "${id}"`)
    return row
  }

  return {
    list: async () => (await db.select().from(webhooks).orderBy(asc(webhooks.createdAtMs))).map(show),
    async create({ name, url, events, actor }) {
      const id = createId(now())
      const secret = createWebhookSecret()
      const row = {
        id,
        name,
        url: vault.seal(guard.check(url).href, { table: 'webhooks', column: 'url', row: id }),
        secret: vault.seal(secret, { table: 'webhooks', column: 'secret', row: id }),
        events: [...events],
        isActive: true,
        createdBy: actor,
        createdAtMs: now(),
        followedUntilMs: now(),
      }
      await db.insert(webhooks).values(row)
      return { ...show(row), secret }
    },
    async setActive(id, isActive) {
      const row = await get(id)
      // What happened while it was off is not told afterwards.
      const followed = isActive && !row.isActive ? { followedUntilMs: now() } : {}
      await db
        .update(webhooks)
        .set({ isActive, ...followed })
        .where(eq(webhooks.id, id))
      return show({ ...row, isActive })
    },
    async delete(id) {
      await get(id)
      await db.delete(webhooks).where(eq(webhooks.id, id))
    },
    async deliveries(id, { state, limit = PAGE }) {
      await get(id)
      const rows = await db
        .select()
        .from(deliveries)
        .where(
          and(eq(deliveries.webhookId, id), state === undefined ? undefined : eq(deliveries.state, state)),
        )
        .orderBy(desc(deliveries.createdAtMs))
        .limit(limit)
      return rows.map(({ webhookId: _, payload, nextAtMs, ...row }) => ({
        ...row,
        state: row.state as Delivery['state'],
        type: payload.type,
        nextAtMs: row.state === 'pending' ? nextAtMs : null,
      }))
    },
    async resend(id, messageId) {
      const found = await db
        .update(deliveries)
        .set({ state: 'pending', attempts: 0, nextAtMs: now(), deliveredAtMs: null })
        .where(and(eq(deliveries.webhookId, id), eq(deliveries.messageId, messageId)))
        .returning({ id: deliveries.messageId })
      if (found.length === 0)
        throw new AppError('not_found', `There is no message "${messageId}" for this webhook`)
      courier.wake()
    },
    async test(id) {
      await get(id)
      const messageId = `test_${createId(now())}`
      const event = { id: messageId, type: 'webhook.test', atMs: now(), data: { webhookId: id } } as const
      await courier.put(id, [event])
      courier.wake()
      return { messageId }
    },
    wake: () => courier.wake(),
    close: () => courier.close(),
  }
}

function withoutQuery(address: string): string {
  const url = new URL(address)
  return `${url.origin}${url.pathname}`
}
