/** API keys: `troupe_<id>_<secret>_<checksum>`. The secret is shown once; the store keeps only its hash. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'

import { eq, isNull, and } from 'drizzle-orm'

import { AppError } from '#base/errors.ts'
import { sha256Hex } from '#base/ids.ts'
import type { Store } from '#store/store.ts'

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

/** Whoever holds the key, after it was verified; the secret itself goes no further. */
export interface Principal {
  keyId: string
  name: string
  scopes: readonly Scope[]
}

export interface KeySummary extends Omit<Principal, 'keyId'> {
  id: string
  createdAtMs: number
  expiresAtMs: number | null
  revokedAtMs: number | null
}

export interface FixedKey {
  keyId: string
  secret: string
  scopes: readonly Scope[]
}

export interface Keys {
  /** The only time the secret is told. */
  create(wish: {
    name: string
    scopes: readonly Scope[]
    expiresAtMs: number | null
  }): Promise<KeySummary & { secret: string }>
  list(): Promise<KeySummary[]>
  /** Works at once in this process. Throws AppError `not_found`. */
  revoke(id: string): Promise<void>
  /** Throws AppError `unauthenticated`, in the same words for every cause. */
  verify(secret: string): Promise<Principal>
}

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const ID_CHARACTERS = 12
/** 43 characters of base 62 hold 256 bits. */
const SECRET_CHARACTERS = 43
const CHECKSUM_CHARACTERS = 6
const SHAPE = new RegExp(
  `^troupe_([0-9A-Za-z]{${String(ID_CHARACTERS)}})_([0-9A-Za-z]{${String(SECRET_CHARACTERS)}})_([0-9A-Za-z]{${String(CHECKSUM_CHARACTERS)}})$`,
)

/** Other processes learn of a revocation when their copy of the row is this old. */
const CACHE_MS = 5_000
const CACHED_KEYS = 1_000

interface Row extends KeySummary {
  secretHash: string
}

export function createKeys({
  store,
  fixed,
  now,
}: {
  store: Store
  fixed: readonly FixedKey[]
  now: () => number
}): Keys {
  const { apiKeys } = store.t
  const known = new Map<string, { row: Row | undefined; readAtMs: number }>()

  async function find(id: string): Promise<Row | undefined> {
    const copy = known.get(id)
    if (copy !== undefined && now() - copy.readAtMs < CACHE_MS) return copy.row
    const [row] = (await store.db.select().from(apiKeys).where(eq(apiKeys.id, id)).limit(1)) as Row[]
    if (known.size >= CACHED_KEYS) known.clear()
    known.set(id, { row, readAtMs: now() })
    return row
  }

  return {
    async create({ name, scopes, expiresAtMs }) {
      const id = randomText(ID_CHARACTERS)
      const secret = randomText(SECRET_CHARACTERS)
      const row: Row = {
        id,
        name,
        scopes,
        createdAtMs: now(),
        expiresAtMs,
        revokedAtMs: null,
        secretHash: sha256Hex(secret),
      }
      await store.db.insert(apiKeys).values({ ...row, scopes: [...scopes] })
      return { ...summary(row), secret: `troupe_${id}_${secret}_${checksum(id + secret)}` }
    },
    async list() {
      const rows = (await store.db.select().from(apiKeys).orderBy(apiKeys.createdAtMs)) as Row[]
      return rows.map(summary)
    },
    async revoke(id) {
      const revoked = await store.db
        .update(apiKeys)
        .set({ revokedAtMs: now() })
        .where(and(eq(apiKeys.id, id), isNull(apiKeys.revokedAtMs)))
        .returning({ id: apiKeys.id })
      known.delete(id)
      if (revoked.length === 0) throw new AppError('not_found', `There is no active key with the id "${id}"`)
    },
    async verify(offered) {
      const [, id, secret, sum] = SHAPE.exec(offered) ?? []
      if (id === undefined || secret === undefined || sum !== checksum(id + secret))
        return verifyFixed(fixed, offered)
      const row = await find(id)
      // An unknown id runs the same comparison, so that time tells nothing about which ids exist.
      const matches = sameHash(sha256Hex(secret), row?.secretHash ?? sha256Hex(''))
      const alive = row?.revokedAtMs === null && (row.expiresAtMs === null || row.expiresAtMs > now())
      if (row === undefined || !matches || !alive) throw refused()
      return { keyId: row.id, name: row.name, scopes: row.scopes }
    },
  }
}

function verifyFixed(fixed: readonly FixedKey[], offered: string): Principal {
  const hash = sha256Hex(offered)
  const match = fixed.find((key) => sameHash(hash, sha256Hex(key.secret)))
  if (match === undefined) throw refused()
  return { keyId: match.keyId, name: match.keyId, scopes: match.scopes }
}

const refused = () =>
  new AppError(
    'unauthenticated',
    'The API key is not valid; check it, or make a new one with "npm run troupe -- keys create"',
  )

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

function summary({ id, name, scopes, createdAtMs, expiresAtMs, revokedAtMs }: Row): KeySummary {
  return { id, name, scopes, createdAtMs, expiresAtMs, revokedAtMs }
}
