/** Whom we tell of what happens, and what is still to be told. */
import type { Kit } from './kit.sqlite.ts'

export interface WebhookPayload {
  type: string
  /** ISO 8601. */
  timestamp: string
  data: Record<string, unknown>
}

export function webhookTables(k: Kit) {
  const webhooks = k.table('webhooks', {
    id: k.text('id').primaryKey(),
    name: k.text('name').notNull(),
    /** Sealed: addresses often carry a token. */
    url: k.text('url').notNull(),
    /** Sealed. */
    secret: k.text('secret').notNull(),
    /** Types that are told; empty for all. */
    events: k.json<string[]>('events').notNull(),
    isActive: k.bool('is_active').notNull(),
    createdBy: k.text('created_by').notNull(),
    createdAtMs: k.epochMs('created_at_ms').notNull(),
    /** What happened before was put down for delivery. */
    followedUntilMs: k.epochMs('followed_until_ms').notNull(),
  })

  const webhookDeliveries = k.table(
    'webhook_deliveries',
    {
      webhookId: k
        .text('webhook_id')
        .notNull()
        .references(() => webhooks.id, { onDelete: 'cascade' }),
      /** The same in every try: a receiver knows by it what it has already. */
      messageId: k.text('message_id').notNull(),
      payload: k.json<WebhookPayload>('payload').notNull(),
      /** pending, delivered or dead. */
      state: k.text('state').notNull(),
      attempts: k.int('attempts').notNull(),
      /** When it is tried next, or when another process may think that this one died over it. */
      nextAtMs: k.epochMs('next_at_ms').notNull(),
      lastStatus: k.int('last_status'),
      lastError: k.text('last_error'),
      createdAtMs: k.epochMs('created_at_ms').notNull(),
      deliveredAtMs: k.epochMs('delivered_at_ms'),
    },
    (t) => [
      k.primaryKey({ columns: [t.webhookId, t.messageId] }),
      k.index('webhook_deliveries_due').on(t.state, t.nextAtMs),
    ],
  )

  return { webhooks, webhookDeliveries }
}
