/** API keys: `troupe_<id>_<secret>_<checksum>`. The secret is shown once; the store keeps only its hash. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

import { and, eq, isNotNull, isNull } from 'drizzle-orm'

import { createCache } from '#base/cache.ts'
import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'
import type { Kv } from '#kv/kv.ts'
import type { KeyLimits } from '#store/access-tables.ts'
import type { Store } from '#store/store.ts'

import type { Role } from './roles.ts'

/** `base-models` opens the models behind the characters, by their own names; `forward-user` lets Open WebUI speak for its users; `events` lets its function report ratings and deletions. */
export const SCOPES = [
  'chat',
  'models',
  'embeddings',
  'base-models',
  'forward-user',
  'admin',
  'metrics',
  'events',
] as const
export type Scope = (typeof SCOPES)[number]

/** Characters that a key may ask: those that are named, and those with one of the tags. */
export interface Cast {
  characterIds: readonly string[]
  tags: readonly string[]
}

export function allows(cast: Cast | undefined, character: { id: string; tags: readonly string[] }): boolean {
  if (cast === undefined || cast.characterIds.includes(character.id)) return true
  return character.tags.some((tag) => cast.tags.includes(tag))
}

/** What keeps a silent stream open: a comment, which some strict readers trip over, an empty piece of the answer, or nothing. */
export const KEEP_ALIVES = ['comment', 'chunk', 'off'] as const
export type KeepAlive = (typeof KEEP_ALIVES)[number]

/** Whoever asks, after it was proven; the secret itself goes no further. */
export interface Principal {
  keyId: string
  name: string
  scopes: readonly Scope[]
  /** At the admin API; absent for who has no business there. */
  role?: Role
  /** Absent for all characters. */
  cast?: Cast
  limits?: KeyLimits
  /** Absent for comments. */
  keepAlive?: KeepAlive
  /** Origins of pages that may ask with the key; absent for none. */
  origins?: readonly string[]
}

export interface KeySummary {
  id: string
  name: string
  scopes: readonly Scope[]
  /** Null in both for all characters. */
  characterIds: readonly string[] | null
  tags: readonly string[] | null
  limits: KeyLimits | null
  keepAlive: KeepAlive | null
  origins: readonly string[] | null
  createdBy: string | null
  createdAtMs: number
  expiresAtMs: number | null
  revokedAtMs: number | null
  /** True to a minute. */
  lastUsedAtMs: number | null
  replacedBy: string | null
}

export interface FixedKey {
  keyId: string
  secret: string
  scopes: readonly Scope[]
  role?: Role
}

export interface NewKey {
  name: string
  scopes: readonly Scope[]
  expiresAtMs: number | null
  characterIds?: readonly string[] | null
  tags?: readonly string[] | null
  limits?: KeyLimits | null
  keepAlive?: KeepAlive | null
  origins?: readonly string[] | null
  createdBy?: string | null
}

/** What is left out stays as it is. */
export type KeyChange = Partial<Omit<NewKey, 'createdBy'>>

export type ShownKey = KeySummary & { secret: string }

export interface Keys {
  /** The only time the secret is told. */
  create(wish: NewKey): Promise<ShownKey>
  list(): Promise<KeySummary[]>
  /**
   * A key that may the same, and the end of the old one after `graceMs`. Throws AppError `not_found`, or `conflict` where it was
   * replaced already.
   */
  rotate(
    id: string,
    wish: { graceMs: number; expiresAtMs: number | null; createdBy?: string },
  ): Promise<ShownKey>
  /**
   * Of a key that works. At once here, and in other replicas within five seconds. Throws AppError `not_found`, or `conflict` for
   * one that was replaced and is about to end.
   */
  change(id: string, change: KeyChange): Promise<KeySummary>
  /** Works at once here, and in other replicas within five seconds. Throws AppError `not_found`. */
  revoke(id: string): Promise<void>
  /** Whether a page of this origin may ask with some key that works: a browser asks before it sends the key. */
  mayComeFrom(origin: string): Promise<boolean>
  /** Throws AppError `unauthenticated`, in the same words for every cause. */
  verify(secret: string): Promise<Principal>
  /** Writes when keys were last used. */
  close(): Promise<void>
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_CHARACTERS = 12
/** 43 characters of base 62 hold 256 bits. */
const SECRET_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6
const SHAPE = new RegExp(
  `^troupe_([0-9A-Za-z]{${String(ID_CHARACTERS)}})_([0-9A-Za-z]{${String(SECRET_CHARACTERS)}})_([0-9A-Za-z]{${String(CHECKSUM_CHARACTERS)}})$`,
)

/**
 * Other replicas are told of a revocation; who missed it learns of it when their copy of the row is this old. Where there are
 * none, nothing changes a row but this process.
 */
const CACHE_MS = 5_000
const KEYS_KEPT = 2_000
const CHANNEL = 'keys'

/** An update for each request would cost more than the answer. */
const LAST_USED_MS = 60_000

interface Row extends KeySummary {
  secretHash: string
}

export interface KeysOptions {
  store: Store
  kv: Pick<Kv, 'publish' | 'subscribe' | 'isShared'>
  fixed: readonly FixedKey[]
  now: () => number
}

export function createKeys({ store, kv, fixed, now }: KeysOptions): Keys {
  const { apiKeys } = store.t
  const known = createCache<{ row: Row | undefined; readAtMs: number }>('key', { most: KEYS_KEPT })
  const freshMs = kv.isShared ? CACHE_MS : Infinity
  const used = new Map<string, number>()
  /** What was read before a change must not be kept behind it. */
  let changes = 0
  const forget = (id: string) => {
    changes += 1
    known.delete(id)
  }
  kv.subscribe(CHANNEL, forget)

  async function find(id: string): Promise<Row | undefined> {
    const copy = known.get(id)
    if (copy !== undefined && now() - copy.readAtMs < freshMs) return copy.row
    const changesBefore = changes
    const [row] = (await store.db.select().from(apiKeys).where(eq(apiKeys.id, id)).limit(1)) as Row[]
    if (changes === changesBefore) known.set(id, { row, readAtMs: now() })
    return row
  }

  let origins: { all: ReadonlySet<string>; readAtMs: number } = { all: new Set(), readAtMs: -Infinity }
  async function readOrigins(): Promise<{ all: ReadonlySet<string> }> {
    const rows = (await store.db
      .select()
      .from(apiKeys)
      .where(and(isNotNull(apiKeys.origins), isNull(apiKeys.revokedAtMs)))) as Row[]
    return { all: new Set(rows.filter((row) => !isOver(row, now())).flatMap((row) => row.origins ?? [])) }
  }

  /** Here at once; the others are told, and a Redis that is gone delays it to the age of their copies. */
  async function changed(id: string): Promise<void> {
    forget(id)
    origins = { ...origins, readAtMs: -Infinity }
    await kv.publish(CHANNEL, id).catch(() => undefined)
  }

  async function create(wish: NewKey): Promise<ShownKey> {
    const id = randomText(ID_CHARACTERS)
    const secret = randomText(SECRET_CHARACTERS)
    const row: Row = {
      id,
      name: wish.name,
      scopes: [...wish.scopes],
      characterIds: wish.characterIds ?? null,
      tags: wish.tags ?? null,
      limits: wish.limits ?? null,
      keepAlive: wish.keepAlive ?? null,
      origins: wish.origins ?? null,
      createdBy: wish.createdBy ?? null,
      createdAtMs: now(),
      expiresAtMs: wish.expiresAtMs,
      revokedAtMs: null,
      lastUsedAtMs: null,
      replacedBy: null,
      secretHash: sha256Hex(secret),
    }
    await store.db.insert(apiKeys).values(row as typeof apiKeys.$inferInsert)
    origins = { ...origins, readAtMs: -Infinity }
    return { ...summary(row), secret: `troupe_${id}_${secret}_${checksum(id + secret)}` }
  }

  async function noteUse(): Promise<void> {
    const batch = [...used]
    used.clear()
    for (const [id, lastUsedAtMs] of batch)
      await store.db.update(apiKeys).set({ lastUsedAtMs }).where(eq(apiKeys.id, id))
  }
  const noting = setInterval(() => {
    // Only a figure for people: what could not be written is forgotten.
    noteUse().catch(() => undefined)
  }, LAST_USED_MS).unref()

  return {
    create,
    async list() {
      const rows = (await store.db.select().from(apiKeys).orderBy(apiKeys.createdAtMs)) as Row[]
      return rows.map((row) => summary({ ...row, lastUsedAtMs: used.get(row.id) ?? row.lastUsedAtMs }))
    },
    async rotate(id, { graceMs, expiresAtMs, createdBy }) {
      const [old] = (await store.db.select().from(apiKeys).where(eq(apiKeys.id, id)).limit(1)) as Row[]
      if (old?.revokedAtMs !== null || isOver(old, now())) throw noKey(id)
      const twin = await create({ ...old, expiresAtMs, createdBy: createdBy ?? old.createdBy })
      const endsAtMs = Math.min(old.expiresAtMs ?? Infinity, now() + graceMs)
      const replaced = await store.db
        .update(apiKeys)
        .set({ replacedBy: twin.id, expiresAtMs: endsAtMs })
        .where(and(eq(apiKeys.id, id), isNull(apiKeys.replacedBy), isNull(apiKeys.revokedAtMs)))
        .returning({ id: apiKeys.id })
      await changed(id)
      if (replaced.length > 0) return twin
      // Somebody was faster: nobody has seen the secret of this one.
      await store.db.delete(apiKeys).where(eq(apiKeys.id, twin.id))
      throw new AppError('conflict', `The key "${id}" was replaced already; "keys list" shows by which one`)
    },
    async change(id, change) {
      const [old] = (await store.db.select().from(apiKeys).where(eq(apiKeys.id, id)).limit(1)) as Row[]
      if (old?.revokedAtMs !== null || isOver(old, now())) throw noKey(id)
      const [row] = (await store.db
        .update(apiKeys)
        .set(change as Partial<typeof apiKeys.$inferInsert>)
        .where(and(eq(apiKeys.id, id), isNull(apiKeys.replacedBy), isNull(apiKeys.revokedAtMs)))
        .returning()) as Row[]
      await changed(id)
      if (row !== undefined) return summary(row)
      throw new AppError('conflict', `The key "${id}" was replaced; change the one that took its place`)
    },
    async revoke(id) {
      const revoked = await store.db
        .update(apiKeys)
        .set({ revokedAtMs: now() })
        .where(and(eq(apiKeys.id, id), isNull(apiKeys.revokedAtMs)))
        .returning({ id: apiKeys.id })
      await changed(id)
      if (revoked.length === 0) throw noKey(id)
    },
    async mayComeFrom(origin) {
      if (now() - origins.readAtMs > CACHE_MS) origins = { ...(await readOrigins()), readAtMs: now() }
      return origins.all.has(origin)
    },
    async verify(offered) {
      const [, id, secret, sum] = SHAPE.exec(offered) ?? []
      if (id === undefined || secret === undefined || sum !== checksum(id + secret))
        return verifyFixed(fixed, offered)
      const row = await find(id)
      // An unknown id runs the same comparison, so that time tells nothing about which ids exist.
      const matches = sameHash(sha256Hex(secret), row?.secretHash ?? NO_HASH)
      if (row === undefined || !matches || row.revokedAtMs !== null || isOver(row, now())) throw refused()
      used.set(id, now())
      return principalOf(row)
    },
    async close() {
      clearInterval(noting)
      await noteUse()
    },
  }
}

const isOver = (row: Row | undefined, nowMs: number): boolean => (row?.expiresAtMs ?? Infinity) <= nowMs

const noKey = (id: string) => new AppError('not_found', `There is no active key with the id "${id}"`)

function principalOf({ id, name, scopes, characterIds, tags, limits, keepAlive, origins }: Row): Principal {
  return {
    keyId: id,
    name,
    scopes,
    ...(scopes.includes('admin') && { role: 'admin' as const }),
    ...((characterIds ?? tags) !== null && { cast: { characterIds: characterIds ?? [], tags: tags ?? [] } }),
    ...(limits !== null && { limits }),
    ...(keepAlive !== null && { keepAlive }),
    ...(origins !== null && { origins }),
  }
}

function verifyFixed(fixed: readonly FixedKey[], offered: string): Principal {
  const hash = sha256Hex(offered)
  const match = fixed.find((key) => sameHash(hash, sha256Hex(key.secret)))
  if (match === undefined) throw refused()
  const { keyId, scopes, role } = match
  return { keyId, name: keyId, scopes, ...(role === undefined ? {} : { role }) }
}

const refused = () =>
  new AppError(
    'unauthenticated',
    'The API key is not valid; check it, or make a new one with "npm run troupe -- keys create"',
  )

const NO_HASH = sha256Hex('')

const sameHash = (a: string, b: string) => timingSafeEqual(Buffer.from(a, 'hex'), Buffer.from(b, 'hex'))

/** Bytes of 248 and above are thrown away, so that every character is equally likely. */
function randomText(length: number): string {
  let text = ''
  while (text.length < length) {
    for (const byte of randomBytes(length))
      if (byte < 248 && text.length < length) text += BASE62[byte % 62] ?? ''
  }
  return text
}

/** CRC32 in base 62: a mistyped or cut key is refused without asking the database. */
function checksum(text: string): string {
  let rest = crc32(text)
  let written = ''
  for (let at = 0; at < CHECKSUM_CHARACTERS; at++) {
    written = (BASE62[rest % 62] ?? '') + written
    rest = Math.floor(rest / 62)
  }
  return written
}

function summary({ secretHash: _hash, ...row }: Row): KeySummary {
  return row
}
