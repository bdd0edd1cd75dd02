import { LIMIT_NAMES, type FreshKey, type Key, type KeepAlive, type Limits, type Quota } from '../key.ts'
import type { KeyChange, KeyWish } from '../key-draft.ts'
import { call, callAt, json, REQUEST_MARK, sent } from './calling.ts'
import { fields, list, numeral, text } from './reading.ts'

/** Newest first. */
export async function listKeys(): Promise<Key[]> {
  return list(fields(await json(await call('/keys')))['keys'])
    .map(readKey)
    .toReversed()
}

export async function createKey(wish: KeyWish): Promise<FreshKey> {
  return readFreshKey(await json(await call('/keys', sent(wish))))
}

export async function changeKey(id: string, change: KeyChange): Promise<void> {
  await call(`/keys/${encodeURIComponent(id)}`, { ...sent(change), method: 'PATCH' })
}

export interface Rotation {
  /** As long as the old secret works beside the new one. */
  graceSeconds: number
  /** Of the new key; null for never. */
  expiresInDays: number | null
}

export async function rotateKey(id: string, rotation: Rotation): Promise<FreshKey> {
  return readFreshKey(await json(await call(`/keys/${encodeURIComponent(id)}/rotate`, sent(rotation))))
}

export async function revokeKey(id: string): Promise<void> {
  await call(`/keys/${encodeURIComponent(id)}`, { method: 'DELETE', headers: REQUEST_MARK })
}

/** What a key can see, by asking with it as a program would. */
export interface Seen {
  characters: string[]
  baseModels: string[]
}

export async function listSeen(secret: string): Promise<Seen> {
  const init: RequestInit = { credentials: 'omit', headers: { authorization: `Bearer ${secret}` } }
  const { data } = fields(await json(await callAt('/v1/models', init)))
  const models = list(data).map((value) => {
    const { id, name, owned_by: owner } = fields(value)
    return { id: text(id), name: text(name) || text(id), isOurs: owner === 'troupe' }
  })
  return {
    characters: models.filter(({ id, isOurs }) => isOurs && id !== TASK_MODEL_ID).map(({ name }) => name),
    baseModels: models.filter(({ isOurs }) => !isOurs).map(({ name }) => name),
  }
}

/** It is always listed, and is nobody. */
const TASK_MODEL_ID = 'troupe-task'

function readKey(value: unknown): Key {
  const row = fields(value)
  return {
    id: text(row['id']),
    name: text(row['name']) || text(row['id']),
    scopes: texts(row['scopes']),
    characterIds: textsOrNull(row['characterIds']),
    tags: textsOrNull(row['tags']),
    limits: readLimits(row['limits']),
    keepAlive: readKeepAlive(row['keepAlive']),
    origins: texts(row['origins']),
    createdBy: text(row['createdBy']),
    createdAtMs: numeral(row['createdAtMs']) ?? 0,
    expiresAtMs: numeral(row['expiresAtMs']),
    revokedAtMs: numeral(row['revokedAtMs']),
    lastUsedAtMs: numeral(row['lastUsedAtMs']),
    replacedBy: text(row['replacedBy']) || null,
    quotas: list(row['quotas']).flatMap(readQuota),
  }
}

function readFreshKey(value: unknown): FreshKey {
  return { ...readKey(value), secret: text(fields(value)['secret']) }
}

const texts = (value: unknown): string[] => list(value).map(text).filter(Boolean)

const textsOrNull = (value: unknown): string[] | null => (value == null ? null : texts(value))

const readKeepAlive = (value: unknown): KeepAlive =>
  (['chunk', 'off'] as const).find((known) => known === value) ?? 'comment'

function readLimits(value: unknown): Limits {
  const row = fields(value)
  return Object.fromEntries(
    LIMIT_NAMES.flatMap((name) => {
      const limit = numeral(row[name])
      return limit === null ? [] : [[name, limit]]
    }),
  )
}

/** One of a kind that is not known here is left out. */
function readQuota(value: unknown): Quota[] {
  const row = fields(value)
  const of = (['turns', 'tokens', 'budget'] as const).find((known) => known === row['of'])
  const per = (['day', 'month'] as const).find((known) => known === row['per'])
  if (of === undefined || per === undefined) return []
  const figure = (name: string) => numeral(row[name]) ?? 0
  return [{ of, per, limit: figure('limit'), used: figure('used'), resetsAtMs: figure('resetsAtMs') }]
}
