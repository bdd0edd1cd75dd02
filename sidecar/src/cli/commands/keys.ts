/** API keys. */
import { z } from 'zod'

import { AppError } from '#base/errors.ts'

import { textOf, type Command, type Run } from '../command.ts'

const Key = z.looseObject({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  expiresAtMs: z.number().nullable(),
  revokedAtMs: z.number().nullable(),
  lastUsedAtMs: z.number().nullish(),
  replacedBy: z.string().nullish(),
  characterIds: z.array(z.string()).nullish(),
  tags: z.array(z.string()).nullish(),
  limits: z.record(z.string(), z.number()).nullish(),
})

function stateOf({ revokedAtMs, expiresAtMs }: z.infer<typeof Key>): string {
  if (revokedAtMs !== null) return 'revoked'
  return expiresAtMs !== null && expiresAtMs <= Date.now() ? 'expired' : 'active'
}

const list = (value: unknown): string[] | undefined =>
  typeof value === 'string' ? value.split(',').map((part) => part.trim()) : undefined

/** What may be limited, by the name of its option. */
const LIMITS = {
  'turns-per-minute': 'turnsPerMinute',
  'parallel-turns': 'parallelTurns',
  'turns-per-day': 'turnsPerDay',
  'turns-per-month': 'turnsPerMonth',
  'tokens-per-day': 'tokensPerDay',
  'tokens-per-month': 'tokensPerMonth',
  'budget-per-month': 'budgetPerMonth',
} as const

function readLimits(values: Run['values']): { limits?: Record<string, number> } {
  const given = Object.entries(LIMITS).flatMap(([option, name]) =>
    values[option] === undefined ? [] : [[name, Number(values[option])] as const],
  )
  return given.length === 0 ? {} : { limits: Object.fromEntries(given) }
}

function readDays(values: Run['values']): { expiresInDays?: number | null } {
  if (values['never-expires'] === true && values['days'] !== undefined)
    throw new AppError('invalid', 'Give --days or --never-expires, not both')
  if (values['never-expires'] === true) return { expiresInDays: null }
  return values['days'] === undefined ? {} : { expiresInDays: Number(values['days']) }
}

const Shown = z.looseObject({ id: z.string(), secret: z.string() })

async function createKey({ positionals, values, api, screen }: Run): Promise<number> {
  const [name] = positionals
  if (name === undefined)
    throw new AppError('invalid', 'Name the key, e.g. "keys create reading-club --scopes chat,models"')
  const created = await api.call('POST', '/troupe/api/keys', Shown, {
    name,
    scopes: list(values['scopes']) ?? ['chat', 'models'],
    ...bounds(values),
  })
  screen.line(created.secret)
  screen.line('This is the only time the key is shown.')
  screen.result(created)
  return 0
}

/** What may be given to a new key and to one that is changed. */
const bounds = (values: Run['values']) => ({
  ...readDays(values),
  ...readLimits(values),
  characterIds: list(values['characters']),
  tags: list(values['tags']),
  keepAlive: textOf(values, 'keep-alive'),
  origins: list(values['origins']),
})

async function changeKey({ positionals, values, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the id of the key; "keys list" shows them')
  const change = { name: textOf(values, 'name'), scopes: list(values['scopes']), ...bounds(values) }
  const changed = await api.call('PATCH', `/troupe/api/keys/${encodeURIComponent(id)}`, Key, change)
  screen.line(`Changed ${changed.id} (${changed.name}); it holds everywhere within 5 s`)
  screen.result(changed)
  return 0
}

async function rotateKey({ positionals, values, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the id of the key; "keys list" shows them')
  const grace = values['grace-seconds'] === undefined ? {} : { graceSeconds: Number(values['grace-seconds']) }
  const path = `/troupe/api/keys/${encodeURIComponent(id)}/rotate`
  const created = await api.call('POST', path, Shown, { ...grace, ...readDays(values) })
  screen.line(created.secret)
  screen.line(`This is the only time the key is shown. ${id} works until its grace is over.`)
  screen.result(created)
  return 0
}

async function listKeys({ api, screen }: Run): Promise<number> {
  const { keys } = await api.call('GET', '/troupe/api/keys', z.object({ keys: z.array(Key) }))
  for (const key of keys) {
    const used =
      key.lastUsedAtMs == null
        ? 'never used'
        : `used ${new Date(key.lastUsedAtMs).toISOString().slice(0, 16)}`
    screen.line(
      `${key.id}  ${stateOf(key).padEnd(8)} ${key.scopes.join(',').padEnd(24)} ${used.padEnd(21)} ${key.name}`,
    )
    const more = boundsOf(key)
    if (more !== '') screen.line(`              ${more}`)
  }
  screen.result({ keys })
  return 0
}

/** What holds a key back, and how long it works. */
function boundsOf(key: z.infer<typeof Key>): string {
  const limits = Object.entries(key.limits ?? {}).map(([name, most]) => `${name} ${String(most)}`)
  return [
    key.characterIds && `characters ${key.characterIds.join(', ')}`,
    key.tags && `tags ${key.tags.join(', ')}`,
    ...limits,
    key.replacedBy && `replaced by ${key.replacedBy}`,
    key.expiresAtMs !== null && `until ${new Date(key.expiresAtMs).toISOString().slice(0, 16)}`,
  ]
    .filter((part) => typeof part === 'string')
    .join('; ')
}

async function revokeKey({ positionals, api, screen }: Run): Promise<number> {
  const [id] = positionals
  if (id === undefined) throw new AppError('invalid', 'Name the id of the key; "keys list" shows them')
  await api.call('DELETE', `/troupe/api/keys/${encodeURIComponent(id)}`, z.null())
  screen.line(`Revoked ${id}`)
  screen.result({ id, revoked: true })
  return 0
}

const LIMIT_OPTIONS = Object.fromEntries(
  Object.keys(LIMITS).map((name) => [name, { type: 'string' as const }]),
)

const BOUND_OPTIONS: Command['options'] = {
  scopes: { type: 'string' },
  characters: { type: 'string' },
  tags: { type: 'string' },
  origins: { type: 'string' },
  'keep-alive': { type: 'string' },
  days: { type: 'string' },
  'never-expires': { type: 'boolean' },
  ...LIMIT_OPTIONS,
}

export const keyCommands: readonly Command[] = [
  {
    name: 'keys create',
    usage:
      'keys create NAME [--scopes chat,models] [--characters ID,…] [--tags TAG,…] [--origins URL,…] [--keep-alive comment|chunk|off] [--days N | --never-expires] [limits]',
    summary: 'makes an API key and shows it once; it ends after 90 days unless told otherwise',
    options: BOUND_OPTIONS,
    run: createKey,
  },
  {
    name: 'keys change',
    usage:
      'keys change ID [--name NAME] [--scopes SCOPE,…] [--characters ID,…] [--tags TAG,…] [--origins URL,…] [--keep-alive comment|chunk|off] [--days N | --never-expires] [limits]',
    summary: 'changes what a key may and when it ends; its secret stays, and limits are replaced as a whole',
    options: { ...BOUND_OPTIONS, name: { type: 'string' } },
    run: changeKey,
  },
  {
    name: 'keys rotate',
    usage: 'keys rotate ID [--grace-seconds N] [--days N | --never-expires]',
    summary: 'makes a key that may the same; the old one works for a day more, or as long as the grace',
    options: {
      'grace-seconds': { type: 'string' },
      days: { type: 'string' },
      'never-expires': { type: 'boolean' },
    },
    run: rotateKey,
  },
  { name: 'keys list', usage: 'keys list', summary: 'lists the API keys', options: {}, run: listKeys },
  { name: 'keys revoke', usage: 'keys revoke ID', summary: 'ends an API key', options: {}, run: revokeKey },
]
