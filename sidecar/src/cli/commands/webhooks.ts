/** Webhooks. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { query, required, textOf, type Command, type Run } from '../command.ts'

const Webhook = z.looseObject({
  id: z.string(),
  name: z.string(),
  url: z.string(),
  events: z.array(z.string()),
  isActive: z.boolean(),
})
const Delivery = z.looseObject({
  messageId: z.string(),
  type: z.string(),
  state: z.string(),
  attempts: z.number(),
  lastError: z.string().nullable(),
})

const MISSING_ID = 'Name the id of the webhook; "webhooks list" shows them'
const pathOf = (id: string, rest = '') => `/troupe/api/webhooks/${encodeURIComponent(id)}${rest}`

async function create({ positionals, values, api, screen }: Run): Promise<number> {
  const [name, url] = positionals
  if (name === undefined || url === undefined)
    throw new AppError('invalid', 'Name it and its address, e.g. "webhooks create chat-room https://…"')
  const events = textOf(values, 'events')?.split(',')
  const created = await api.call(
    'POST',
    '/troupe/api/webhooks',
    z.looseObject({ id: z.string(), secret: z.string() }),
    { name, url, ...(events && { events }) },
  )
  screen.line(`${created.id}  ${created.secret}`)
  screen.line('This is the only time the secret is shown; the receiver checks signatures with it.')
  screen.result(created)
  return 0
}

async function list({ api, screen }: Run): Promise<number> {
  const { webhooks } = await api.call('GET', '/troupe/api/webhooks', z.object({ webhooks: z.array(Webhook) }))
  for (const { id, name, url, events, isActive } of webhooks)
    screen.line(`${id}  ${isActive ? 'on ' : 'off'} ${name}  ${url}  ${events.join(',') || 'all events'}`)
  screen.result({ webhooks })
  return 0
}

async function remove({ positionals, api, screen }: Run): Promise<number> {
  const id = required(positionals, MISSING_ID)
  await api.call('DELETE', pathOf(id), z.null())
  screen.line(`Took ${id} away`)
  screen.result({ id, deleted: true })
  return 0
}

async function test({ positionals, api, screen }: Run): Promise<number> {
  const sent = await api.call(
    'POST',
    pathOf(required(positionals, MISSING_ID), '/test'),
    z.looseObject({ messageId: z.string() }),
  )
  screen.line(`Sent as ${sent.messageId}; "webhooks deliveries" shows what became of it`)
  screen.result(sent)
  return 0
}

async function deliveries({ positionals, values, api, screen }: Run): Promise<number> {
  const path = pathOf(
    required(positionals, MISSING_ID),
    `/deliveries${query({ state: textOf(values, 'state') })}`,
  )
  const found = await api.call('GET', path, z.object({ deliveries: z.array(Delivery) }))
  for (const { messageId, type, state, attempts, lastError } of found.deliveries)
    screen.line(`${messageId}  ${state.padEnd(9)} ${String(attempts)} tries  ${type}  ${lastError ?? ''}`)
  screen.result(found)
  return 0
}

async function resend({ positionals, api, screen }: Run): Promise<number> {
  const [id, messageId] = positionals
  if (id === undefined || messageId === undefined)
    throw new AppError('invalid', 'Name the webhook and the message; "webhooks deliveries ID" shows them')
  const path = pathOf(id, `/deliveries/${encodeURIComponent(messageId)}/resend`)
  screen.result(await api.call('POST', path, z.looseObject({})))
  screen.line(`${messageId} is on its way again`)
  return 0
}

export const webhookCommands: readonly Command[] = [
  {
    name: 'webhooks create',
    usage: 'webhooks create NAME URL [--events character.published,…]',
    summary: 'tells an address of what happens, signed; shows the secret once',
    options: { events: { type: 'string' } },
    run: create,
  },
  { name: 'webhooks list', usage: 'webhooks list', summary: 'lists the webhooks', options: {}, run: list },
  {
    name: 'webhooks delete',
    usage: 'webhooks delete ID',
    summary: 'takes a webhook away',
    options: {},
    run: remove,
  },
  {
    name: 'webhooks test',
    usage: 'webhooks test ID',
    summary: 'sends a message that only says that it arrived',
    options: {},
    run: test,
  },
  {
    name: 'webhooks deliveries',
    usage: 'webhooks deliveries ID [--state pending|delivered|dead]',
    summary: 'what a webhook was told, and what became of it',
    options: { state: { type: 'string' } },
    run: deliveries,
  },
  {
    name: 'webhooks resend',
    usage: 'webhooks resend ID MESSAGE',
    summary: 'sends a message again, also one that was given up',
    options: {},
    run: resend,
  },
]
