/** Webhooks: who is told of what, what was delivered, and sending it again. */
import { Hono } from 'hono'
import { z } from 'zod'

import { WEBHOOK_EVENTS } from '#webhooks/events.ts'
import type { Webhooks } from '#webhooks/webhooks.ts'

import { check, readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const NewWebhook = z.strictObject({
  name: z.string().trim().min(1).max(100),
  url: z.string().max(2_000),
  /** Left out or empty: all. */
  events: z.array(z.enum(WEBHOOK_EVENTS)).max(100).default([]),
})
const Switch = z.strictObject({ isActive: z.boolean() })
const Find = z.object({
  state: z.enum(['pending', 'delivered', 'dead']).optional(),
  limit: z.coerce.number().int().positive().max(500).default(50),
})

export const webhookOperations: readonly Operation[] = [
  { method: 'get', path: '/', summary: 'The webhooks, without their secrets', may: 'admin' },
  {
    method: 'post',
    path: '/',
    summary: 'Makes a webhook (Standard Webhooks) and shows its secret once',
    may: 'admin',
    body: NewWebhook,
    status: 201,
    audit: ['webhook_create', 'the webhooks'],
  },
  {
    method: 'patch',
    path: '/:id',
    summary: 'Switches a webhook off or on',
    may: 'admin',
    body: Switch,
    audit: ['webhook_switch', 'webhook :id'],
  },
  {
    method: 'delete',
    path: '/:id',
    summary: 'Takes a webhook away',
    may: 'admin',
    status: 204,
    audit: ['webhook_delete', 'webhook :id'],
  },
  {
    method: 'post',
    path: '/:id/test',
    summary: 'Sends a message of the type webhook.test',
    may: 'admin',
    status: 202,
    audit: ['webhook_test', 'webhook :id'],
  },
  {
    method: 'get',
    path: '/:id/deliveries',
    summary: 'What it was told, newest first',
    may: 'admin',
    query: Find,
  },
  {
    method: 'post',
    path: '/:id/deliveries/:messageId/resend',
    summary: 'Sends a message again, under its old id',
    may: 'admin',
    status: 202,
    audit: ['webhook_resend', 'webhook :id'],
  },
]

export interface WebhookParts {
  webhooks: Omit<Webhooks, 'wake' | 'close'>
}

export function webhookRoutes({ webhooks }: WebhookParts) {
  return new Hono<AppEnv>()
    .get('/', async (c) => c.json({ webhooks: await webhooks.list() }))
    .post('/', async (c) => {
      const wish = await readJson(NewWebhook, c.env.incoming)
      return c.json(await webhooks.create({ ...wish, actor: c.var.principal.name }), 201)
    })
    .patch('/:id', async (c) => {
      const { isActive } = await readJson(Switch, c.env.incoming)
      return c.json(await webhooks.setActive(c.req.param('id'), isActive))
    })
    .delete('/:id', async (c) => {
      await webhooks.delete(c.req.param('id'))
      return c.body(null, 204)
    })
    .post('/:id/test', async (c) => c.json(await webhooks.test(c.req.param('id')), 202))
    .get('/:id/deliveries', async (c) => {
      const { state, limit } = check(Find, c.req.query())
      const find = { limit, ...(state && { state }) }
      return c.json({ deliveries: await webhooks.deliveries(c.req.param('id'), find) })
    })
    .post('/:id/deliveries/:messageId/resend', async (c) => {
      await webhooks.resend(c.req.param('id'), c.req.param('messageId'))
      return c.json({ messageId: c.req.param('messageId') }, 202)
    })
}
