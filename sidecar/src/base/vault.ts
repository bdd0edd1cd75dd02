/**
 * Encryption of single fields in the databases: for what a copy of the file must not tell. AES-256-GCM; the place of the
 * field is authenticated with it, so that a value moved to another row, column or table does not open.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'

import { AppError } from './errors.ts'
import { sha256Hex } from './ids.ts'

/** Where a value stands. */
export interface FieldPlace {
  table: string
  column: string
  /** Key of the row. */
  row: string
}

export interface Vault {
  seal(text: string, place: FieldPlace): string
  /** Throws AppError `internal` for a value that was changed, moved, or sealed with a key that is gone. */
  open(sealed: string, place: FieldPlace): string
  /** False for what an older key sealed. */
  isCurrent(sealed: string): boolean
}

const FORMAT = 's1'
const KEY_BYTES = 32
/** 96 bits, as NIST SP 800-38D wants them for GCM. */
const NONCE_BYTES = 12
const TAG_BYTES = 16
const KEY_ID_CHARACTERS = 8

interface Key {
  id: string
  bytes: Buffer
}

/** The first secret seals, all of them open: a new one is put in front, and the old one taken away once nothing needs it. */
export function createVault(secrets: readonly [string, ...string[]]): Vault {
  const [current, ...older] = secrets.map(toKey)
  if (current === undefined) throw new AppError('internal', 'There is no key for the fields')
  const keys = new Map([current, ...older].map((key) => [key.id, key.bytes]))
  return {
    seal(text, place) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv('aes-256-gcm', current.bytes, nonce).setAAD(bind(place))
      const bytes = Buffer.concat([nonce, cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
      return `${FORMAT}.${current.id}.${bytes.toString('base64url')}`
    },
    open(sealed, place) {
      const [format, id = '', text = ''] = sealed.split('.')
      const key = keys.get(id)
      if (format !== FORMAT || key === undefined)
        throw new AppError(
          'internal',
          `A field of the table ${place.table} was sealed with a key that is not there; add it to TROUPE_FIELD_KEYS, in every sidecar (one that a sidecar made for itself is the file field-key in its data folder)`,
        )
      return decrypt(Buffer.from(text, 'base64url'), key, place)
    },
    isCurrent: (sealed) => sealed.startsWith(`${FORMAT}.${current.id}.`),
  }
}

function decrypt(bytes: Buffer, key: Buffer, place: FieldPlace): string {
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, NONCE_BYTES), {
      authTagLength: TAG_BYTES,
    })
    decipher.setAAD(bind(place)).setAuthTag(bytes.subarray(-TAG_BYTES))
    const body = bytes.subarray(NONCE_BYTES, -TAG_BYTES)
    return Buffer.concat([decipher.update(body), decipher.final()]).toString('utf8')
  } catch (cause) {
    throw new AppError('internal', `A sealed field of the table ${place.table} was changed or moved`, {
      cause,
    })
  }
}

const bind = ({ table, column, row }: FieldPlace) => Buffer.from([table, column, row].join('\0'))

function toKey(secret: string): Key {
  const bytes = Buffer.from(hkdfSync('sha256', secret, '', 'troupe field encryption', KEY_BYTES))
  return { id: sha256Hex(bytes).slice(0, KEY_ID_CHARACTERS), bytes }
}
