/** API keys. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import type { Command, Run } from '../command.ts'

const Key = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  expiresAtMs: z.number().nullable(),
  revokedAtMs: z.number().nullable(),
})

async function createKey({ positionals, values, api, screen }: Run): Promise<number> {
  const [name] = positionals
  if (name === undefined)
    throw new AppError('invalid', 'Name the key, e.g. "keys create reading-club --scopes chat,models"')
  const scopes = String(values['scopes'] ?? 'chat,models').split(',')
  const days = values['days'] === undefined ? {} : { expiresInDays: Number(values['days']) }
  const created = await api.call(
    'POST',
    '/troupe/api/keys',
    z.looseObject({ id: z.string(), secret: z.string() }),
    { name, scopes, ...days },
  )
  screen.line(created.secret)
  screen.line('This is the only time the key is shown.')
  screen.result(created)
  return 0
}

async function listKeys({ api, screen }: Run): Promise<number> {
  const { keys } = await api.call('GET', '/troupe/api/keys', z.object({ keys: z.array(Key) }))
  for (const key of keys) {
    const state = key.revokedAtMs === null ? 'active' : 'revoked'
    screen.line(`${key.id}  ${state.padEnd(8)} ${key.scopes.join(',').padEnd(24)} ${key.name}`)
  }
  screen.result({ keys })
  return 0
}

async function revokeKey({ positionals, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the id of the key; "keys list" shows them')
  await api.call('DELETE', `/troupe/api/keys/${encodeURIComponent(id)}`, z.null())
  screen.line(`Revoked ${id}`)
  screen.result({ id, revoked: true })
  return 0
}

export const keyCommands: readonly Command[] = [
  {
    name: 'keys create',
    usage: 'keys create NAME [--scopes chat,models] [--days N]',
    summary: 'makes an API key and shows it once',
    options: { scopes: { type: 'string' }, days: { type: 'string' } },
    run: createKey,
  },
  { name: 'keys list', usage: 'keys list', summary: 'lists the API keys', options: {}, run: listKeys },
  { name: 'keys revoke', usage: 'keys revoke ID', summary: 'ends an API key', options: {}, run: revokeKey },
]
