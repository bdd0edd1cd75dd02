/** API keys: made, changed, replaced and revoked by admins; a secret is shown once. */
import { Hono } from 'hono'
import { z } from 'zod'

import { AppError } from '#base/errors.ts'
import type { QuotasOf } from '#gateway/key-quotas.ts'
import { KEEP_ALIVES, SCOPES, type KeyChange, type Keys, type Principal, type Scope } from '#gateway/keys.ts'
import { reaches } from '#gateway/roles.ts'
import type { Library } from '#library/library.ts'

import type { NoteAction } from '../audited.ts'
import { readJson } from '../body.ts'
import type { AppEnv } from '../env.ts'
import type { Operation } from '../openapi.ts'

const count = z.number().int().positive()

const Limits = z.strictObject({
  turnsPerMinute: count.optional(),
  parallelTurns: count.optional(),
  turnsPerDay: count.optional(),
  turnsPerMonth: count.optional(),
  tokensPerDay: count.optional(),
  tokensPerMonth: count.optional(),
  budgetPerMonth: z.number().positive().optional(),
})

/** So that a forgotten key ends by itself; `null` is for those that shall not. */
const DEFAULT_DAYS = 90
const lifeDays = z.number().int().positive().max(3_650).nullable()
const days = lifeDays.default(DEFAULT_DAYS)

/** As a browser writes it, without a path. */
const origin = z
  .string()
  .max(200)
  .refine((text) => URL.canParse(text) && new URL(text).origin === text, {
    error: 'must be an origin such as "https://club.example"',
  })

const NewKey = z.strictObject({
  name: z.string().trim().min(1).max(100),
  scopes: z.array(z.enum(SCOPES)).min(1, `must hold some of ${SCOPES.join(', ')}`),
  expiresInDays: days,
  characterIds: z.array(z.string().min(1).max(200)).min(1).max(1_000).optional(),
  tags: z.array(z.string().min(1).max(200)).min(1).max(100).optional(),
  limits: Limits.optional(),
  keepAlive: z.enum(KEEP_ALIVES).optional(),
  origins: z.array(origin).min(1).max(20).optional(),
})

/** What is left out stays; null takes a bound away. */
const ChangedKey = z
  .strictObject({
    ...NewKey.partial().shape,
    expiresInDays: lifeDays.optional(),
    characterIds: NewKey.shape.characterIds.nullable(),
    tags: NewKey.shape.tags.nullable(),
    limits: Limits.nullish(),
    keepAlive: NewKey.shape.keepAlive.nullable(),
    origins: NewKey.shape.origins.nullable(),
  })
  .refine((change) => Object.keys(change).length > 0, 'must name what to change')

/** A day, as others have it: time to change it everywhere. */
const MOST_GRACE_SECONDS = 30 * 86_400
const Rotate = z.strictObject({
  graceSeconds: z.number().int().min(0).max(MOST_GRACE_SECONDS).default(86_400),
  expiresInDays: days,
})

export const keyOperations: readonly Operation[] = [
  {
    method: 'get',
    path: '/',
    summary: 'The API keys, without their secrets, and what they used of their quotas',
    may: 'admin',
  },
  {
    method: 'post',
    path: '/',
    summary:
      'Makes an API key and shows its secret once; those with admin or forward-user are made by owners',
    may: 'admin',
    body: NewKey,
    status: 201,
  },
  {
    method: 'patch',
    path: '/:id',
    summary: 'Changes what an API key is called, may and is limited to, and when it ends; its secret stays',
    may: 'admin',
    body: ChangedKey,
  },
  {
    method: 'post',
    path: '/:id/rotate',
    summary: 'Makes a key that may the same; the old one works until the grace is over',
    may: 'admin',
    body: Rotate,
    status: 201,
  },
  { method: 'delete', path: '/:id', summary: 'Ends an API key', may: 'admin', status: 204 },
]

const DAY_MS = 86_400_000

/** These let their holder speak for others. */
const OWNERS_SCOPES: readonly Scope[] = ['admin', 'forward-user']

export interface KeyRouteParts {
  keys: Keys
  library: Pick<Library, 'list'>
  quotasOf: QuotasOf
  noteAction: NoteAction
  now: () => number
}

export function keyRoutes({ keys, library, quotasOf, noteAction, now }: KeyRouteParts) {
  const endOf = (expiresInDays: number | null) =>
    expiresInDays === null ? null : now() + expiresInDays * DAY_MS
  return new Hono<AppEnv>()
    .get('/', async (c) => {
      const all = await keys.list()
      const working = all.filter(
        ({ revokedAtMs, expiresAtMs }) => (revokedAtMs ?? expiresAtMs ?? Infinity) > now(),
      )
      const quotas = await quotasOf(working)
      return c.json({ keys: all.map((key) => ({ ...key, quotas: quotas.get(key.id) ?? [] })) })
    })
    .post('/', async (c) => {
      const { principal } = c.var
      const wish = await readJson(NewKey, c.env.incoming)
      const { expiresInDays, name, scopes, characterIds, tags, limits, keepAlive, origins } = wish
      refuseAbove(principal, scopes)
      refuseUnknown(characterIds ?? [], await library.list())
      const key = await keys.create({
        name,
        scopes,
        expiresAtMs: endOf(expiresInDays),
        characterIds: characterIds ?? null,
        tags: tags ?? null,
        limits: limits === undefined ? null : present(limits),
        keepAlive: keepAlive ?? null,
        origins: origins ?? null,
        createdBy: principal.name,
      })
      await noteAction({ actor: principal.name, action: 'key_create', target: key.id, detail: { scopes } })
      return c.json(key, 201)
    })
    .patch('/:id', async (c) => {
      const { principal } = c.var
      const id = c.req.param('id')
      const { expiresInDays, limits, ...wish } = await readJson(ChangedKey, c.env.incoming)
      const old = (await keys.list()).find((key) => key.id === id)
      refuseAbove(principal, [...(old?.scopes ?? []), ...(wish.scopes ?? [])])
      // Those that it has already may have been deleted since.
      const added = wish.characterIds?.filter((name) => old?.characterIds?.includes(name) !== true)
      refuseUnknown(added ?? [], await library.list())
      const change: KeyChange = {
        ...present(wish),
        ...(limits !== undefined && { limits: limits && present(limits) }),
        ...(expiresInDays !== undefined && { expiresAtMs: endOf(expiresInDays) }),
      }
      const key = await keys.change(id, change)
      const detail = { changed: Object.keys(change), ...(wish.scopes && { scopes: wish.scopes }) }
      await noteAction({ actor: principal.name, action: 'key_change', target: id, detail })
      return c.json(key)
    })
    .post('/:id/rotate', async (c) => {
      const { principal } = c.var
      const id = c.req.param('id')
      const { graceSeconds, expiresInDays } = await readJson(Rotate, c.env.incoming)
      refuseAbove(principal, (await keys.list()).find((key) => key.id === id)?.scopes ?? [])
      const key = await keys.rotate(id, {
        graceMs: graceSeconds * 1_000,
        expiresAtMs: endOf(expiresInDays),
        createdBy: principal.name,
      })
      await noteAction({ actor: principal.name, action: 'key_rotate', target: id, detail: { by: key.id } })
      return c.json(key, 201)
    })
    .delete('/:id', async (c) => {
      const id = c.req.param('id')
      await keys.revoke(id)
      await noteAction({ actor: c.var.principal.name, action: 'key_revoke', target: id })
      return c.body(null, 204)
    })
}

function refuseAbove({ role }: Principal, scopes: readonly Scope[]): void {
  const above = scopes.filter((scope) => OWNERS_SCOPES.includes(scope))
  if (above.length === 0 || reaches(role, 'owner')) return
  throw new AppError(
    'forbidden',
    `Only an owner makes or changes keys with the scope "${above.join('", "')}"`,
  )
}

function refuseUnknown(ids: readonly string[], characters: readonly { id: string }[]): void {
  const known = new Set(characters.map(({ id }) => id))
  const unknown = ids.filter((id) => !known.has(id))
  if (unknown.length === 0) return
  throw new AppError(
    'invalid',
    `There is no character "${unknown.join('", "')}"; GET /troupe/api/characters lists the ids`,
    { param: 'characterIds' },
  )
}

type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> }

const present = <T extends object>(value: T): Present<T> =>
  Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as Present<T>
