/**
 * Delivers what happened, at least once: what is to be told is put down as rows first, and a row is done when its receiver
 * said so. Several processes share the work; a row whose process died is taken up by another.
 */
import { and, eq, lt, lte } from 'drizzle-orm'

import { toAppError } from '#base/errors.ts'
import type { Log } from '#base/log.ts'
import type { Vault } from '#base/vault.ts'
import type { Guard } from '#outgoing/guard.ts'
import type { Store } from '#store/store.ts'

import { eventsWithin, type WebhookEvent } from './events.ts'
import { signedHeaders } from './sign.ts'

export interface Courier {
  /** Puts down what one webhook is to be told. */
  put(webhookId: string, events: readonly WebhookEvent[]): Promise<void>
  wake(): void
  /** Waits for the round that runs; the rest is delivered after the next start. */
  close(): Promise<void>
}

interface CourierParts {
  store: Store
  vault: Vault
  guard: Guard
  log: Log
  now: () => number
  waitsMs?: readonly number[]
}

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const DAY_MS = 86_400_000

/** Before the second try, the third and so on: eight tries in a little more than a day. After them it is a dead letter. */
const WAITS_MS = [5, 30, 120, 600, 3_600, 14_400, 86_400].map((seconds) => seconds * SECOND_MS)

/** So that tries which failed together do not come back together. */
const JITTER = 0.2

const ROUND_MS = 5 * SECOND_MS

/** Longer than a try may take: until then no other process thinks that this one died. */
const LEASE_MS = MINUTE_MS

/** A row may be committed a moment after a row with a later time; what is put down twice is one row. */
const OVERLAP_MS = 5 * MINUTE_MS

const AT_ONCE = 20

/** Delivered and dead ones can be looked at and sent again for so long. */
const KEPT_MS = 30 * DAY_MS

/** The receiver says that it is gone for good (Standard Webhooks). */
const GONE = 410

export function startCourier({ store, vault, guard, log, now, waitsMs = WAITS_MS }: CourierParts): Courier {
  const { db, t } = store
  const { webhooks, webhookDeliveries: deliveries } = t
  type Webhook = typeof webhooks.$inferSelect
  type Delivery = typeof deliveries.$inferSelect
  let running: Promise<void> | undefined
  let isWanted = false
  let isClosed = false

  async function put(webhookId: string, events: readonly WebhookEvent[]): Promise<void> {
    if (events.length === 0) return
    const rows = events.map(({ id, type, atMs, data }) => ({
      webhookId,
      messageId: id,
      payload: { type, timestamp: new Date(atMs).toISOString(), data },
      state: 'pending',
      attempts: 0,
      nextAtMs: now(),
      createdAtMs: now(),
    }))
    await db.insert(deliveries).values(rows).onConflictDoNothing()
  }

  /** Puts down what happened since the last look. */
  async function follow(): Promise<void> {
    for (const webhook of await db.select().from(webhooks).where(eq(webhooks.isActive, true))) {
      const fromMs = Math.max(webhook.createdAtMs, webhook.followedUntilMs - OVERLAP_MS)
      const { events, untilMs } = await eventsWithin(store, { fromMs, untilMs: now() })
      const wanted = events.filter(({ type }) => webhook.events.length === 0 || webhook.events.includes(type))
      await put(webhook.id, wanted)
      await db.update(webhooks).set({ followedUntilMs: untilMs }).where(eq(webhooks.id, webhook.id))
    }
  }

  /** One row is tried by one process at a time. */
  async function claim({ webhookId, messageId, attempts, nextAtMs }: Delivery): Promise<boolean> {
    const claimed = await db
      .update(deliveries)
      .set({ attempts: attempts + 1, nextAtMs: now() + LEASE_MS })
      .where(
        and(
          eq(deliveries.webhookId, webhookId),
          eq(deliveries.messageId, messageId),
          eq(deliveries.state, 'pending'),
          eq(deliveries.nextAtMs, nextAtMs),
        ),
      )
      .returning({ id: deliveries.messageId })
    return claimed.length > 0
  }

  async function deliver(delivery: Delivery, webhook: Webhook): Promise<void> {
    const { webhookId, messageId, payload } = delivery
    if (!(await claim(delivery))) return
    const outcome = await attempt(webhook, messageId, JSON.stringify(payload))
    const mine = and(eq(deliveries.webhookId, webhookId), eq(deliveries.messageId, messageId))
    const told = { lastStatus: outcome.status ?? null, lastError: outcome.error ?? null }
    if (outcome.error === undefined) {
      await db
        .update(deliveries)
        .set({ ...told, state: 'delivered', deliveredAtMs: now() })
        .where(mine)
      return
    }
    const waitMs = waitsMs[delivery.attempts]
    const isDead = waitMs === undefined
    if (isDead)
      log.warn({ webhookId, messageId }, 'a webhook message could not be delivered; it can be sent again')
    const next = isDead
      ? { state: 'dead' }
      : { nextAtMs: Math.round(now() + waitMs * (1 + Math.random() * JITTER)) }
    await db
      .update(deliveries)
      .set({ ...told, ...next })
      .where(mine)
  }

  async function attempt(
    { id, url, secret }: Webhook,
    messageId: string,
    body: string,
  ): Promise<{ status?: number; error?: string }> {
    try {
      const address = vault.open(url, { table: 'webhooks', column: 'url', row: id })
      const key = vault.open(secret, { table: 'webhooks', column: 'secret', row: id })
      const signed = signedHeaders(key, { id: messageId, body, atMs: now() })
      const headers = { 'content-type': 'application/json', 'user-agent': 'Troupe', ...signed }
      const { status } = await guard.post(address, headers, body)
      if (status === GONE) await db.update(webhooks).set({ isActive: false }).where(eq(webhooks.id, id))
      return status >= 200 && status < 300 ? { status } : { status, error: `Answered ${String(status)}` }
    } catch (thrown) {
      return { error: toAppError(thrown).message }
    }
  }

  async function round(): Promise<void> {
    await follow()
    const due = await db
      .select()
      .from(deliveries)
      .innerJoin(webhooks, and(eq(webhooks.id, deliveries.webhookId), eq(webhooks.isActive, true)))
      .where(and(eq(deliveries.state, 'pending'), lte(deliveries.nextAtMs, now())))
      .orderBy(deliveries.nextAtMs)
      .limit(AT_ONCE)
    await Promise.all(
      due.map(({ webhook_deliveries: delivery, webhooks: webhook }) => deliver(delivery, webhook)),
    )
    if (due.length === AT_ONCE && !isClosed) isWanted = true
  }

  async function work(): Promise<void> {
    while (isWanted && !isClosed) {
      isWanted = false
      await round().catch((thrown: unknown) => {
        log.warn(
          { errorCode: toAppError(thrown).code },
          'webhooks could not be looked after; tried again soon',
        )
      })
    }
    running = undefined
  }

  function wake(): void {
    isWanted = true
    if (!isClosed) running ??= work()
  }

  async function forget(): Promise<void> {
    await db
      .delete(deliveries)
      .where(lt(deliveries.createdAtMs, now() - KEPT_MS))
      .catch(() => undefined)
  }

  const rounds = setInterval(wake, ROUND_MS).unref()
  const forgetting = setInterval(() => void forget(), DAY_MS / 4).unref()
  wake()

  return {
    put,
    wake,
    async close() {
      isClosed = true
      clearInterval(rounds)
      clearInterval(forgetting)
      await running
    },
  }
}
